/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/http.h - requests to handlers: routing, the access token, plain answers */
#ifndef SBXFS_AGENT_HTTP_H
#define SBXFS_AGENT_HTTP_H

#include <event2/http.h>
#include <stdbool.h>

#include "agent/agent.h"
#include "base/err.h"

struct json_object;

/* What evhttp calls for every request. @arg: the struct agent. */
void http_dispatch(struct evhttp_request *req, void *arg);

/* Answer with a status and nothing else. */
void http_empty(struct evhttp_request *req, int status);

/* Answer with a status and a JSON text. Takes the caller's reference; NULL (no memory) becomes an error. */
void http_json(struct evhttp_request *req, int status, struct json_object *o);

/* Answer with {"code":STATUS,"message":"..."}. */
void http_error(struct evhttp_request *req, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A request's header, NULL when there is none. Borrowed. */
const char *http_header(struct evhttp_request *req, const char *name);

/**
 * http_body() - Parse the body of a request as JSON
 * Return: 0 and a new reference in @ret, an empty object for an empty body; -EBADMSG with the reason in @e.
 */
int http_body(struct evhttp_request *req, struct json_object **ret, struct err *e);

/* Is @given the token that is set? The time that it takes tells nothing of the token but its length. */
bool http_token_is(const struct agent *a, const char *given);

#endif
