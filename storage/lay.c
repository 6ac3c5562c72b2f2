// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/lay.c - sparse images: pieces laid where they belong, the base below them, whole data files copied
 *
 * How it works
 * A piece is cut into runs of blocks that are all zeroes and runs that are not. The first become holes, also
 * where the base below them has content; the second are written. A file system that cannot punch holes gets
 * the zeroes themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/store.h"

enum {
	LAY_BLOCK = 4096,      /* bytes; the grain in which zeroes are looked for */
	ZERO_PIECE = 64 << 10, /* bytes, where zeroes have to be written */
	COPY_MODE = 0600,
};

/* The first byte tells nearly always; else memcmp() is the fastest loop there is. */
static bool block_is_zero(const unsigned char *p)
{
	return p[0] == 0 && memcmp(p, p + 1, LAY_BLOCK - 1) == 0;
}

static int lay_write(int fd, uint64_t offset, const unsigned char *p, size_t len, struct err *e)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, n < 0 ? errno : EIO, "cannot write the image");
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int store_lay_zeroes(int fd, uint64_t offset, uint64_t len, struct err *e)
{
	static const unsigned char zeroes[ZERO_PIECE];
	int r = 0;

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) ==
	    0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return err_sys(e, errno, "cannot make a hole in the image");
	for (uint64_t at = 0; r == 0 && at < len; at += ZERO_PIECE)
		r = lay_write(fd, offset + at, zeroes,
			      len - at < ZERO_PIECE ? (size_t)(len - at) : ZERO_PIECE, e);
	return r;
}

int store_lay(int fd, uint64_t offset, const void *data, size_t len, struct err *e)
{
	const unsigned char *p = data;

	for (size_t at = 0, end; at < len; at = end) {
		bool zero = block_is_zero(p + at);
		int r;

		end = at + LAY_BLOCK;
		while (end < len && block_is_zero(p + end) == zero)
			end += LAY_BLOCK;
		r = zero ? store_lay_zeroes(fd, offset + at, end - at, e)
			 : lay_write(fd, offset + at, p + at, end - at, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int store_lay_base(const struct volume_spec *s, int out_fd, const struct deadline *d, struct err *e)
{
	AUTO_FD base_fd = -1;
	uint64_t base_bytes;
	int r;

	r = store_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = file_copy(base_fd, out_fd, d->cancel_fd, e);
	if (r < 0)
		return err_wrap(e, "cannot copy %s", s->base);
	if (ftruncate(out_fd, (off_t)s->size_bytes) < 0)
		return err_sys(e, errno, "cannot size the image");
	return 0;
}

int store_copy_file(const struct volume_spec *s, const char *name, int to_fd,
		    const struct deadline *d, struct err *e)
{
	AUTO_FD from = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_FD to = -1;
	int r;

	if (from < 0)
		return err_sys(e, errno, "cannot open the disk's data %s/%s", s->dir, name);
	to = openat(to_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, COPY_MODE);
	if (to < 0)
		return err_sys(e, errno, "cannot create a copy of %s/%s", s->dir, name);
	r = file_copy(from, to, d->cancel_fd, e);
	if (r < 0)
		return err_wrap(e, "cannot copy %s/%s", s->dir, name);
	if (fsync(to) < 0)
		return err_sys(e, errno, "cannot write a copy of %s/%s to disk", s->dir, name);
	return file_sync_dir(to_fd, e);
}
