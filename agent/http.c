// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/http.c - requests to handlers: routing, the access token, plain answers
 *
 * How it works: one row a route. Before a token has been set nobody is known, so only the routes marked
 * ROUTE_OPEN answer; afterwards all others want it in X-Access-Token. POST /init judges tokens by itself.
 */
#include "agent/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/connection.h"
#include "agent/freeze.h"
#include "agent/init.h"
#include "agent/metrics.h"
#include "agent/prepare.h"
#include "agent/rpc.h"
#include "agent/system.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"

enum route_flag {
	ROUTE_OPEN = 1, /* answers without a token */
};

struct route {
	enum evhttp_cmd_type method;
	const char *path;
	unsigned flags;
	void (*run)(struct agent *a, struct evhttp_request *req);
};

/* clang-format off */
static const struct route routes[] = {
	{ EVHTTP_REQ_GET,  "/health",                    ROUTE_OPEN, metrics_health },
	{ EVHTTP_REQ_GET,  "/metrics",                   0,          metrics_get },
	{ EVHTTP_REQ_POST, "/init",                      ROUTE_OPEN, init_post },
	{ EVHTTP_REQ_POST, "/sync",                      0,          system_sync },
	{ EVHTTP_REQ_POST, "/fsfreeze",                  0,          freeze_post },
	{ EVHTTP_REQ_POST, "/fsthaw",                    0,          freeze_thaw_post },
	{ EVHTTP_REQ_POST, "/snapshot/prepare",          0,          prepare_post },
	{ EVHTTP_REQ_POST, "/shutdown",                  0,          system_shutdown },
	{ EVHTTP_REQ_POST, "/process.Process/List",       0,          rpc_list },
	{ EVHTTP_REQ_POST, "/process.Process/SendSignal", 0,          rpc_send_signal },
	{ EVHTTP_REQ_POST, "/process.Process/Start",      0,          rpc_start },
};
/* clang-format on */

enum {
	ROUTE_COUNT = sizeof(routes) / sizeof(routes[0]),
};

const char *http_header(struct evhttp_request *req, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(req), name);
}

void http_empty(struct evhttp_request *req, int status)
{
	evhttp_send_reply(req, status, NULL, NULL);
}

/* Send @text as the JSON body; a failure to do so leaves the client without an answer body, no more. */
static void send_json(struct evhttp_request *req, int status, const char *text)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);

	(void)evhttp_add_header(headers, "Content-Type", "application/json; charset=utf-8");
	(void)evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	(void)evbuffer_add(evhttp_request_get_output_buffer(req), text, strlen(text));
	evhttp_send_reply(req, status, NULL, NULL);
}

void http_json(struct evhttp_request *req, int status, struct json_object *o)
{
	AUTO_JSON owned = o;
	const char *text =
		owned ? json_object_to_json_string_ext(owned, JSON_C_TO_STRING_PLAIN) : NULL;

	if (text)
		send_json(req, status, text);
	else
		http_error(req, HTTP_INTERNAL, "the agent is out of memory");
}

void http_error(struct evhttp_request *req, int status, const char *fmt, ...)
{
	char message[512];
	AUTO_BUF b = BUF_INIT;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args); /* cut text is good enough */
	va_end(args);
	buf_addf(&b, "{\"code\":%d,\"message\":", status);
	buf_add_json(&b, message);
	buf_addc(&b, '}');
	send_json(req, status, buf_text(&b));
}

int http_body(struct evhttp_request *req, struct json_object **ret, struct err *e)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	const char *text = len ? (const char *)evbuffer_pullup(in, -1) : "{}";

	if (!text)
		return err_set(e, ENOMEM, "the agent is out of memory");
	return json_parse(text, len ? len : strlen(text), ret, e);
}

bool http_token_is(const struct agent *a, const char *given)
{
	size_t len = a->token ? strlen(a->token) : 0;
	volatile unsigned char differs = 0;

	if (!len || !given || strlen(given) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		differs = (unsigned char)(differs | (a->token[i] ^ given[i]));
	return differs == 0;
}

/* The route of a request; NULL after answering that there is none. */
static const struct route *find_route(struct evhttp_request *req)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	bool path_known = false;

	for (size_t i = 0; path && i < ROUTE_COUNT; i++) {
		if (strcmp(routes[i].path, path) != 0)
			continue;
		if (routes[i].method == evhttp_request_get_command(req))
			return &routes[i];
		path_known = true;
	}
	if (path_known)
		http_error(req, HTTP_BADMETHOD, "this path is not for that method");
	else
		http_error(req, HTTP_NOTFOUND, "there is no such path");
	return NULL;
}

static bool is_open(const char *path)
{
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		if (routes[i].flags & ROUTE_OPEN && strcmp(routes[i].path, path) == 0)
			return true;
	return false;
}

void http_dispatch(struct evhttp_request *req, void *arg)
{
	struct agent *a = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	const struct route *route;

	connection_begin(req);
	/* The token comes before the routes, so that a stranger does not learn which there are. */
	if (!(path && is_open(path)) && !http_token_is(a, http_header(req, "X-Access-Token"))) {
		http_error(req, 401, "%s",
			   a->token ? "the access token is missing or wrong"
				    : "no access token has been set yet: POST /init comes first");
		return;
	}
	route = find_route(req);
	if (route)
		route->run(a, req);
}
