// SPDX-License-Identifier: GPL-2.0-or-later
/* base/base64.c - bytes as text in RFC 4648 base64 */
#include "base/base64.h"

#include <errno.h>
#include <stdint.h>

enum {
	GROUP_BYTES = 3, /* three bytes ... */
	GROUP_CHARS = 4, /* ... make four characters of 6 bits each */
	PAD = 64,        /* place of '=' in the alphabet */
	BLOCK_BYTES = 768,
	BLOCK_CHARS = BLOCK_BYTES / GROUP_BYTES * GROUP_CHARS,
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

/* Encode up to BLOCK_BYTES; returns the number of characters. */
static size_t encode(const unsigned char *in, size_t len, char *out)
{
	char *o = out;

	for (size_t i = 0; i < len; i += GROUP_BYTES) {
		uint32_t v = (uint32_t)in[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			v |= in[i + 2];
		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		*o++ = alphabet[i + 1 < len ? v >> 6 & 63 : PAD];
		*o++ = alphabet[i + 2 < len ? v & 63 : PAD];
	}
	return (size_t)(o - out);
}

void base64_add(struct buf *b, const void *data, size_t len)
{
	const unsigned char *in = data;
	char block[BLOCK_CHARS];

	while (len) {
		size_t n = len < BLOCK_BYTES ? len : BLOCK_BYTES;

		buf_add(b, block, encode(in, n, block));
		in += n;
		len -= n;
	}
}

/* The 6 bits of a character; -1 when it is none of either alphabet. */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* Decode up to GROUP_CHARS characters; a lone one holds less than a byte. */
static int decode_group(const char *text, size_t n, unsigned char out[GROUP_BYTES])
{
	uint32_t v = 0;

	if (n == 1)
		return -EBADMSG;
	for (size_t i = 0; i < GROUP_CHARS; i++) {
		int bits = i < n ? value_of(text[i]) : 0;

		if (bits < 0)
			return -EBADMSG;
		v = v << 6 | (uint32_t)bits;
	}
	out[0] = (unsigned char)(v >> 16);
	out[1] = (unsigned char)(v >> 8 & 0xff);
	out[2] = (unsigned char)(v & 0xff);
	return 0;
}

int base64_decode(struct buf *b, const char *text, size_t len)
{
	unsigned char block[BLOCK_BYTES];
	size_t filled = 0;

	for (int pad = 0; pad < 2 && len && len % GROUP_CHARS != 1 && text[len - 1] == '='; pad++)
		len--;
	for (size_t i = 0; i < len; i += GROUP_CHARS) {
		size_t n = len - i < GROUP_CHARS ? len - i : GROUP_CHARS;

		if (decode_group(text + i, n, block + filled))
			return -EBADMSG;
		filled += n - 1;
		if (filled == BLOCK_BYTES) {
			buf_add(b, block, filled);
			filled = 0;
		}
	}
	buf_add(b, block, filled);
	return buf_error(b);
}
