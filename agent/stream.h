/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/stream.h - an answer that is a stream of messages */
#ifndef SBXFS_AGENT_STREAM_H
#define SBXFS_AGENT_STREAM_H

#include <stddef.h>

#include "agent/agent.h"
#include "agent/connect.h"

struct evhttp_request;
struct stream;

/* What happens to a stream from outside, told to whom stream_own() named. */
struct stream_owner {
	/* The client has gone. The stream is freed when this returns. */
	void (*closed)(void *arg);
	/* Everything sent so far has been handed to the kernel. */
	void (*drained)(void *arg);
};

/**
 * stream_open() - Begin the answer to a request
 * Owner:  to be ended by stream_end(), unless the client goes first.
 * Return: the stream; NULL without memory, after answering so.
 */
struct stream *stream_open(struct agent *a, struct evhttp_request *req);

void stream_own(struct stream *s, const struct stream_owner *owner, void *arg);

/* Send a message: JSON text of @len bytes. */
void stream_send(struct stream *s, const char *json, size_t len);

/* Bytes that wait for the client to take them. */
size_t stream_queued(const struct stream *s);

/* End the stream, well or with an error, and free it; the owner is told nothing more. */
void stream_end(struct stream *s);
void stream_fail(struct stream *s, enum connect_code code, const char *text);

#endif
