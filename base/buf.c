/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/buf.c - a text buffer that grows
 *
 * How it works: the room doubles; one byte more than the text is always there for its NUL. Depends on libc
 * alone, because the guest's agent is built from it too.
 */
#include "base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_ROOM = 256, /* bytes; most renderings of a small file need no second allocation */
};

/* Make room for @more bytes and a NUL. */
static bool grow(struct buf *b, size_t more)
{
	size_t need, room = b->room ? b->room : FIRST_ROOM;
	char *data;

	if (b->failed)
		return false;
	if (more >= SIZE_MAX / 2 - b->len) {
		b->failed = true;
		return false;
	}
	need = b->len + more + 1;
	if (b->data && need <= b->room)
		return true;
	while (room < need)
		room *= 2;
	data = realloc(b->data, room);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->room = room;
	return true;
}

void buf_done(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (!grow(b, len))
		return;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_addv(b, fmt, args);
	va_end(args);
}

void buf_addv(struct buf *b, const char *fmt, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0) {
		b->failed = true;
		return;
	}
	if (!grow(b, (size_t)len))
		return;
	/* The same arguments as just now, so the same length. */
	(void)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, args);
	b->len += (size_t)len;
}

void buf_add_escaped(struct buf *b, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\\')
			buf_adds(b, "\\\\");
		else if (c == '\n')
			buf_adds(b, "\\n");
		else if (c == '\t')
			buf_adds(b, "\\t");
		else if (c < 0x20 || c == 0x7f)
			buf_addf(b, "\\x%02x", (unsigned)c);
		else
			buf_addc(b, (char)c);
	}
}

/* Length of the UTF-8 character at @s, 0 when there is none (RFC 3629: no overlong form, no surrogate). */
static size_t utf8_len(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return len;
}

static void add_json_ascii(struct buf *b, char c)
{
	switch (c) {
	case '"':
		buf_adds(b, "\\\"");
		break;
	case '\\':
		buf_adds(b, "\\\\");
		break;
	case '\n':
		buf_adds(b, "\\n");
		break;
	case '\r':
		buf_adds(b, "\\r");
		break;
	case '\t':
		buf_adds(b, "\\t");
		break;
	default:
		if ((unsigned char)c < 0x20 || c == 0x7f)
			buf_addf(b, "\\u%04x", (unsigned)c);
		else
			buf_addc(b, c);
	}
}

void buf_add_json(struct buf *b, const char *text)
{
	buf_addc(b, '"');
	while (*text) {
		size_t len = utf8_len((const unsigned char *)text);

		if (len == 0)
			buf_adds(b, "\xef\xbf\xbd"); /* U+FFFD */
		else if (len == 1)
			add_json_ascii(b, *text);
		else
			buf_add(b, text, len);
		text += len ? len : 1;
	}
	buf_addc(b, '"');
}

const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

int buf_error(const struct buf *b)
{
	return b->failed ? -ENOMEM : 0;
}
