// SPDX-License-Identifier: GPL-2.0-or-later
/* guest/call.c - one request to an agent; what the files of guest/ share */
#include "guest/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

enum {
	URL_SIZE = 160,
	HEADER_SIZE = 128,
	STATUS_UNAUTHORIZED = 401,
	STATUS_NOT_FOUND = 404,
	STATUS_NOT_IMPLEMENTED = 501,
};

void guest_said(const char *text, char *ret, size_t size)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++) {
		ret[n] = '?';
		if (*text >= ' ' && *text <= '~')
			ret[n] = *text;
		n++;
	}
	ret[n] = '\0';
}

/* An IPv6 address needs brackets. Numeric addresses and our own paths fit. */
static void make_url(const struct guest *g, const char *path, char ret[URL_SIZE])
{
	bool v6 = strchr(g->addr, ':') != NULL;

	(void)snprintf(ret, URL_SIZE, "http://%s%s%s:%u%s", v6 ? "[" : "", g->addr, v6 ? "]" : "",
		       g->port, path);
}

int guest_send(const struct guest *g, const struct http_request *r, const struct deadline *d,
	       long *ret_status, struct err *e)
{
	const char *headers[GUEST_HEADERS_MAX + 2] = {NULL};
	char url[URL_SIZE], token[HEADER_SIZE];
	struct http_request full = *r;
	size_t n = 0;
	int result;

	for (; r->headers && n < GUEST_HEADERS_MAX && r->headers[n]; n++)
		headers[n] = r->headers[n];
	if (g->token[0]) {
		(void)snprintf(token, sizeof(token), "X-Access-Token: %s", g->token);
		headers[n] = token;
	}
	make_url(g, r->url, url);
	full.url = url;
	full.headers = headers;
	result = http_call(&full, d, ret_status, e);
	if (result == -ECONNREFUSED || result == -EHOSTUNREACH || result == -ECONNRESET)
		return err_set(e, EHOSTDOWN, "the guest agent at %s:%u does not answer", g->addr,
			       g->port);
	return result;
}

int guest_refused(long status, const char *path, const struct buf *answer, struct err *e)
{
	AUTO_JSON o = NULL;
	char said[GUEST_SAID_SIZE] = "";

	if (status == STATUS_UNAUTHORIZED)
		return err_set(e, EIO, "the guest agent refused %s: it obeys another access token",
			       path);
	if (status == STATUS_NOT_FOUND)
		return err_set(e, ENOTSUP, "the guest agent does not know %s", path);
	/* What is no JSON has no words for us. */
	if (json_parse(buf_text(answer), answer->len, &o, NULL) == 0)
		guest_said(json_text_at(o, "message", ""), said, sizeof(said));
	return err_set(e, status == STATUS_NOT_IMPLEMENTED ? ENOTSUP : EIO,
		       "the guest agent answered %s with status %ld%s%s", path, status,
		       said[0] ? ": " : "", said);
}

int guest_ask(const struct guest *g, const struct guest_request *q, const struct deadline *d,
	      struct buf *answer, struct err *e)
{
	static const char *const json[] = {"Content-Type: application/json", NULL};
	struct http_request r = {.method = q->method,
				 .url = q->path,
				 .headers = q->body ? json : NULL,
				 .body = q->body,
				 .body_len = q->body ? strlen(q->body) : 0,
				 .answer = answer,
				 .answer_max = GUEST_ANSWER_MAX};
	long status = 0;
	int result = guest_send(g, &r, d, &status, e);

	if (result)
		return result;
	return status / 100 == 2 ? 0 : guest_refused(status, q->path, answer, e);
}
