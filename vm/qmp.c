/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qmp.c - a client of QEMU's machine protocol
 *
 * How it works: bytes are collected in one buffer that never exceeds QMP_LINE_MAX and are taken out line by
 * line. A line is a reply (it has the id of a command), an event, or the greeting. The first thing that is not
 * one JSON object closes the connection for good (the descriptor becomes -1): after lost synchrony nothing
 * that follows could be believed. A deadline that passes does not: the late reply is recognised by its id.
 * Every wait watches the pidfd too, because a forked child of QEMU could hold the socket open.
 * One thread at a time; the caller has the lock.
 */
#include "vm/qmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum {
	ROOM_FIRST = 4096,            /* bytes; most messages are shorter */
	DRAIN_MAX = 2 * QMP_LINE_MAX, /* bytes read by one qmp_drain() */
	DESC_MAX = 400,               /* bytes of QEMU's own words in an error */
};

void qmp_init(struct qmp *q, int fd, int pidfd)
{
	memset(q, 0, sizeof(*q));
	q->fd = fd;
	q->pidfd = pidfd;
	q->pass = -1;
}

void qmp_done(struct qmp *q)
{
	fd_close(steal_fd(&q->fd));
	free(q->data);
	q->data = NULL;
	q->start = q->end = q->room = q->scanned = 0;
}

/* Nothing more can come of this connection. */
static int qmp_break(struct qmp *q, struct err *e, const char *why)
{
	qmp_done(q);
	return err_set(e, EIO, "%s", why);
}

/* Space behind the bytes that are there. Return: 0; -EMSGSIZE when a line would be too long; -ENOMEM. */
static int make_room(struct qmp *q)
{
	size_t room = q->room ? q->room * 2 : ROOM_FIRST;
	char *data;

	if (q->start > 0) {
		memmove(q->data, q->data + q->start, q->end - q->start);
		q->end -= q->start;
		q->start = 0;
	}
	if (q->end < q->room)
		return 0;
	if (room > QMP_LINE_MAX)
		return -EMSGSIZE;
	data = realloc(q->data, room);
	if (!data)
		return -ENOMEM;
	q->data = data;
	q->room = room;
	return 0;
}

/* Read what is there. Return: number of bytes; 0 when nothing waits; -EIO, and the connection is closed. */
static ssize_t receive(struct qmp *q, struct err *e)
{
	int r = make_room(q);
	ssize_t n;

	if (r == -EMSGSIZE)
		return qmp_break(q, e,
				 "QEMU sent a message of more than 1 MiB; it is not to be trusted");
	if (r < 0)
		return err_set(e, ENOMEM, "no memory for QEMU's answer");
	do
		n = recv(q->fd, q->data + q->end, q->room - q->end, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return qmp_break(q, e, "QEMU closed its control connection");
	q->end += (size_t)n;
	return n;
}

/* Take one line out. Return: its text, not terminated, valid until the next receive(); NULL: not yet whole. */
static const char *next_line(struct qmp *q, size_t *ret_len)
{
	const char *line = q->data + q->start;
	const char *end;

	if (q->end - q->start <= q->scanned)
		return NULL;
	end = memchr(line + q->scanned, '\n', q->end - q->start - q->scanned);
	if (!end) {
		q->scanned = q->end - q->start;
		return NULL;
	}
	*ret_len = (size_t)(end - line);
	q->start += *ret_len + 1;
	q->scanned = 0;
	return line;
}

/**
 * next_message() - Take one message out of what was received
 * @ret: the message, a new reference; NULL: none is whole yet
 * Return: 0; -EIO, and the connection is closed.
 */
static int next_message(struct qmp *q, struct json_object **ret, struct err *e)
{
	AUTO_JSON message = NULL;
	const char *line;
	size_t len = 0;

	*ret = NULL;
	do {
		line = next_line(q, &len);
		if (!line)
			return 0;
	} while (len == 0 || (len == 1 && *line == '\r'));
	if (json_parse(line, len, &message, NULL) < 0 ||
	    !json_object_is_type(message, json_type_object))
		return qmp_break(q, e, "QEMU sent something that is not a JSON object");
	*ret = steal_ptr(&message);
	return 0;
}

/* Hand an event on. Return: whether it was one. */
static bool take_event(struct qmp *q, struct json_object *message)
{
	const char *name = json_text_at(message, "event", NULL);

	if (name && q->event)
		q->event(q->arg, name, message);
	return name != NULL;
}

/* Wait until the socket is ready for @events. Return: 0; -ETIMEDOUT, -ECANCELED, -EIO. */
static int wait_ready(struct qmp *q, short events, const struct deadline *d, struct err *e)
{
	struct pollfd p[] = {
		{.fd = q->fd, .events = events},
		{.fd = q->pidfd, .events = POLLIN},
	};
	int r = deadline_left_ms(d) == 0 ? -ETIMEDOUT : deadline_poll(d, p, 2);

	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "QEMU did not answer in time");
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "cancelled while waiting for QEMU");
	if (r < 0)
		return err_sys(e, -r, "cannot wait for QEMU");
	if (!p[0].revents) /* what it said last is read first */
		return qmp_break(q, e, "QEMU has ended");
	return 0;
}

/* Receive until a message that is not an event. Return: 0 and @ret; negative errno. */
static int receive_message(struct qmp *q, const struct deadline *d, struct json_object **ret,
			   struct err *e)
{
	for (;;) {
		AUTO_JSON message = NULL;
		int r = next_message(q, &message, e);

		if (r < 0)
			return r;
		if (message && !take_event(q, message)) {
			*ret = steal_ptr(&message);
			return 0;
		}
		if (message)
			continue;
		r = wait_ready(q, POLLIN, d, e);
		if (r == 0)
			r = (int)receive(q, e);
		if (r < 0)
			return r;
	}
}

/* send() of what is there room for, and of @pass with its first byte; -1: none. */
static ssize_t send_some(int fd, const char *text, size_t len, int pass)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.room = {0}};
	union {
		const char *given;
		void *taken; /* sendmsg() does not write to it */
	} data = {.given = text};
	struct iovec part = {.iov_base = data.taken, .iov_len = len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (pass >= 0) {
		struct cmsghdr *c;

		message.msg_control = &control;
		message.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass, sizeof(pass));
	}
	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Return: 0; negative errno. A command that went out by half breaks the connection. */
static int send_all(struct qmp *q, const char *text, size_t len, const struct deadline *d,
		    struct err *e)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = send_some(q->fd, text + done, len - done, done == 0 ? q->pass : -1);
		int r = 0;

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			r = wait_ready(q, POLLOUT, d, e);
		else if (errno != EINTR)
			r = qmp_break(q, e, "QEMU closed its control connection");
		if (r < 0 && done > 0)
			qmp_done(q);
		if (r < 0)
			return r;
	}
	return 0;
}

static int send_command(struct qmp *q, const char *command, struct json_object *args,
			const struct deadline *d, struct err *e)
{
	AUTO_JSON owned = args;
	AUTO_JSON message = json_object_new_object();
	AUTO_BUF text = BUF_INIT;

	if (!message || json_add_text(message, "execute", command) < 0 ||
	    json_add_int(message, "id", ++q->last_id) < 0)
		return err_set(e, ENOMEM, "no memory for a command to QEMU");
	if (owned && json_object_object_add(message, "arguments", json_object_get(owned)) < 0) {
		json_object_put(owned);
		return err_set(e, ENOMEM, "no memory for a command to QEMU");
	}
	buf_adds(&text, json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN));
	buf_addc(&text, '\n');
	if (buf_error(&text) < 0)
		return err_set(e, ENOMEM, "no memory for a command to QEMU");
	return send_all(q, buf_text(&text), text.len, d, e);
}

int qmp_greet(struct qmp *q, const struct deadline *d, struct err *e)
{
	AUTO_JSON greeting = NULL;
	int r;

	if (q->fd < 0)
		return err_set(e, EIO, "there is no connection to QEMU");
	r = receive_message(q, d, &greeting, e);
	if (r < 0)
		return r;
	if (!json_at(greeting, "QMP/version"))
		return qmp_break(q, e, "QEMU's first message is not its greeting");
	return qmp_call(q, "qmp_capabilities", NULL, d, NULL, e);
}

int qmp_call(struct qmp *q, const char *command, struct json_object *args, const struct deadline *d,
	     struct json_object **ret, struct err *e)
{
	int r;

	if (q->fd < 0) {
		json_object_put(args);
		return err_set(e, EIO, "there is no connection to QEMU any more");
	}
	r = send_command(q, command, args, d, e);
	while (r == 0) {
		AUTO_JSON reply = NULL;

		r = receive_message(q, d, &reply, e);
		if (r < 0 || json_int_at(reply, "id", -1) != q->last_id)
			continue;
		if (json_at(reply, "error"))
			return err_set(e, EIO, "QEMU refused %s: %.*s", command, DESC_MAX,
				       json_text_at(reply, "error/desc", "no reason given"));
		if (ret)
			*ret = steal_ptr(&reply);
		return 0;
	}
	return r;
}

int qmp_give_fd(struct qmp *q, const char *name, int fd, const struct deadline *d, struct err *e)
{
	struct json_object *args = json_object_new_object();
	int r;

	if (!args || json_add_text(args, "fdname", name) < 0) {
		json_object_put(args);
		return err_set(e, ENOMEM, "no memory for a command to QEMU");
	}
	q->pass = fd;
	r = qmp_call(q, "getfd", args, d, NULL, e);
	q->pass = -1;
	return r;
}

int qmp_await(struct qmp *q, const struct deadline *d, struct err *e)
{
	if (q->fd < 0)
		return err_set(e, EIO, "there is no connection to QEMU any more");
	for (;;) {
		AUTO_JSON message = NULL;
		int r = next_message(q, &message, e);

		if (r < 0)
			return r;
		if (message && take_event(q, message))
			return 0;
		if (message)
			continue; /* an answer that came too late */
		r = wait_ready(q, POLLIN, d, e);
		if (r == 0)
			r = (int)receive(q, e);
		if (r < 0)
			return r;
	}
}

void qmp_drain(struct qmp *q)
{
	size_t total = 0;
	ssize_t n = 0;

	while (q->fd >= 0 && n >= 0) {
		AUTO_JSON message = NULL;

		if (next_message(q, &message, NULL) < 0)
			return;
		if (message) {
			(void)take_event(q, message); /* a late reply is of no interest */
			continue;
		}
		n = total < DRAIN_MAX ? receive(q, NULL) : 0;
		if (n == 0)
			return;
		total += n > 0 ? (size_t)n : 0;
	}
}
