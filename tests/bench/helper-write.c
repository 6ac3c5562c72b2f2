// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-write.c - times random writes through a snapshot, against those to a plain file's loop device
 *
 *   helper-write COUNT DIR BASE MIB
 *
 * Each round makes both anew, so that the first write of a block is one: then each block is written again. A
 * sample is the mean of a round.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/log.h"
#include "storage/volume.h"
#include "tests/bench/bench.h"

enum {
	LIMIT_MS = 60000,
	SERIAL = 7778,
	BLOCK = 4096,
	WRITES = 64, /* in a round */
	STEP = 7919, /* blocks from one to the next: prime, so none comes twice */
};

static void check(int r, const struct err *e)
{
	if (r < 0)
		bench_die("%s", e->text);
}

static void write_blocks(const char *series, int fd, unsigned blocks)
{
	static char data[BLOCK] __attribute__((aligned(BLOCK)));
	double start = bench_now();

	memset(data, 'w', sizeof(data));
	for (unsigned i = 0; i < WRITES; i++)
		if (pwrite(fd, data, BLOCK, (off_t)(i * STEP % blocks) * BLOCK) != BLOCK)
			bench_die_sys(series);
	(void)printf("%s %.2f\n", series, (bench_now() - start) / WRITES);
}

static void write_twice(const char *first, const char *again, const char *path, unsigned blocks)
{
	int fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		bench_die_sys(path);
	write_blocks(first, fd, blocks);
	write_blocks(again, fd, blocks);
	(void)close(fd); /* nothing is kept */
}

static void through_snapshot(const struct volume_driver *drv, const struct volume_spec *s)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct volume *v = NULL;
	struct err e;

	check(drv->create(s, &d, &e), &e);
	check(drv->up(s, &d, &v, &e), &e);
	write_twice("dm-write-first", "dm-write-again", volume_path(v),
		    (unsigned)(s->size_bytes / BLOCK));
	check(drv->down(s, v, &d, &e), &e);
	check(drv->destroy(s, &e), &e);
}

static void to_file(const struct volume_spec *s)
{
	char path[PATH_MAX], loop[64];
	int fd = 0;

	(void)snprintf(path, sizeof(path), "%s/raw", s->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)s->size_bytes) < 0)
		bench_die_sys(path);
	(void)close(fd);
	bench_command(loop, sizeof(loop), "losetup --direct-io=on --find --show %s", path);
	write_twice("dm-raw-first", "dm-raw-again", loop, (unsigned)(s->size_bytes / BLOCK));
	bench_command(NULL, 0, "losetup --detach %s", loop);
	(void)unlink(path); /* the next round makes it anew */
}

int main(int argc, char **argv)
{
	struct volume_spec s = {.instance = "benc", .serial = SERIAL};

	if (argc != 5)
		bench_die("usage: helper-write COUNT DIR BASE MIB");
	log_open(false);
	s.dir = argv[2];
	s.dir_fd = open(s.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s.base = argv[3];
	s.size_bytes = (uint64_t)bench_number(argv[4]) << 20;
	if (s.dir_fd < 0)
		bench_die_sys(s.dir);
	for (unsigned i = bench_number(argv[1]); i > 0; i--) {
		through_snapshot(volume_drivers[0], &s); /* dm */
		to_file(&s);
	}
	return 0;
}
