// SPDX-License-Identifier: GPL-2.0-or-later
/* guest/envelope.c - messages out of a stream of Connect envelopes */
#include "guest/envelope.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Take what is missing of the head. Return: 0; -EBADMSG; -EMSGSIZE. */
static int feed_head(struct envelopes *s, const char **data, size_t *len)
{
	const unsigned char *h = s->head;
	size_t n = smaller(ENVELOPE_HEAD_SIZE - s->head_len, *len);

	memcpy(s->head + s->head_len, *data, n);
	s->head_len += n;
	*data += n;
	*len -= n;
	if (s->head_len < ENVELOPE_HEAD_SIZE)
		return 0;
	if (h[0] & ~(unsigned)ENVELOPE_FLAG_END)
		return -EBADMSG;
	s->want =
		(size_t)((uint32_t)h[1] << 24 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 8 | h[4]);
	return s->want > ENVELOPE_MAX ? -EMSGSIZE : 0;
}

/* Hand the whole payload on and be ready for the next head. */
static int deliver(struct envelopes *s)
{
	unsigned flags = s->head[0];
	int r = buf_error(&s->payload);

	if (r == 0)
		r = s->message(s->arg, flags, buf_text(&s->payload), s->payload.len);
	s->ended = (flags & ENVELOPE_FLAG_END) != 0;
	s->head_len = 0;
	buf_reset(&s->payload);
	return r;
}

int envelopes_feed(struct envelopes *s, const char *data, size_t len)
{
	while (len) {
		size_t n;
		int r;

		if (s->ended)
			return -EBADMSG;
		if (s->head_len < ENVELOPE_HEAD_SIZE) {
			r = feed_head(s, &data, &len);
			if (r || s->head_len < ENVELOPE_HEAD_SIZE)
				return r;
		}
		n = smaller(s->want - s->payload.len, len);
		buf_add(&s->payload, data, n);
		data += n;
		len -= n;
		/* A failed append is found by deliver(); it must not count as progress here. */
		if (s->payload.len < s->want && !s->payload.failed)
			return 0;
		r = deliver(s);
		if (r)
			return r;
	}
	return 0;
}

void envelopes_done(struct envelopes *s)
{
	buf_done(&s->payload);
}

void envelope_add(struct buf *b, const char *payload, size_t len)
{
	const unsigned char head[ENVELOPE_HEAD_SIZE] = {
		0, (unsigned char)(len >> 24 & 0xff), (unsigned char)(len >> 16 & 0xff),
		(unsigned char)(len >> 8 & 0xff), (unsigned char)(len & 0xff)};

	buf_add(b, head, sizeof(head));
	buf_add(b, payload, len);
}
