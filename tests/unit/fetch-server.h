/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/fetch-server.h - a server whose answers a test lays out, and what a fetch from it gives */
#ifndef SBXFS_TESTS_UNIT_FETCH_SERVER_H
#define SBXFS_TESTS_UNIT_FETCH_SERVER_H

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fetch.h"
#include "base/file.h"
#include "base/http.h"

enum { ANSWERS_MAX = 16 };

struct server {
	int listener;
	int cancel_fd; /* made readable once a request has come; -1: not */
	const char *answers
		[ANSWERS_MAX]; /* NULL: none, the connection stays open until the client closes it */
	int count;
	struct buf requests; /* owned */
	pthread_t thread;
	unsigned port;
	char url[64];
};

/* What came, as begin and sink were told. */
struct got {
	struct buf body; /* owned */
	uint64_t from;
	int64_t total;
	int begins, refuse;
	struct err *e;
};

static inline void take_request(struct server *s, int fd)
{
	size_t before = s->requests.len;

	while (!strstr(buf_text(&s->requests) + before, "\r\n\r\n")) {
		char piece[512];
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n <= 0)
			return;
		buf_add(&s->requests, piece, (size_t)n);
	}
}

static inline void *serve(void *arg)
{
	struct server *s = arg;

	for (int i = 0; i < s->count; i++) {
		AUTO_FD fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
		char rest;

		if (fd < 0)
			return NULL;
		take_request(s, fd);
		if (s->cancel_fd >= 0)
			(void)eventfd_write(s->cancel_fd, 1); /* the test fails if this did */
		if (s->answers[i])
			(void)file_write_all(fd, s->answers[i],
					     strlen(s->answers[i])); /* the same */
		else
			(void)!read(fd, &rest, 1); /* end of file once the client has given up */
	}
	return NULL;
}

static inline void begin_server(struct server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->listener >= 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(listen(s->listener, ANSWERS_MAX), 0);
	s->port = ntohs(a.sin_port);
	(void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/file", s->port);
	while (s->count < ANSWERS_MAX && s->answers[s->count])
		s->count++;
	s->count += s->count == 0; /* none at all: one connection that hangs */
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void end_server(struct server *s)
{
	/* A server that waits for a connection more would wait for ever. */
	(void)shutdown(s->listener, SHUT_RDWR);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	fd_close(s->listener);
}

static inline int begin(void *arg, const struct fetch_answer *a)
{
	struct got *g = arg;

	g->begins++;
	g->from = a->from;
	g->total = a->total;
	return g->refuse ? err_set(g->e, g->refuse, "refused by the test") : 0;
}

static inline int sink(void *arg, const char *data, size_t len)
{
	struct got *g = arg;

	buf_add(&g->body, data, len);
	return buf_error(&g->body);
}

static inline void got_done(struct got *g)
{
	buf_done(&g->body);
}
#define AUTO_GOT __attribute__((cleanup(got_done))) struct got

/* One fetch of all that @s serves. */
static inline int fetch(struct server *s, struct fetch_request *r, struct got *g,
			struct fetch_answer *a, struct err *e)
{
	const struct deadline d = deadline_in(10000, s->cancel_fd);
	int result;

	begin_server(s);
	if (!r->url)
		r->url = s->url;
	r->begin = begin;
	r->sink = sink;
	r->arg = g;
	g->e = e;
	result = fetch_file(r, &d, a, e);
	end_server(s);
	return result;
}

#define WHOLE                                                                                      \
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"one\"\r\n"                                \
	"Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\n\r\nhello"

#endif
