/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns-tcp.c - TCP connections of guests to their resolver, and messages in such connections
 *
 * How it works: a connection reads one question, waits for its answer, writes it, and only then reads the next, so that it holds one
 * message at most. It is closed when it has done nothing for a while, whichever of the three it is at.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "net/dns-private.h"

/* ---- messages --------------------------------------------------------------------------------------- */

enum {
	HEAD_BYTES = 2,
};

int dns_frame_read(struct dns_frame *f, int fd, size_t max)
{
	for (;;) {
		uint8_t *to = f->body ? f->body + f->at - HEAD_BYTES : f->head + f->at;
		size_t end = f->body ? f->len + HEAD_BYTES : HEAD_BYTES;
		ssize_t got = recv(fd, to, end - f->at, MSG_DONTWAIT);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (got <= 0)
			return -1;
		f->at += (size_t)got;
		if (f->at < end)
			continue;
		if (f->body)
			return 1;
		f->len = (size_t)f->head[0] << 8 | f->head[1];
		if (f->len < DNS_HEADER_BYTES || f->len > max)
			return -1;
		f->body = malloc(f->len);
		if (!f->body)
			return -1;
	}
}

int dns_frame_set(struct dns_frame *f, const uint8_t *data, size_t len)
{
	dns_frame_done(f);
	f->body = malloc(len);
	if (!f->body)
		return -ENOMEM;
	memcpy(f->body, data, len);
	f->len = len;
	f->head[0] = (uint8_t)(len >> 8);
	f->head[1] = (uint8_t)len;
	return 0;
}

int dns_frame_write(struct dns_frame *f, int fd)
{
	while (f->at < f->len + HEAD_BYTES) {
		bool is_head = f->at < HEAD_BYTES;
		const uint8_t *from = is_head ? f->head + f->at : f->body + f->at - HEAD_BYTES;
		size_t end = is_head ? HEAD_BYTES : f->len + HEAD_BYTES;
		ssize_t sent = send(fd, from, end - f->at,
				    MSG_DONTWAIT | MSG_NOSIGNAL | (is_head ? MSG_MORE : 0));

		if (sent < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		f->at += (size_t)sent;
	}
	return 1;
}

void dns_frame_done(struct dns_frame *f)
{
	free(f->body);
	*f = (struct dns_frame){.body = NULL};
}

/* ---- connections ------------------------------------------------------------------------------------ */

void dns_conn_close(struct dns_conn *c)
{
	if (c->ask)
		dns_ask_end(c->ask);
	LIST_REMOVE(c, of_slot);
	TAILQ_REMOVE(&dns.conns, c, by_age);
	dns.conn_count--;
	c->slot->conn_count--;
	dns_frame_done(&c->in);
	dns_frame_done(&c->out);
	dns_watch_free(&c->w);
	dns_slot_listen(c->slot);
}

/* It has done something. */
static void touch(struct dns_conn *c)
{
	c->end_ms = clock_ms() + dns.options.idle_ms;
	TAILQ_REMOVE(&dns.conns, c, by_age);
	TAILQ_INSERT_TAIL(&dns.conns, c, by_age);
}

static void conn_write(struct dns_conn *c)
{
	int rc = dns_frame_write(&c->out, c->w.fd);

	if (rc < 0) {
		dns_conn_close(c);
	} else if (rc == 0) {
		dns_watch_set(&c->w, EPOLLOUT);
	} else {
		dns_frame_done(&c->out);
		c->is_writing = false;
		touch(c);
		dns_watch_set(&c->w, EPOLLIN);
	}
}

static void conn_read(struct dns_conn *c)
{
	int rc = dns_frame_read(&c->in, c->w.fd, DNS_TCP_QUESTION_MAX);
	struct dns_frame in = c->in;

	if (rc < 0)
		dns_conn_close(c);
	if (rc <= 0)
		return;
	/* Nothing more is read before the answer, but its end is noticed. */
	dns_watch_set(&c->w, 0);
	touch(c);
	c->in = (struct dns_frame){.body = NULL};
	dns_question_take(c->slot, c, NULL, in.body, in.len);
	dns_frame_done(&in);
}

static void conn_ready(struct dns_watch *w, uint32_t events)
{
	struct dns_conn *c = (struct dns_conn *)w;

	if (events & (EPOLLERR | EPOLLHUP))
		dns_conn_close(c);
	else if (c->is_writing)
		conn_write(c);
	else if (!c->ask)
		conn_read(c);
}

void dns_conn_answer(struct dns_conn *c, const uint8_t *data, size_t len)
{
	if (dns_frame_set(&c->out, data, len) < 0) {
		dns_conn_close(c);
		return;
	}
	c->is_writing = true;
	conn_write(c);
}

/* The slot with most connections loses its idlest. */
static void make_room(void)
{
	struct dns_conn *c, *idlest = TAILQ_FIRST(&dns.conns);

	for (c = TAILQ_FIRST(&dns.conns); c; c = TAILQ_NEXT(c, by_age))
		if (c->slot->conn_count > idlest->slot->conn_count)
			idlest = c;
	if (idlest)
		dns_conn_close(idlest);
}

/* What cannot be had would be asked for again and again. */
static bool give_up(struct dns_slot *s)
{
	dns_watch_set(&s->tcp, 0);
	dns.is_short = true;
	return false;
}

bool dns_conn_accept(struct dns_slot *s)
{
	int fd = accept4(s->tcp.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct dns_conn *c;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
		return give_up(s);
	if (fd < 0)
		return false;
	if (dns.conn_count >= DNS_CONNS)
		make_room();
	c = calloc(1, sizeof(*c));
	if (!c) {
		fd_close(fd);
		return false;
	}
	*c = (struct dns_conn){.w = {.fd = -1, .ready = conn_ready}, .slot = s};
	if (dns_watch_add(&c->w, fd, EPOLLIN) < 0) {
		dns_watch_free(&c->w);
		return false;
	}
	c->end_ms = clock_ms() + dns.options.idle_ms;
	LIST_INSERT_HEAD(&s->conns, c, of_slot);
	TAILQ_INSERT_TAIL(&dns.conns, c, by_age);
	dns.conn_count++;
	s->conn_count++;
	dns_slot_listen(s);
	return true;
}

void dns_conns_check(int64_t now_ms)
{
	struct dns_conn *c;

	/* One that waits for an answer gets it, or the news that there is none, in time. */
	while ((c = TAILQ_FIRST(&dns.conns)) && now_ms >= c->end_ms)
		dns_conn_close(c);
}
