/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/helper-latency.c - how long reading takes, beside what a question to another process takes on this machine
 *
 *   helper-latency ROUNDS OP:PATH…
 *
 * OP: list (all names of a directory), stat, read (all of a file), events (what there is, without waiting), watch (open
 * without waiting, and close).
 * Each round does each of them once, and then asks a process of its own that works for a millisecond and answers. Prints a line for each OP:PATH, and
 * the last one for that process: NAME P50 P99 MAX, in microseconds. Exit status: 1 when one of them failed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	ROUNDS_MAX = 100000,
	WORK_US = 1000, /* of the process that is asked, for each answer */
};

static int do_list(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	while (dir && readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		n++;
	if (dir)
		(void)closedir(dir);
	return n ? 0 : -1;
}

static int do_stat(const char *path)
{
	struct stat st;

	return stat(path, &st);
}

static int read_all(const char *path, int flags)
{
	char text[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	ssize_t n;

	do
		n = read(fd, text, sizeof(text));
	while (n > 0);
	if (n < 0 && errno == EAGAIN && flags)
		n = 0;
	(void)close(fd);
	return (int)n;
}

static int do_read(const char *path)
{
	return read_all(path, 0);
}

static int do_events(const char *path)
{
	return read_all(path, O_NONBLOCK);
}

static int do_watch(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -1 : close(fd);
}

static const struct op {
	const char *name;
	int (*run)(const char *path);
} ops[] = {
	{"list", do_list},     {"stat", do_stat},   {"read", do_read},
	{"events", do_events}, {"watch", do_watch},
};

/* One OP:PATH, and what it took in each round. */
struct row {
	const char *name, *path;
	int (*run)(const char *path);
	uint64_t *us;
};

static int asked = -1; /* the process that answers */

static int do_ask(const char *path)
{
	char c = 0;

	(void)path;
	return write(asked, &c, 1) == 1 && read(asked, &c, 1) == 1 ? 0 : -1;
}

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* it cannot fail */
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A process that never works has the processor at once, however many others want it. */
static void work(void)
{
	uint64_t began = now_us();

	while (now_us() - began < WORK_US)
		;
}

static int start_asked(void)
{
	int fds[2];
	char c;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || (pid = fork()) < 0)
		return -1;
	if (pid == 0) {
		(void)close(fds[0]);
		while (read(fds[1], &c, 1) == 1) {
			work();
			if (write(fds[1], &c, 1) != 1)
				break;
		}
		_exit(0);
	}
	(void)close(fds[1]);
	asked = fds[0];
	return 0;
}

static int row_make(struct row *row, const char *name, long rounds)
{
	const char *colon = strchr(name, ':');

	row->name = name;
	row->us = calloc((size_t)rounds, sizeof(*row->us));
	for (size_t i = 0; colon && i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strlen(ops[i].name) == (size_t)(colon - name) &&
		    strncmp(ops[i].name, name, (size_t)(colon - name)) == 0)
			row->run = ops[i].run;
	row->path = colon ? colon + 1 : "";
	return row->us && row->run ? 0 : -1;
}

static int round_run(struct row *rows, int count, long round)
{
	for (int i = 0; i < count; i++) {
		uint64_t began = now_us();

		if (rows[i].run(rows[i].path) < 0) {
			(void)fprintf(stderr, "helper-latency: %s: %s\n", rows[i].name,
				      strerrorname_np(errno));
			return -1;
		}
		rows[i].us[round] = now_us() - began;
	}
	return 0;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void row_say(struct row *row, long rounds)
{
	qsort(row->us, (size_t)rounds, sizeof(*row->us), by_size);
	printf("%s %llu %llu %llu\n", row->name, (unsigned long long)row->us[rounds / 2],
	       (unsigned long long)row->us[rounds * 99 / 100],
	       (unsigned long long)row->us[rounds - 1]);
}

int main(int argc, char **argv)
{
	long rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
	int count = argc - 1, status = 0; /* one more than there are OP:PATH */
	struct row *rows = calloc((size_t)argc, sizeof(*rows));

	if (rounds < 1 || rounds > ROUNDS_MAX || !rows || start_asked() < 0) {
		(void)fputs("helper-latency: see the head of its source\n", stderr);
		return 2;
	}
	for (int i = 0; i < count - 1 && status == 0; i++)
		status = row_make(&rows[i], argv[i + 2], rounds);
	rows[count - 1] = (struct row){.name = "asked",
				       .path = "",
				       .run = do_ask,
				       .us = calloc((size_t)rounds, sizeof(uint64_t))};
	for (long round = 0; round < rounds && status == 0; round++)
		status = round_run(rows, count, round);
	for (int i = 0; i < count; i++) {
		if (status == 0)
			row_say(&rows[i], rounds);
		free(rows[i].us);
	}
	free(rows);
	return status ? 1 : 0;
}
