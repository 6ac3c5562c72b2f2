/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest/envelope.h - messages out of a stream of Connect envelopes
 *
 * An envelope is a byte of flags, four bytes of length (most significant first) and the payload. The stream
 * comes in pieces of any size.
 */
#ifndef SBXFS_GUEST_ENVELOPE_H
#define SBXFS_GUEST_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum {
	ENVELOPE_HEAD_SIZE = 5,
	ENVELOPE_MAX =
		128 * 1024, /* bytes of payload; agents send 32 KiB of output as 44 KiB of base64 */
	ENVELOPE_FLAG_END = 2, /* the last one */
};

struct envelopes {
	unsigned char head[ENVELOPE_HEAD_SIZE];
	size_t head_len;
	size_t want; /* bytes of payload, once the head is there */
	struct buf payload;
	bool ended; /* the last one has been */

	/* A payload: @len bytes and a NUL. Returns 0, or a negative errno to stop with. */
	int (*message)(void *arg, unsigned flags, const char *payload, size_t len);
	void *arg;
};

/**
 * envelopes_feed() - Take a piece of the stream
 * Return: 0; -EMSGSIZE a longer payload than ENVELOPE_MAX; -EBADMSG flags that nobody agreed on, or bytes
 *         behind the end; -ENOMEM; what message() returned.
 */
int envelopes_feed(struct envelopes *s, const char *data, size_t len);

void envelopes_done(struct envelopes *s);

/* Append a whole envelope without flags. */
void envelope_add(struct buf *b, const char *payload, size_t len);

#endif
