// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-image.c - times copies and images of a sandbox's disk in a file, ours against QEMU's and cp
 *
 *   helper-image make DIR BASE MIB            the data, for the caller to write to; its name on stdout
 *   helper-image measure DIR BASE MIB COUNT   each round: flatten and qemu-img convert, copy and cp --sparse=always
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/log.h"
#include "storage/volume.h"
#include "tests/bench/bench.h"

enum { LIMIT_MS = 60000 };

static void check(int r, const struct err *e)
{
	if (r < 0)
		bench_die("%s", e->text);
}

/* Neither is synced: what comes of it is checked and shrunk before it has to last. */
static void image_ours(const struct volume_driver *drv, const struct volume_spec *s)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	double start = bench_now();
	struct err e;
	int fd = openat(s->dir_fd, "image", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		bench_die_sys("image");
	check(drv->flatten(s, fd, &d, &e), &e);
	(void)close(fd); /* it is ours, and was written */
	bench_sample("image-ours", start);
}

static void image_qemu(const struct volume_spec *s, const char *name, bool first)
{
	double start = bench_now();

	bench_command(NULL, 0, "qemu-img convert -f %s -O raw -S 4k %s/%s %s/image.qemu",
		      strcmp(name, "disk.raw") == 0 ? "raw" : "qcow2", s->dir, name, s->dir);
	bench_sample("image-qemu", start);
	if (first)
		bench_command(NULL, 0, "cmp %s/image %s/image.qemu", s->dir, s->dir);
	(void)unlinkat(s->dir_fd, "image", 0); /* the next round makes it anew */
	(void)unlinkat(s->dir_fd, "image.qemu", 0);
}

/* Both durable. */
static void copy_ours(const struct volume_driver *drv, const struct volume_spec *s,
		      const char *name)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct err e;
	double start = 0;
	int to = -1;

	if (mkdirat(s->dir_fd, "copy", 0700) < 0 ||
	    (to = openat(s->dir_fd, "copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		bench_die_sys("copy");
	start = bench_now();
	check(drv->copy(s, to, &d, &e), &e);
	bench_sample("copy-ours", start);
	(void)unlinkat(to, name, 0); /* as above */
	(void)close(to);
	(void)unlinkat(s->dir_fd, "copy", AT_REMOVEDIR);
}

static void copy_cp(const struct volume_spec *s, const char *name)
{
	double start = bench_now();

	bench_command(NULL, 0, "cp --sparse=always %s/%s %s/copy", s->dir, name, s->dir);
	bench_command(NULL, 0, "sync %s/copy %s", s->dir, s->dir);
	bench_sample("copy-cp", start);
	(void)unlinkat(s->dir_fd, "copy", 0); /* as above */
}

int main(int argc, char **argv)
{
	const struct volume_driver *drv = NULL;
	struct volume_spec s = {.instance = "benc", .serial = 1};
	struct deadline d = deadline_in(LIMIT_MS, -1);
	const char *name = NULL;
	unsigned count = 0;
	struct err e;

	if (argc != 5 && argc != 6)
		bench_die("usage: helper-image make|measure DIR BASE MIB [COUNT]");
	log_open(false);
	drv = volume_driver_named("file");
	if (!drv)
		bench_die("there is no store for files");
	s.dir = argv[2];
	s.dir_fd = open(s.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s.base = argv[3];
	s.size_bytes = (uint64_t)bench_number(argv[4]) << 20;
	if (s.dir_fd < 0)
		bench_die_sys(s.dir);
	check(drv->create(&s, &d, &e), &e);
	name = drv->data_name(s.dir_fd);
	if (argc == 5)
		(void)puts(name);
	else
		count = bench_number(argv[5]);
	for (unsigned i = 0; i < count; i++) {
		image_ours(drv, &s);
		image_qemu(&s, name, i == 0);
		/* In turn, so that neither always comes after what the images left to be written. */
		if (i % 2)
			copy_cp(&s, name);
		copy_ours(drv, &s, name);
		if (i % 2 == 0)
			copy_cp(&s, name);
	}
	return 0;
}
