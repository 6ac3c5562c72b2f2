/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/stream.c - events and .events
 *
 * How it works: an open holds the number of the event that it wants next. A read that finds nothing is put
 * on the open's list; a line that comes answers it from the loop. So a thousand waiting readers are a
 * thousand list entries. A line longer than the read is kept in the open's buffer for the next ones.
 */
#include "fs/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "fs/handover.h"
#include "fs/loop.h"
#include "fs/notify.h"
#include "ops/event.h"
#include "ops/registry.h"

struct reader {
	fuse_req_t req;
	size_t size;
	bool interrupted;
	void *raw; /* the request as it was read, for the next daemon; owned */
	size_t raw_len;
	struct reader *next;
};

enum {
	POLL_CHUNK = 4096, /* read ahead to answer poll(): at least one line */
};

static bool any_interrupted;

/* Whose events it shows; 0: everybody's. */
static uint32_t stream_serial(const struct open *o)
{
	return o->object.sbx ? o->object.sbx->serial : 0;
}

uint64_t stream_begin(const struct open *o)
{
	return event_begin(stream_serial(o));
}

/* Is there something to read? Gets up to @size bytes of whole lines when the buffer is empty. */
static bool fill(struct open *o, size_t size)
{
	if ((size_t)o->base < o->text.len)
		return true;
	buf_reset(&o->text);
	o->base = 0;
	o->next_event = event_read(stream_serial(o), o->next_event, size, &o->text);
	return o->text.len > 0;
}

static void serve(fuse_req_t req, struct open *o, size_t size)
{
	size_t left = o->text.len - (size_t)o->base;
	size_t n = left < size ? left : size;

	/* -ENOENT: the reader is gone; the next one gets it */
	if (fuse_reply_buf(req, o->text.data + o->base, n) != -ENOENT)
		o->base += (off_t)n;
}

/* Nothing will ever come again: the sandbox is destroyed. */
static bool is_over(const struct open *o)
{
	uint32_t serial = stream_serial(o);
	struct sbx *s;

	if (serial == 0)
		return false;
	s = registry_find_serial(serial);
	sbx_put(s);
	return !s;
}

/* Runs inside libfuse's hold on the request, which must not be answered here. */
static void reader_interrupt(fuse_req_t req, void *data)
{
	struct reader *r = data;

	(void)req; /* the reader knows */
	r->interrupted = any_interrupted = true;
}

static void reader_wait(fuse_req_t req, struct open *o, size_t size)
{
	struct reader *r = calloc(1, sizeof(*r)), **last = &o->readers;

	if (!r) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	r->raw = loop_request(&r->raw_len);
	if (!r->raw) {
		free(r);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	r->req = req;
	r->size = size;
	while (*last)
		last = &(*last)->next;
	*last = r;
	fuse_req_interrupt_func(req, reader_interrupt, r);
}

void stream_read(fuse_req_t req, struct open *o, size_t size, bool nonblock)
{
	if (!o->readers && fill(o, size))
		serve(req, o, size);
	else if (is_over(o))
		fuse_reply_buf(req, NULL, 0);
	else if (nonblock)
		fuse_reply_err(req, EAGAIN);
	else
		reader_wait(req, o, size);
}

unsigned stream_poll(struct open *o)
{
	unsigned events = POLLOUT | POLLWRNORM;

	if (fill(o, POLL_CHUNK))
		events |= POLLIN | POLLRDNORM;
	else if (is_over(o))
		events |= POLLIN | POLLRDNORM | POLLHUP;
	return events;
}

static void reader_free(struct reader *r)
{
	free(r->raw);
	free(r);
}

static struct reader *reader_first(struct open *o)
{
	struct reader *r = o->readers;

	o->readers = r->next;
	return r;
}

static void wake(struct open *o)
{
	bool over = false;

	while (o->readers && (fill(o, o->readers->size) || (over = is_over(o)))) {
		struct reader *r = reader_first(o);

		if (over)
			fuse_reply_buf(r->req, NULL, 0);
		else
			serve(r->req, o, r->size);
		reader_free(r);
	}
	if (o->ph && stream_poll(o) & POLLIN)
		notify_poll(&o->ph);
}

int stream_since(struct open *o, const char *text, size_t len)
{
	static const char word[] = "since=";
	char line[32];
	uint64_t seq;

	if (len > 0 && text[len - 1] == '\n')
		len--;
	if (len >= sizeof(line))
		return -EINVAL;
	memcpy(line, text, len);
	line[len] = '\0';
	if (strncmp(line, word, sizeof(word) - 1) != 0 ||
	    parse_u64(line + sizeof(word) - 1, 0, UINT64_MAX, &seq) < 0)
		return -EINVAL;
	buf_reset(&o->text);
	o->base = 0;
	o->next_event = seq;
	wake(o);
	return 0;
}

void stream_wake(uint32_t serial)
{
	for (struct open *o = open_all; o; o = o->next)
		if (o->file->flags & FILE_STREAM &&
		    (stream_serial(o) == 0 || stream_serial(o) == serial))
			wake(o);
}

/* Answer EINTR to the interrupted ones, or to all. */
static void readers_end(struct open *o, bool all)
{
	struct reader **at = &o->readers;

	while (*at) {
		struct reader *r = *at;

		if (!all && !r->interrupted) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		fuse_reply_err(r->req, EINTR);
		reader_free(r);
	}
}

void stream_tick(void)
{
	if (!any_interrupted)
		return;
	any_interrupted = false;
	for (struct open *o = open_all; o; o = o->next)
		readers_end(o, false);
}

void stream_hand_over(struct buf *pending)
{
	for (const struct open *o = open_all; o; o = o->next)
		for (const struct reader *r = o->readers; r; r = r->next)
			handover_add(pending, r->raw, r->raw_len);
}

void stream_end(struct open *o)
{
	if (o) {
		readers_end(o, true);
		return;
	}
	for (o = open_all; o; o = o->next)
		readers_end(o, true);
}
