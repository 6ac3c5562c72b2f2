// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-store.c - times a sandbox's disk, ours against forked commands
 *
 *   helper-store dm|file COUNT DIR BASE MIB
 *
 * Each round: the driver's create, up, down, destroy; then the commands that make the same: dmsetup and losetup
 * over a copy-on-write file that is there before, or qemu-img create.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/log.h"
#include "storage/volume.h"
#include "tests/bench/bench.h"

enum {
	LIMIT_MS = 60000,
	CHUNK = 8, /* sectors; as storage/dm.c */
	SECTORS_PER_MIB = 2048,
	SERIAL = 7777,
};

static char series[32];

static const char *named(const struct volume_driver *drv, const char *what)
{
	(void)snprintf(series, sizeof(series), "%s-%s", drv->name, what);
	return series;
}

static void check(int r, const struct err *e)
{
	if (r < 0)
		bench_die("%s", e->text);
}

static void driver_round(const struct volume_driver *drv, const struct volume_spec *s)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct volume *v = NULL;
	double start = bench_now();
	struct err e;

	check(drv->create(s, &d, &e), &e);
	bench_sample(named(drv, "create"), start);
	start = bench_now();
	check(drv->up(s, &d, &v, &e), &e);
	bench_sample(named(drv, "up"), start);
	start = bench_now();
	check(drv->down(s, v, &d, &e), &e);
	bench_sample(named(drv, "down"), start);
	check(drv->destroy(s, &e), &e);
}

static void dm_forks(const struct volume_spec *s)
{
	unsigned long long mib = s->size_bytes >> 20;
	char origin[64], cow[64], path[PATH_MAX];
	double start = 0;
	int fd = 0;

	/* Room for all of it and for the exceptions, one part in 256 at this chunk size. */
	(void)snprintf(path, sizeof(path), "%s/forks.cow", s->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)((mib + mib / 64 + 2) << 20)) < 0)
		bench_die_sys(path);
	(void)close(fd);
	start = bench_now();
	bench_command(origin, sizeof(origin), "losetup --read-only --find --show %s", s->base);
	bench_command(cow, sizeof(cow), "losetup --direct-io=on --find --show %s", path);
	bench_command(NULL, 0, "dmsetup create bench-forks --table @0_%llu_snapshot_%s_%s_PO_%d",
		      mib * SECTORS_PER_MIB, origin, cow, CHUNK);
	bench_sample("dm-forks-up", start);
	start = bench_now();
	bench_command(NULL, 0, "dmsetup remove bench-forks");
	bench_command(NULL, 0, "losetup --detach %s %s", origin, cow);
	bench_sample("dm-forks-down", start);
	(void)unlink(path); /* the next round makes it anew */
}

static void file_forks(const struct volume_spec *s)
{
	char path[PATH_MAX];
	double start = bench_now();

	(void)snprintf(path, sizeof(path), "%s/forks.qcow2", s->dir);
	bench_command(NULL, 0, "qemu-img create -q -f qcow2 -F raw -b %s %s %lluM", s->base, path,
		      (unsigned long long)(s->size_bytes >> 20));
	bench_sample("file-forks-create", start);
	(void)unlink(path); /* as above */
}

int main(int argc, char **argv)
{
	const struct volume_driver *drv;
	struct volume_spec s = {.instance = "benc", .serial = SERIAL};

	if (argc != 6)
		bench_die("usage: helper-store dm|file COUNT DIR BASE MIB");
	log_open(false);
	drv = volume_driver_named(argv[1]);
	if (!drv)
		bench_die("there is no store %s", argv[1]);
	s.dir = argv[3];
	s.dir_fd = open(s.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s.base = argv[4];
	s.size_bytes = (uint64_t)bench_number(argv[5]) << 20;
	if (s.dir_fd < 0)
		bench_die_sys(s.dir);
	for (unsigned i = bench_number(argv[2]); i > 0; i--) {
		driver_round(drv, &s);
		if (strcmp(drv->name, "dm") == 0)
			dm_forks(&s);
		else
			file_forks(&s);
	}
	return 0;
}
