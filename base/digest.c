/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/digest.c - SHA-256 of files, and HMAC-SHA256
 *
 * How it works: libgcrypt does the sums. The holes of a file are found by SEEK_DATA and SEEK_HOLE and
 * answered from a page of zeroes, without reading them; even that takes seconds for GiB, so a sum that only has to tell
 * images apart leaves out what is all zeroes.
 */
#include "base/digest.h"

#include <endian.h>
#include <errno.h>
#include <gcrypt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/deadline.h"

enum {
	PIECE = 64 << 10, /* bytes read at once */
	PIECES_PER_LOOK =
		64,        /* read or summed up between two looks at cancel_fd: 4 MiB, some 10 ms */
	DIGEST_BYTES = 32, /* of SHA-256 */
};

struct digest {
	gcry_md_hd_t md;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Once for the process, unless another library has done it. */
static void init_library(void)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return;
	(void)gcry_check_version(NULL); /* this is how the library is initialised */
	/* Nothing here is secret, so no locked memory. Neither call can fail. */
	(void)gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	(void)gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

struct digest *digest_new(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	(void)pthread_once(&once, init_library); /* cannot fail */
	if (!d)
		return NULL;
	if (gcry_md_open(&d->md, GCRY_MD_SHA256, 0) != 0) {
		free(d);
		return NULL;
	}
	return d;
}

void digest_free(struct digest *d)
{
	if (!d)
		return;
	gcry_md_close(d->md);
	free(d);
}

void digest_add(struct digest *d, const void *data, size_t len)
{
	gcry_md_write(d->md, data, len);
}

/* What digest_add_fd() works with. */
struct source {
	struct digest *d;
	int fd;
	struct deadline cancel;
	char *piece;    /* PIECE bytes; borrowed */
	unsigned since; /* pieces since cancel was looked at */
};

static int check_cancel(struct source *s)
{
	if (s->since++ % PIECES_PER_LOOK == 0 && deadline_cancelled(&s->cancel))
		return -ECANCELED;
	return 0;
}

/* Add @len zeroes. */
static int add_hole(struct source *s, off_t len)
{
	static const char zeroes[PIECE];

	while (len > 0) {
		size_t n = len < PIECE ? (size_t)len : (size_t)PIECE;

		if (check_cancel(s) < 0)
			return -ECANCELED;
		digest_add(s->d, zeroes, n);
		len -= (off_t)n;
	}
	return 0;
}

static int add_data(struct source *s, off_t at, off_t end)
{
	while (at < end) {
		size_t most = end - at < PIECE ? (size_t)(end - at) : (size_t)PIECE;
		ssize_t n;

		if (check_cancel(s) < 0)
			return -ECANCELED;
		n = pread(s->fd, s->piece, most, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO; /* 0: it became shorter meanwhile */
		digest_add(s->d, s->piece, (size_t)n);
		at += n;
	}
	return 0;
}

static int add_all(struct source *s)
{
	off_t size = lseek(s->fd, 0, SEEK_END), at = 0;
	int r = 0;

	if (size < 0)
		return -EIO;
	while (r == 0 && at < size) {
		off_t data = lseek(s->fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO) /* only a hole is left */
			return add_hole(s, size - at);
		if (data < 0) /* knows no holes, such as a block device */
			return add_data(s, at, size);
		hole = lseek(s->fd, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		if (data > size)
			data = size;
		r = add_hole(s, data - at);
		if (r == 0)
			r = add_data(s, data, hole);
		at = hole;
	}
	return r;
}

/* Where data comes next in the file, at a multiple of PIECE; @size: none. */
static off_t next_piece(int fd, off_t at, off_t size)
{
	off_t data = lseek(fd, at, SEEK_DATA);

	if (data < 0 && errno == ENXIO)
		return size;
	return data < at ? at : data / PIECE * PIECE;
}

static int add_piece(struct source *s, off_t at, size_t len)
{
	static const char zeroes[PIECE];
	uint64_t place = htole64((uint64_t)at);
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(s->fd, s->piece + got, len - got, at + (off_t)got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO; /* 0: it became shorter meanwhile */
		got += (size_t)n;
	}
	if (memcmp(s->piece, zeroes, len) == 0)
		return 0;
	digest_add(s->d, &place, sizeof(place));
	digest_add(s->d, s->piece, len);
	return 0;
}

static int add_pieces(struct source *s)
{
	off_t size = lseek(s->fd, 0, SEEK_END), at = 0;
	uint64_t length = htole64((uint64_t)size);
	int r = size < 0 ? -EIO : 0;

	while (r == 0 && (at = next_piece(s->fd, at, size)) < size) {
		r = check_cancel(s);
		if (r == 0)
			r = add_piece(s, at, size - at < PIECE ? (size_t)(size - at) : PIECE);
		at += PIECE;
	}
	digest_add(s->d, &length, sizeof(length));
	return r;
}

static int add_with(int (*add)(struct source *s), struct digest *d, int fd, int cancel_fd,
		    struct err *e)
{
	AUTO_FREE char *piece = malloc(PIECE);
	struct source s = {
		.d = d,
		.fd = fd,
		.cancel = {.at_ms = INT64_MAX, .cancel_fd = cancel_fd},
		.piece = piece,
	};
	int r;

	if (!piece)
		return err_set(e, EIO, "no memory to read a file for its digest");
	r = add(&s);
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "the digest was cancelled");
	if (r < 0)
		return err_set(e, EIO, "cannot read a file for its digest, or it became shorter");
	return 0;
}

int digest_add_fd(struct digest *d, int fd, int cancel_fd, struct err *e)
{
	return add_with(add_all, d, fd, cancel_fd, e);
}

int digest_add_sparse(struct digest *d, int fd, int cancel_fd, struct err *e)
{
	return add_with(add_pieces, d, fd, cancel_fd, e);
}

void digest_hex(struct digest *d, char ret_hex[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *sum = gcry_md_read(d->md, GCRY_MD_SHA256);

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		ret_hex[2 * i] = digits[sum[i] >> 4];
		ret_hex[2 * i + 1] = digits[sum[i] & 15];
	}
	ret_hex[DIGEST_HEX_SIZE - 1] = '\0';
}

int digest_hmac(const void *key, size_t key_len, const void *data, size_t len,
		char ret_hex[DIGEST_HEX_SIZE])
{
	struct digest d = {.md = NULL};
	int r = -ENOMEM;

	(void)pthread_once(&once, init_library); /* cannot fail */
	if (gcry_md_open(&d.md, GCRY_MD_SHA256, GCRY_MD_FLAG_HMAC) != 0)
		return r;
	if (gcry_md_setkey(d.md, key, key_len) == 0) {
		digest_add(&d, data, len);
		digest_hex(&d, ret_hex);
		r = 0;
	}
	gcry_md_close(d.md);
	return r;
}
