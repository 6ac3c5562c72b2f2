/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/http.h - an HTTP/1.1 client over TCP or a UNIX socket, every call with a deadline */
#ifndef SBXFS_BASE_HTTP_H
#define SBXFS_BASE_HTTP_H

#include <stddef.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"

/* Once, before any thread. Return: 0; -ENOMEM. http_done() at the end. */
int http_init(void);
void http_done(void);

struct http_request {
	const char *method;         /* "GET", "POST", "PUT" */
	const char *url;            /* http://ADDRESS:PORT/PATH */
	const char *unix_path;      /* connect here instead; NULL: TCP */
	const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
	const void *body;           /* @body_len bytes; NULL: none */
	size_t body_len;
	int connect_ms; /* limit for connecting; 0: the deadline's */

	/* The body of the answer goes piece by piece to sink, or, with sink NULL, to @answer up to
	 * @answer_max bytes (more is -EMSGSIZE). sink returns 0, or a negative errno to end the call with. */
	int (*sink)(void *arg, const char *data, size_t len);
	void *sink_arg;
	struct buf *answer;
	size_t answer_max;
};

/**
 * http_call() - One request and its whole answer
 * @r:          the request; borrowed
 * @d:          ends the call with -ETIMEDOUT or -ECANCELED
 * @ret_status: HTTP status, set when an answer's head has come
 *
 * Context: blocks; any thread; no proxy, no redirect, no cookie, whatever the environment says. Connections are
 *          not kept (a sandbox's address is soon another's).
 * Return: 0 with any status; -ECONNREFUSED, -EHOSTUNREACH, -ECONNRESET (also: answer cut short), -ETIMEDOUT,
 *         -ECANCELED, -EMSGSIZE, what sink returned, -EIO for the rest.
 */
int http_call(const struct http_request *r, const struct deadline *d, long *ret_status,
	      struct err *e);

#endif
