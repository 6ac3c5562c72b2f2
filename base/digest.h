/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/digest.h - SHA-256 of files, and HMAC-SHA256 */
#ifndef SBXFS_BASE_DIGEST_H
#define SBXFS_BASE_DIGEST_H

#include <stddef.h>

#include "base/err.h"

enum {
	DIGEST_HEX_SIZE = 65, /* 64 hexadecimal digits and a NUL */
};

struct digest;

/* A running SHA-256; NULL when there is no memory. digest_free() takes NULL. */
struct digest *digest_new(void);
void digest_free(struct digest *d);
void digest_add(struct digest *d, const void *data, size_t len);

/**
 * digest_add_fd() - Add the whole content of @fd, read from offset 0; holes cost nothing but their zeroes
 * @cancel_fd: checked between pieces, -1 for none
 * Return: 0; -ECANCELED; -EIO.
 */
int digest_add_fd(struct digest *d, int fd, int cancel_fd, struct err *e);

/**
 * digest_add_sparse() - Add what tells one image from another: its length, and 64 KiB at a time with their place what is not
 *                       all zeroes, whether the zeroes are holes or not
 *
 * The sum is no SHA-256 of the file, and only as quick as the data is large.
 * Return: as digest_add_fd().
 */
int digest_add_sparse(struct digest *d, int fd, int cancel_fd, struct err *e);

/* Write the digest as 64 hexadecimal digits and a NUL. @d may not be added to afterwards. */
void digest_hex(struct digest *d, char ret_hex[DIGEST_HEX_SIZE]);

/**
 * digest_hmac() - HMAC-SHA256 (RFC 2104) of @len bytes, as 64 hexadecimal digits and a NUL
 * Return: 0; -ENOMEM.
 */
int digest_hmac(const void *key, size_t key_len, const void *data, size_t len,
		char ret_hex[DIGEST_HEX_SIZE]);

#endif
