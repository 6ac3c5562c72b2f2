// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/connect.c - the Connect protocol with JSON: unary calls, and the framing of streams
 *
 * Not handled: the binary codec and compression; both are refused in the protocol's own terms, so a client
 * that knows JSON falls back on it.
 */
#include "agent/connect.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/http.h"
#include "base/cleanup.h"
#include "base/json.h"

static const char unary_type[] = "application/json";
static const char stream_type[] = "application/connect+json";

struct code_row {
	const char *name;
	int status; /* HTTP's, of a unary answer */
};

/* clang-format off */
static const struct code_row codes[] = {
	[CONNECT_CANCELED]           = { "canceled",           499 },
	[CONNECT_UNKNOWN]            = { "unknown",            500 },
	[CONNECT_INVALID_ARGUMENT]   = { "invalid_argument",   400 },
	[CONNECT_DEADLINE_EXCEEDED]  = { "deadline_exceeded",  504 },
	[CONNECT_NOT_FOUND]          = { "not_found",          404 },
	[CONNECT_PERMISSION_DENIED]  = { "permission_denied",  403 },
	[CONNECT_RESOURCE_EXHAUSTED] = { "resource_exhausted", 429 },
	[CONNECT_UNIMPLEMENTED]      = { "unimplemented",      501 },
	[CONNECT_INTERNAL]           = { "internal",           500 },
	[CONNECT_UNAUTHENTICATED]    = { "unauthenticated",    401 },
};
/* clang-format on */
static_assert(sizeof(codes) / sizeof(codes[0]) == CONNECT_COUNT, "a row for each code");

/* Compare a content type up to its parameters. */
static bool has_type(struct evhttp_request *req, const char *want)
{
	const char *given = http_header(req, "Content-Type");
	size_t len = strlen(want);

	if (given && strncasecmp(given, want, len) == 0 && strchr(" ;", given[len]))
		return true;
	(void)evhttp_add_header(evhttp_request_get_output_headers(req), "Accept-Post", want);
	http_error(req, 415, "this call takes %s only", want);
	return false;
}

bool connect_is_unary(struct evhttp_request *req)
{
	return has_type(req, unary_type);
}

bool connect_is_stream(struct evhttp_request *req)
{
	return has_type(req, stream_type);
}

static size_t head_length(const unsigned char head[CONNECT_HEAD_SIZE])
{
	return (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
}

void connect_head(unsigned char head[CONNECT_HEAD_SIZE], unsigned flags, size_t len)
{
	head[0] = (unsigned char)flags;
	for (int i = 1; i < CONNECT_HEAD_SIZE; i++)
		head[i] = (unsigned char)(len >> (8 * (CONNECT_HEAD_SIZE - 1 - i)) & 0xff);
}

int connect_stream_body(struct evhttp_request *req, struct json_object **ret, struct err *e)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	const unsigned char *at = len ? evbuffer_pullup(in, -1) : NULL;

	if (!at || len < CONNECT_HEAD_SIZE)
		return err_set(e, EBADMSG, "the body is shorter than an envelope's head");
	if (at[0] & CONNECT_FLAG_COMPRESSED)
		return err_set(e, ENOTSUP, "compressed messages are not understood");
	if (at[0])
		return err_set(e, EBADMSG, "the envelope's flags are %u, not 0", at[0]);
	if (head_length(at) != len - CONNECT_HEAD_SIZE)
		return err_set(e, EBADMSG, "the envelope says %zu bytes and %zu follow",
			       head_length(at), len - CONNECT_HEAD_SIZE);
	return json_parse((const char *)at + CONNECT_HEAD_SIZE, len - CONNECT_HEAD_SIZE, ret, e);
}

/* Content-Type and body of a unary answer. */
static void answer_text(struct evhttp_request *req, int status, const char *text)
{
	(void)evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", unary_type);
	(void)evbuffer_add(evhttp_request_get_output_buffer(req), text, strlen(text));
	evhttp_send_reply(req, status, NULL, NULL);
}

void connect_answer(struct evhttp_request *req, struct json_object *message)
{
	AUTO_JSON owned = message;
	const char *text =
		owned ? json_object_to_json_string_ext(owned, JSON_C_TO_STRING_PLAIN) : NULL;

	if (text)
		answer_text(req, HTTP_OK, text);
	else
		connect_error(req, CONNECT_RESOURCE_EXHAUSTED, "the agent is out of memory");
}

void connect_error_json(struct buf *b, enum connect_code code, const char *text)
{
	buf_addf(b, "{\"code\":\"%s\",\"message\":", codes[code].name);
	buf_add_json(b, text);
	buf_addc(b, '}');
}

void connect_error(struct evhttp_request *req, enum connect_code code, const char *text)
{
	AUTO_BUF b = BUF_INIT;

	connect_error_json(&b, code, text);
	answer_text(req, codes[code].status, buf_text(&b));
}

long connect_timeout_ms(struct evhttp_request *req)
{
	const char *text = http_header(req, "Connect-Timeout-Ms");
	char *end = NULL;
	long ms;

	if (!text || *text < '0' || *text > '9')
		return 0;
	ms = strtol(text, &end,
		    10); /* the greatest number for one that is too great: as good as never */
	return *end ? 0 : ms;
}
