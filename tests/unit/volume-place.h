/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/volume-place.h - a base image, a sandbox's directory and the file store, for the tests of its data */
#ifndef SBXFS_TESTS_UNIT_VOLUME_PLACE_H
#define SBXFS_TESTS_UNIT_VOLUME_PLACE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/volume.h"

enum { MIB = 1024 * 1024 };

struct place {
	char root[64];
	char dir[80], to[80],
		base[80]; /* the sandbox's directory, an empty one, the image (2 MiB, half of it data) */
	int to_fd;
	const struct volume_driver *drv;
	struct volume_spec spec;
	struct deadline d;
};

static inline void place_fill(const char *path, char byte)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char text[4096];

	assert_true(fd >= 0);
	memset(text, byte, sizeof(text));
	for (int i = 0; i < MIB / 4096; i++)
		assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(ftruncate(fd, 2 * MIB), 0);
}

static inline int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	(void)snprintf(p->root, sizeof(p->root), "/tmp/test-volume.XXXXXX");
	assert_non_null(mkdtemp(p->root));
	(void)snprintf(p->dir, sizeof(p->dir), "%s/sandbox", p->root);
	(void)snprintf(p->to, sizeof(p->to), "%s/to", p->root);
	(void)snprintf(p->base, sizeof(p->base), "%s/base.img", p->root);
	assert_int_equal(mkdir(p->dir, 0700), 0);
	assert_int_equal(mkdir(p->to, 0700), 0);
	place_fill(p->base, 'b');
	p->drv = volume_driver_named("file");
	assert_non_null(p->drv);
	p->d = deadline_in(30000, -1);
	p->to_fd = open(p->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->spec = (struct volume_spec){
		.instance = "test",
		.serial = 1,
		.dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.dir = p->dir,
		.base = p->base,
		.size_bytes = 8 * MIB,
	};
	assert_true(p->spec.dir_fd >= 0 && p->to_fd >= 0);
	*state = p;
	return 0;
}

static inline int teardown(void **state)
{
	struct place *p = *state;

	fd_close(p->spec.dir_fd);
	fd_close(p->to_fd);
	assert_int_equal(file_remove_tree(AT_FDCWD, p->root, NULL), 0);
	free(p);
	return 0;
}

/* A shell command in the place, with its exit status. */
static inline int shell(const struct place *p, const char *command)
{
	char line[2048];
	int status;

	(void)snprintf(line, sizeof(line), "{ cd %s && %s; } >/dev/null 2>&1", p->root, command);
	status = system(line); /* NOLINT(cert-env33-c): a test, and the command is ours */
	assert_true(status >= 0);
	return status >> 8;
}

#endif
