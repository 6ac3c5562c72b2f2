// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-fs.c - times system calls on files and directories
 *
 *   helper-fs read COUNT PAUSE_US SERIES FILE [SERIES FILE]…    open, read to the end, close; the files in turn
 *   helper-fs write TEXT SERIES FILE                            open, one write of TEXT and a newline, close
 *   helper-fs make COUNT KIND SERIES DIR [KIND SERIES DIR]…     mkdir DIR/s0 … one sample each; KIND `plain`, or
 *                                                               `durable`: with a small file in it, all fsynced
 *   helper-fs list|stat|cat COUNT SERIES DIR [SERIES DIR]…      readdir; with lstat of each; with DIR/x/status read
 *   helper-fs run COUNT SERIES PROGRAM [ARGUMENT]…              start a program, wait for its end
 *
 * Series on one command line are measured in turn, so that what else the machine does meets all of them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/bench/bench.h"

enum { TEXT_SIZE = 64 * 1024, PATH_SIZE = 512 };

static void read_file(const char *path)
{
	static char text[TEXT_SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd < 0)
		bench_die_sys(path);
	do
		n = read(fd, text, sizeof(text));
	while (n > 0);
	if (n < 0)
		bench_die_sys(path);
	(void)close(fd); /* reading only */
}

static void read_once(const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
		bench_die_sys(path);
	(void)close(fd); /* reading only */
}

static void do_read(int argc, char **argv)
{
	unsigned count = bench_number(argv[0]), pause_us = bench_number(argv[1]);

	for (unsigned i = 0; i < count; i++) {
		for (int a = 2; a + 1 < argc; a += 2) {
			double start = bench_now();

			read_once(argv[a + 1]);
			bench_sample(argv[a], start);
		}
		if (pause_us)
			(void)usleep(pause_us); /* a signal only makes it shorter */
	}
}

static void do_write(int argc, char **argv)
{
	char line[PATH_SIZE];
	int n = snprintf(line, sizeof(line), "%s\n", argv[0]), fd = 0;
	double start = bench_now();

	(void)argc;
	fd = open(argv[2], O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		bench_die_sys(argv[2]);
	bench_sample(argv[1], start);
	(void)close(fd); /* the write has been answered */
}

/* What a durable definition takes of any file system: a directory, a record in it, both and the parent on disk. */
static void make_durable(const char *parent, const char *path)
{
	static const char record[300] = "record";
	int dir = 0, fd = 0, above = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (above < 0 || mkdir(path, 0700) < 0)
		bench_die_sys(path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dir, "record", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, record, sizeof(record)) < 0 || fsync(fd) < 0 || fsync(dir) < 0 ||
	    fsync(above) < 0)
		bench_die_sys(path);
	(void)close(fd);
	(void)close(dir);
	(void)close(above);
}

static void do_make(int argc, char **argv)
{
	unsigned count = bench_number(argv[0]);
	char path[PATH_SIZE];

	for (unsigned i = 0; i < count; i++) {
		for (int a = 1; a + 2 < argc; a += 3) {
			const char *parent = argv[a + 2];
			double start = bench_now();

			(void)snprintf(path, sizeof(path), "%s/s%u", parent, i);
			if (strcmp(argv[a], "durable") == 0)
				make_durable(parent, path);
			else if (mkdir(path, 0700) < 0)
				bench_die_sys(path);
			bench_sample(argv[a + 1], start);
		}
	}
}

static void visit_none(const char *dir, const char *name)
{
	(void)dir;
	(void)name;
}

static void visit_stat(const char *dir, const char *name)
{
	char path[PATH_SIZE];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (lstat(path, &st) < 0)
		bench_die_sys(path);
}

static void visit_cat(const char *dir, const char *name)
{
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof(path), "%s/%s/status", dir, name);
	read_file(path);
}

static void walk(const char *path, void (*visit)(const char *dir, const char *name))
{
	DIR *dir = opendir(path);
	const struct dirent *entry = NULL;

	if (!dir)
		bench_die_sys(path);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			visit(path, entry->d_name);
	(void)closedir(dir); /* reading only */
}

static void walk_all(int argc, char **argv, void (*visit)(const char *dir, const char *name))
{
	unsigned count = bench_number(argv[0]);

	for (unsigned i = 0; i < count; i++) {
		for (int a = 1; a + 1 < argc; a += 2) {
			double start = bench_now();

			walk(argv[a + 1], visit);
			bench_sample(argv[a], start);
		}
	}
}

static void do_list(int argc, char **argv)
{
	walk_all(argc, argv, visit_none);
}

static void do_stat(int argc, char **argv)
{
	walk_all(argc, argv, visit_stat);
}

static void do_cat(int argc, char **argv)
{
	walk_all(argc, argv, visit_cat);
}

static void do_run(int argc, char **argv)
{
	unsigned count = bench_number(argv[0]);

	(void)argc;
	for (unsigned i = 0; i < count; i++) {
		double start = bench_now();

		bench_run(argv + 2, NULL, 0);
		bench_sample(argv[1], start);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int min_args;
		void (*run)(int argc, char **argv);
	} verbs[] = {
		{"read", 4, do_read}, {"write", 3, do_write}, {"make", 4, do_make},
		{"list", 3, do_list}, {"stat", 3, do_stat},   {"cat", 3, do_cat},
		{"run", 3, do_run},
	};

	for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, argv[1]) == 0 && argc - 2 >= verbs[i].min_args) {
			verbs[i].run(argc - 2, argv + 2);
			return 0;
		}
	}
	bench_die("usage: see the head of tests/bench/helper-fs.c");
}
