/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/connect.h - the Connect protocol with JSON: unary calls, and the framing of streams */
#ifndef SBXFS_AGENT_CONNECT_H
#define SBXFS_AGENT_CONNECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct evhttp_request;
struct json_object;

/* Why a call failed; names and HTTP statuses as the protocol has them. */
enum connect_code {
	CONNECT_CANCELED,
	CONNECT_UNKNOWN,
	CONNECT_INVALID_ARGUMENT,
	CONNECT_DEADLINE_EXCEEDED,
	CONNECT_NOT_FOUND,
	CONNECT_PERMISSION_DENIED,
	CONNECT_RESOURCE_EXHAUSTED,
	CONNECT_UNIMPLEMENTED,
	CONNECT_INTERNAL,
	CONNECT_UNAUTHENTICATED,
	CONNECT_COUNT
};

enum {
	CONNECT_HEAD_SIZE =
		5, /* of an envelope: flags, then the length, most significant byte first */
	CONNECT_FLAG_COMPRESSED = 1,
	CONNECT_FLAG_END = 2,
};

/* Is the request of this content type? If not it has been answered with 415. */
bool connect_is_unary(struct evhttp_request *req);
bool connect_is_stream(struct evhttp_request *req);

/**
 * connect_stream_body() - The one message of a call whose answer is a stream
 * Return: 0 and a new reference in @ret; -EBADMSG, -ENOTSUP (compressed) with the reason in @e.
 */
int connect_stream_body(struct evhttp_request *req, struct json_object **ret, struct err *e);

/* Answer a unary call. The message's reference is taken; NULL means that there was no memory for it. */
void connect_answer(struct evhttp_request *req, struct json_object *message);
void connect_error(struct evhttp_request *req, enum connect_code code, const char *text);

/* Append {"code":NAME,"message":TEXT}. */
void connect_error_json(struct buf *b, enum connect_code code, const char *text);

/* Write an envelope's head for @len bytes of payload. */
void connect_head(unsigned char head[CONNECT_HEAD_SIZE], unsigned flags, size_t len);

/* The Connect-Timeout-Ms of a request in milliseconds; 0 when there is none. */
long connect_timeout_ms(struct evhttp_request *req);

#endif
