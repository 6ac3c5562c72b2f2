/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/random.c - unpredictable bytes and text */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

enum {
	PIECE = 64, /* bytes taken at once; the kernel gives up to 256 whole */
};

int random_bytes(unsigned char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = getrandom(bytes, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

int random_hex(char *text, size_t bytes)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char piece[PIECE];

	*text = '\0';
	while (bytes > 0) {
		size_t n = bytes < PIECE ? bytes : PIECE;

		if (random_bytes(piece, n) < 0)
			return -EIO;
		/* cppcheck-suppress knownConditionTrueFalse; n is at least 1 here */
		for (size_t i = 0; i < n; i++) {
			*text++ = digits[piece[i] >> 4];
			*text++ = digits[piece[i] & 15];
		}
		bytes -= n;
	}
	*text = '\0';
	return 0;
}

int random_base32(char *text, size_t len)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned char piece[PIECE];

	*text = '\0';
	while (len > 0) {
		size_t n = len < PIECE ? len : PIECE;

		if (random_bytes(piece, n) < 0)
			return -EIO;
		/* cppcheck-suppress knownConditionTrueFalse; n is at least 1 here */
		for (size_t i = 0; i < n; i++)
			*text++ = letters[piece[i] & 31]; /* 256 is a multiple of 32: no bias */
		len -= n;
	}
	*text = '\0';
	return 0;
}
