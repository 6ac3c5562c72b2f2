/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/base64.h - bytes as text in RFC 4648 base64 */
#ifndef SBXFS_BASE_BASE64_H
#define SBXFS_BASE_BASE64_H

#include <stddef.h>

#include "base/buf.h"

/* Append @data in the standard alphabet with padding. */
void base64_add(struct buf *b, const void *data, size_t len);

/**
 * base64_decode() - Append what @text stands for
 * @text: @len characters of the standard or the URL-safe alphabet, padded or not; no white space
 * Return: 0; -EBADMSG, after which @b may hold a part; -ENOMEM.
 */
int base64_decode(struct buf *b, const char *text, size_t len);

#endif
