/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns-ask.c - asking the upstream: the host's own name servers, one after the other
 *
 * How it works: each try has a socket of its own, connected to the server, so with a source port that nobody can know, and
 * an id as random as that. The kernel lets only that server's packets in; what is in them has to fit the question
 * besides. The servers are asked in turn, all of them twice, and share the time that a question has. One that says that
 * it cannot tell, or that is not there, is not asked again for that question. Questions that came by TCP are asked by TCP.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/deadline.h"
#include "base/random.h"
#include "net/dns-private.h"

enum {
	ROUNDS = 2,
	WRONG_MAX =
		16, /* messages that answer something else before the try is given up: somebody guesses */
};

static int ask_next(struct dns_ask *a);

/* ---- one try ---------------------------------------------------------------------------------------- */

static void try_close(struct dns_ask *a)
{
	dns_watch_close(&a->w);
	dns_frame_done(&a->in);
	dns_frame_done(&a->out);
}

/* The next try, or the end. */
static void ask_on(struct dns_ask *a)
{
	if (ask_next(a) < 0)
		dns_ask_answered(a, NULL, 0);
}

/* The server that is being asked cannot tell. */
static void ask_useless(struct dns_ask *a)
{
	a->useless |= 1u << (a->tries - 1) % a->servers;
	ask_on(a);
}

static bool is_useless(unsigned rcode)
{
	return rcode == DNS_SERVFAIL || rcode == DNS_NOTIMP || rcode == DNS_REFUSED;
}

/* Return: false when it is no answer to this try. */
static bool got(struct dns_ask *a, uint8_t *data, size_t len)
{
	unsigned rcode = 0;
	int rc = dns_answer_check(&a->q, a->id, data, len, &rcode);

	if (rc == -ENOENT)
		return false;
	if (rc < 0 || is_useless(rcode))
		ask_useless(a);
	else
		dns_ask_answered(a, data, len);
	return true;
}

static void ready_udp(struct dns_watch *w, uint32_t events)
{
	struct dns_ask *a = (struct dns_ask *)w;

	(void)events;
	for (int i = 0; i < DNS_TURN; i++) {
		ssize_t len = recv(w->fd, dns.in, sizeof(dns.in), MSG_DONTWAIT);

		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (len < 0) {
			ask_useless(a); /* nobody is there */
			return;
		}
		if (got(a, dns.in, (size_t)len))
			return;
		if (++a->wrong > WRONG_MAX) {
			ask_on(a);
			return;
		}
	}
}

static void ready_tcp(struct dns_watch *w, uint32_t events)
{
	struct dns_ask *a = (struct dns_ask *)w;
	bool writes = a->out.body != NULL;
	int rc = writes ? dns_frame_write(&a->out, w->fd)
			: dns_frame_read(&a->in, w->fd, DNS_MESSAGE_MAX);

	(void)events;
	if (rc < 0) {
		ask_useless(a);
	} else if (rc > 0 && writes) {
		dns_frame_done(&a->out);
		dns_watch_set(w, EPOLLIN);
	} else if (rc > 0) {
		/* It stays the question's while the answer is made of it. */
		memcpy(dns.in, a->in.body, a->in.len);
		if (!got(a, dns.in, a->in.len))
			ask_useless(a);
	}
}

static int try_begin(struct dns_ask *a, const struct dns_server *server)
{
	uint8_t data[DNS_QUESTION_MAX];
	int type = a->conn ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(server->any.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t len;
	int rc;

	if (fd < 0)
		return -errno;
	a->w.ready = a->conn ? ready_tcp : ready_udp;
	rc = dns_watch_add(&a->w, fd, a->conn ? EPOLLOUT : EPOLLIN);
	if (rc == 0)
		rc = random_bytes((unsigned char *)&a->id, sizeof(a->id));
	if (rc < 0)
		return rc;
	if (connect(fd, &server->any, server->len) < 0 && errno != EINPROGRESS)
		return -errno;
	len = dns_question_make(&a->q, a->id, data);
	if (a->conn)
		return dns_frame_set(&a->out, data, len);
	return send(fd, data, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Those that are left to make share the time. */
static int64_t try_end(const struct dns_ask *a, int64_t now)
{
	unsigned left = 1;

	for (unsigned i = a->tries; i < a->servers * ROUNDS; i++)
		left += !(a->useless & 1u << i % a->servers);
	return now + (a->end_ms - now) / left;
}

/* The next try, with a server that may know. Return: 0; -EHOSTDOWN: there is none, or no time left. */
static int ask_next(struct dns_ask *a)
{
	struct dns_server servers[DNS_SERVERS_MAX];
	size_t count = dns_servers(servers);
	int64_t now = clock_ms();

	if (count != a->servers && a->tries > 0)
		return -EHOSTDOWN; /* they have changed meanwhile */
	a->servers = (unsigned)count;
	while (a->tries < count * ROUNDS && now < a->end_ms) {
		unsigned server = a->tries++ % (unsigned)count;

		try_close(a);
		a->wrong = 0;
		if (a->useless & 1u << server)
			continue;
		a->try_end_ms = try_end(a, now);
		if (try_begin(a, &servers[server]) == 0)
			return 0;
		a->useless |= 1u << server;
	}
	return -EHOSTDOWN;
}

/* ---- questions -------------------------------------------------------------------------------------- */

/* The slot with most questions loses its oldest. */
static void make_room(void)
{
	struct dns_ask *a, *oldest = TAILQ_FIRST(&dns.asks);

	for (a = TAILQ_FIRST(&dns.asks); a; a = TAILQ_NEXT(a, by_age))
		if (a->slot->ask_count > oldest->slot->ask_count)
			oldest = a;
	if (oldest)
		dns_ask_answered(oldest, NULL, 0);
}

int dns_ask_begin(struct dns_slot *s, struct dns_conn *c, const struct sockaddr_in *from,
		  const struct dns_question *q)
{
	struct dns_ask *a;

	/* Over UDP no more are read by then. */
	if (s->ask_count >= DNS_SLOT_ASKS)
		return -EBUSY;
	if (dns.ask_count >= DNS_ASKS)
		make_room();
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	*a = (struct dns_ask){.w.fd = -1, .slot = s, .conn = c, .q = *q};
	if (from)
		a->from = *from;
	a->end_ms = clock_ms() + dns.options.ask_ms;
	if (ask_next(a) < 0) {
		try_close(a);
		dns_watch_free(&a->w);
		return -EHOSTDOWN;
	}
	LIST_INSERT_HEAD(&s->asks, a, of_slot);
	TAILQ_INSERT_TAIL(&dns.asks, a, by_age);
	dns.ask_count++;
	s->ask_count++;
	if (c)
		c->ask = a;
	dns_slot_listen(s);
	return 0;
}

void dns_ask_end(struct dns_ask *a)
{
	LIST_REMOVE(a, of_slot);
	TAILQ_REMOVE(&dns.asks, a, by_age);
	dns.ask_count--;
	a->slot->ask_count--;
	if (a->conn)
		a->conn->ask = NULL;
	try_close(a);
	dns_watch_free(&a->w);
	dns_slot_listen(a->slot);
}

void dns_asks_check(int64_t now_ms)
{
	struct dns_ask *a, *next;

	for (a = TAILQ_FIRST(&dns.asks); a; a = next) {
		next = TAILQ_NEXT(a, by_age);
		if (now_ms >= a->end_ms)
			dns_ask_answered(a, NULL, 0);
		else if (now_ms >= a->try_end_ms)
			ask_on(a);
	}
}
