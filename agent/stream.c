// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/stream.c - an answer that is a stream of messages
 *
 * How it works: the library goes on reading while an answer is written, only to see the client go; then it
 * frees the connection, calls closed_cb(), and the request is ours to free. Such a read must have no time
 * limit, for a client has nothing to say during a stream; it gets one again for the request after it.
 */
#include "agent/stream.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

#include "agent/connection.h"
#include "agent/http.h"
#include "base/cleanup.h"

enum {
	KEEPALIVE_DEFAULT_S = 90,
	KEEPALIVE_MAX_S = 3600,
	KEEPALIVE_QUEUE_MAX =
		4096, /* bytes; with more on the way no further sign of life is needed */
};

static const char keepalive_json[] = "{\"event\":{\"keepalive\":{}}}";

struct stream {
	struct evhttp_request *req;
	struct bufferevent *bev; /* of the connection; borrowed */
	struct event *keepalive;
	struct timeval interval;
	const struct stream_owner *owner; /* NULL: none yet */
	void *arg;
};

static void stream_free(struct stream *s)
{
	if (s->keepalive)
		event_free(s->keepalive);
	free(s);
}

static void closed_cb(void *arg)
{
	struct stream *s = arg;

	if (s->owner)
		s->owner->closed(s->arg);
	if (!evhttp_request_get_connection(s->req))
		evhttp_request_free(s->req);
	stream_free(s);
}

static void drained_cb(struct evhttp_connection *con, void *arg)
{
	struct stream *s = arg;

	(void)con;
	if (s->owner)
		s->owner->drained(s->arg);
}

static void keepalive_cb(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	if (stream_queued(s) < KEEPALIVE_QUEUE_MAX)
		stream_send(s, keepalive_json, strlen(keepalive_json));
	else
		(void)event_add(s->keepalive, &s->interval); /* no sign of life is no harm */
}

static long keepalive_seconds(struct evhttp_request *req)
{
	const char *text = http_header(req, "Keepalive-Ping-Interval");
	long s = text ? strtol(text, NULL, 10) : 0;

	return s > 0 && s <= KEEPALIVE_MAX_S ? s : KEEPALIVE_DEFAULT_S;
}

struct stream *stream_open(struct agent *a, struct evhttp_request *req)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct evhttp_connection *con = evhttp_request_get_connection(req);

	if (s)
		s->keepalive = evtimer_new(a->base, keepalive_cb, s);
	if (!s || !s->keepalive || connection_on_close(req, closed_cb, s)) {
		if (s)
			stream_free(s);
		http_error(req, HTTP_SERVUNAVAIL, "the agent is out of memory");
		return NULL;
	}
	s->req = req;
	s->bev = evhttp_connection_get_bufferevent(con);
	s->interval.tv_sec = keepalive_seconds(req);
	(void)evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
				"application/connect+json");
	(void)bufferevent_set_timeouts(s->bev, NULL, NULL); /* fails for no kind of socket */
	evhttp_send_reply_start(req, HTTP_OK, NULL);
	(void)event_add(s->keepalive, &s->interval);
	return s;
}

void stream_own(struct stream *s, const struct stream_owner *owner, void *arg)
{
	s->owner = owner;
	s->arg = arg;
}

static void send_envelope(struct stream *s, unsigned flags, const char *json, size_t len)
{
	struct evbuffer *b = evbuffer_new();
	unsigned char head[CONNECT_HEAD_SIZE];

	connect_head(head, flags, len);
	/* A message lost for want of memory must not pass for a whole stream: cut the connection. */
	if (!b || evbuffer_add(b, head, sizeof(head)) || evbuffer_add(b, json, len))
		(void)shutdown(bufferevent_getfd(s->bev), SHUT_RDWR);
	else
		evhttp_send_reply_chunk_with_cb(s->req, b, drained_cb, s);
	if (b)
		evbuffer_free(b);
}

void stream_send(struct stream *s, const char *json, size_t len)
{
	send_envelope(s, 0, json, len);
	(void)event_add(s->keepalive, &s->interval);
}

size_t stream_queued(const struct stream *s)
{
	return evbuffer_get_length(bufferevent_get_output(s->bev));
}

static void finish(struct stream *s, const char *json)
{
	const struct timeval idle = {.tv_sec = AGENT_IDLE_S};

	send_envelope(s, CONNECT_FLAG_END, json, strlen(json));
	(void)connection_on_close(s->req, NULL, NULL);        /* it was found before */
	(void)bufferevent_set_timeouts(s->bev, &idle, &idle); /* fails for no kind of socket */
	evhttp_send_reply_end(s->req);
	stream_free(s);
}

void stream_end(struct stream *s)
{
	finish(s, "{}");
}

void stream_fail(struct stream *s, enum connect_code code, const char *text)
{
	AUTO_BUF b = BUF_INIT;

	buf_adds(&b, "{\"error\":");
	connect_error_json(&b, code, text);
	buf_addc(&b, '}');
	finish(s, buf_text(&b));
}
