/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/buf.h - a text buffer that grows
 *
 * After a failed allocation the buffer is marked, every later append does nothing, and buf_error() tells;
 * so a renderer appends without checks and its caller asks once.
 */
#ifndef SBXFS_BASE_BUF_H
#define SBXFS_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data; /* owned; @len bytes and a NUL after them, or NULL while nothing was appended */
	size_t len;
	size_t room; /* allocated bytes */
	bool failed;
};

/* clang-format off */
#define BUF_INIT { .data = NULL }
/* clang-format on */

void buf_done(struct buf *b);  /* frees the text; the buffer may be used again */
void buf_reset(struct buf *b); /* empties it, keeps the memory */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *text);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_addv(struct buf *b, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));

/**
 * buf_add_escaped() - Append @text as a value of status and config: \\ and newline as \n, \t, other control
 *                     characters as \xHH
 */
void buf_add_escaped(struct buf *b, const char *text);

/**
 * buf_add_json() - Append @text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD
 */
void buf_add_json(struct buf *b, const char *text);

/* The text, never NULL: "" for an empty buffer. Borrowed until the next change. */
const char *buf_text(const struct buf *b);

/* Return: 0, or -ENOMEM when an append failed. */
int buf_error(const struct buf *b);

#endif
