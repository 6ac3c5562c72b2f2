// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/commit-image.c - a flattened disk made fit for a template
 *
 * How it works: shrinking moves what is in use to the front, so cutting the file off there drops what deleted files have left
 * behind; growing it again writes little. The tools get the image as a descriptor: it has no name yet.
 */
#include "ops/commit-image.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/ext.h"
#include "base/proc.h"

/* e2fsck(8) */
enum {
	FSCK_NOT_MENDED = 4,
};

enum {
	MIB = 1 << 20,
	ARGS_MAX = 6, /* of a tool, with the NULL */
};

#define IMAGE_PATH "/proc/self/fd/3"
_Static_assert(PROC_FD_FIRST == 3, "what IMAGE_PATH says");

/* The bytes of the ext2, 3 or 4 in the image. Return: 0; -ENODATA there is none; -EIO. */
static int ext_bytes(int fd, uint64_t *ret, struct err *e)
{
	unsigned char super[EXT_SUPER_SIZE];
	ssize_t n = pread(fd, super, sizeof(super), EXT_SUPER_AT);
	uint64_t blocks;
	unsigned log;

	if (n < 0)
		return err_sys(e, errno, "cannot read the image");
	log = n == (ssize_t)sizeof(super) ? ext_size(super, &blocks) : 0;
	if (log == 0)
		return -ENODATA;
	*ret = blocks << log;
	return 0;
}

/* Run a tool of e2fsprogs on the image; the PATH of ordinary users does not lead there. */
static int run_tool(const char *const *argv, int fd, const struct deadline *d, int *ret_status,
		    struct err *e)
{
	const char *again[ARGS_MAX] = {NULL};
	char path[32];
	int r = proc_run_on(argv, fd, d, ret_status, e);

	if (r != -ENOENT)
		return r;
	(void)snprintf(path, sizeof(path), "/usr/sbin/%s", argv[0]); /* fits */
	again[0] = path;
	for (int i = 1; argv[i]; i++)
		again[i] = argv[i];
	r = proc_run_on(again, fd, d, ret_status, e);
	if (r == -ENOENT)
		return err_set(e, ENOENT,
			       "%s is not installed; on Debian: apt-get install e2fsprogs",
			       argv[0]);
	return r;
}

static int check_and_mend(int fd, const struct deadline *d, struct err *e)
{
	static const char *const argv[] = {"e2fsck", "-f", "-y", IMAGE_PATH, NULL};
	int status, r = run_tool(argv, fd, d, &status, e);

	if (r < 0)
		return r;
	if (status >= FSCK_NOT_MENDED)
		return err_wrap(e, "its file system is damaged and cannot be mended");
	return 0;
}

static int resize(const char *const *argv, int fd, const struct deadline *d, struct err *e)
{
	int status, r = run_tool(argv, fd, d, &status, e);

	if (r == 0 && status != 0)
		r = err_wrap(e, "its file system cannot be resized");
	return r;
}

static int set_length(int fd, uint64_t bytes, struct err *e)
{
	if (ftruncate(fd, (off_t)bytes) < 0)
		return err_sys(e, errno, "cannot set the length of the image");
	return 0;
}

/* Whole MiB, as disks are. */
static int shrink(int fd, const struct deadline *d, uint64_t *ret_bytes, struct err *e)
{
	static const char *const argv[] = {"resize2fs", "-M", IMAGE_PATH, NULL};
	uint64_t bytes = 0;
	int r = resize(argv, fd, d, e);

	if (r == 0)
		r = ext_bytes(fd, &bytes, e);
	if (r == -ENODATA)
		r = err_set(e, EIO, "its file system is gone after resize2fs");
	if (r == 0)
		r = set_length(fd, bytes, e);
	*ret_bytes = (bytes + MIB - 1) / MIB * MIB;
	return r;
}

int commit_image_finish(int fd, uint64_t bytes, const struct deadline *d, struct err *e)
{
	static const char *const argv[] = {"resize2fs", IMAGE_PATH, NULL};
	uint64_t least;
	int r = ext_bytes(fd, &least, e);

	if (r == -ENODATA)
		return 0;
	if (r == 0)
		r = check_and_mend(fd, d, e);
	if (r == 0)
		r = shrink(fd, d, &least, e);
	if (r == 0)
		r = set_length(fd, least > bytes ? least : bytes, e);
	return r < 0 ? r : resize(argv, fd, d, e);
}
