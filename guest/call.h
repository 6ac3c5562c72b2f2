/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest/call.h - one request to an agent; what the files of guest/ share */
#ifndef SBXFS_GUEST_CALL_H
#define SBXFS_GUEST_CALL_H

#include <stddef.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "base/http.h"
#include "guest/guest.h"

enum {
	GUEST_ANSWER_MAX = 64 * 1024, /* bytes of an answer that is no stream */
	GUEST_SAID_SIZE = 256,        /* bytes with the NUL of a guest's text that we pass on */
	GUEST_HEADERS_MAX = 8,        /* of one request, besides the token's */
};

/**
 * guest_send() - Send a request with the guest's token and take what comes
 * @r:    its url is a path only, such as "/health"; at most GUEST_HEADERS_MAX headers
 * Return: 0 with any HTTP status; -EHOSTDOWN when nobody answers or the answer was cut short; else as
 *         http_call().
 */
int guest_send(const struct guest *g, const struct http_request *r, const struct deadline *d,
	       long *ret_status, struct err *e);

/* A request without streams. */
struct guest_request {
	const char *method, *path;
	const char *body; /* JSON; NULL: none */
};

/**
 * guest_ask() - Send a request without streams; any other status than 2xx is an error
 * @answer: the body of the answer is appended; GUEST_ANSWER_MAX at most
 * Return: 0; -ENOTSUP when the agent does not know or have that; -EIO for another refusal, with the agent's words in @e;
 *         else as guest_send().
 */
int guest_ask(const struct guest *g, const struct guest_request *q, const struct deadline *d,
	      struct buf *answer, struct err *e);

/* The failure that an HTTP status means, with the message of the answer's error JSON. */
int guest_refused(long status, const char *path, const struct buf *answer, struct err *e);

/* Copy a text of the guest for the user's eyes: printable ASCII stays, all else becomes '?'; cut to @size. */
void guest_said(const char *text, char *ret, size_t size);

#endif
