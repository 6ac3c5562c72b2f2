/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/copy.c - file_copy(), file_copy_part(): a file's content, shared or copied, with its holes
 *
 * How it works: FICLONE or FICLONERANGE where the file system can. Otherwise extent by extent (SEEK_DATA, SEEK_HOLE), each
 * by copy_file_range() until that refuses, then by read and write, which leave out blocks of zeroes:
 * @to is empty, and a block device as the source has no holes to ask for.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/deadline.h"

enum {
	RANGE_PIECE = 16 << 20, /* bytes between two looks at cancel_fd */
	WRITE_PIECE = 64 << 10, /* bytes */
	GRAIN = 4096,           /* bytes: zeroes are left out in blocks of this */
};

struct copy {
	int from, to;
	off_t shift; /* where it comes to lie in @to, less where it lies in @from */
	struct deadline cancel;
	char *piece;   /* owned; WRITE_PIECE bytes, NULL until needed */
	bool no_range; /* copy_file_range() has refused */
};

/* Would copying by hand do what copy_file_range() would not? */
static bool range_refused(int code)
{
	return code == EXDEV || code == EINVAL || code == EOPNOTSUPP || code == ENOSYS ||
	       code == EPERM;
}

static bool is_zero(const char *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static int write_at(int fd, const char *p, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* From @at to the end of its block, @len at most. */
static size_t grain_at(off_t at, size_t len)
{
	size_t n = (size_t)(GRAIN - at % GRAIN);

	return n < len ? n : len;
}

int file_write_sparse(int fd, const char *p, size_t len, off_t at)
{
	int r = 0;

	while (r == 0 && len > 0) {
		size_t run = 0, n = grain_at(at, len); /* blocks of the same kind in one go */
		bool zero = is_zero(p, n);

		while (run < len && is_zero(p + run, n) == zero) {
			run += n;
			n = run < len ? grain_at(at + (off_t)run, len - run) : 0;
		}
		if (!zero)
			r = write_at(fd, p, run, at);
		p += run;
		at += (off_t)run;
		len -= run;
	}
	return r;
}

/* Copy up to @len bytes at @at by hand. Return: bytes copied; negative errno. */
static ssize_t copy_by_hand(struct copy *c, off_t at, size_t len)
{
	ssize_t n;
	int r;

	if (!c->piece)
		c->piece = malloc(WRITE_PIECE);
	if (!c->piece)
		return -ENOMEM;
	if (len > WRITE_PIECE)
		len = WRITE_PIECE;
	do
		n = pread(c->from, c->piece, len, at);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EIO; /* it became shorter meanwhile */
	r = file_write_sparse(c->to, c->piece, (size_t)n, at + c->shift);
	return r < 0 ? r : n;
}

/* Copy up to @len bytes at @at. Return: bytes copied; negative errno. */
static ssize_t copy_piece(struct copy *c, off_t at, size_t len)
{
	off_t in = at, out = at + c->shift;
	ssize_t n;

	if (c->no_range)
		return copy_by_hand(c, at, len);
	if (len > RANGE_PIECE)
		len = RANGE_PIECE;
	n = copy_file_range(c->from, &in, c->to, &out, len, 0);
	if (n > 0)
		return n;
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 && !range_refused(errno))
		return -errno;
	/* 0 short of the end is how some file systems refuse. */
	c->no_range = true;
	return copy_by_hand(c, at, len);
}

static int copy_extent(struct copy *c, off_t at, off_t end)
{
	while (at < end) {
		ssize_t n;

		if (deadline_cancelled(&c->cancel))
			return -ECANCELED;
		n = copy_piece(c, at, (size_t)(end - at));
		if (n < 0)
			return (int)n;
		at += n;
	}
	return 0;
}

/* From @end to @size. */
static int copy_extents(struct copy *c, off_t end, off_t size)
{
	while (end < size) {
		off_t data = lseek(c->from, end, SEEK_DATA);
		int r;

		if (data < 0 && errno == ENXIO) /* only a hole is left */
			break;
		if (data < 0 && errno == EINVAL) { /* knows no holes, such as a block device */
			data = end;
			end = size;
		} else if (data < 0) {
			return -errno;
		} else {
			end = lseek(c->from, data, SEEK_HOLE);
			if (end < 0)
				return -errno;
		}
		r = copy_extent(c, data, end < size ? end : size);
		if (r < 0)
			return r;
	}
	return ftruncate(c->to, size + c->shift) < 0 ? -errno : 0;
}

static int copy_result(int r, struct err *e)
{
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "the copy was cancelled");
	return r < 0 ? err_sys(e, -r, "cannot copy a file") : 0;
}

int file_copy(int from, int to, int cancel_fd, struct err *e)
{
	struct copy c = {
		.from = from, .to = to, .cancel = {.at_ms = INT64_MAX, .cancel_fd = cancel_fd}};
	off_t size;
	int r;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	/* Whatever it said: a copy either works or tells better what is wrong. */
	size = lseek(from, 0, SEEK_END);
	r = size < 0 ? -errno : copy_extents(&c, 0, size);
	free(c.piece);
	return copy_result(r, e);
}

int file_copy_part(int from, off_t from_at, int to, off_t to_at, int cancel_fd, struct err *e)
{
	struct file_clone_range range = {
		.src_fd = from, .src_offset = (uint64_t)from_at, .dest_offset = (uint64_t)to_at};
	struct copy c = {.from = from,
			 .to = to,
			 .shift = to_at - from_at,
			 .cancel = {.at_ms = INT64_MAX, .cancel_fd = cancel_fd}};
	off_t size;
	int r;

	if (ioctl(to, FICLONERANGE, &range) == 0)
		return 0;
	size = lseek(from, 0, SEEK_END);
	r = size < 0 ? -errno : copy_extents(&c, from_at, size);
	free(c.piece);
	return copy_result(r, e);
}
