/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns-private.h - what the files of the guests' resolver share: slots, questions that wait for the upstream, connections
 *
 * Everything here is guarded by one lock, which the thread holds but while it waits for events and while it has addresses let through. So
 * others may take a slot away at any time: what they close is marked `gone`, and its memory is freed by the thread, when it
 * has no event left that could be about it.
 */
#ifndef SBXFS_NET_DNS_PRIVATE_H
#define SBXFS_NET_DNS_PRIVATE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/err.h"
#include "net/dns-message.h"
#include "net/egress.h"

enum {
	DNS_SERVERS_MAX = 3, /* of a resolv.conf; as many as glibc takes */
	DNS_SLOT_ASKS =
		64, /* questions of one slot that wait for the upstream; the next are not read before one is answered */
	DNS_ASKS = 1024,    /* and of all */
	DNS_SLOT_CONNS = 8, /* TCP connections of one slot; the next wait in the kernel */
	DNS_CONNS = 256,    /* and of all */
	DNS_TURN = 16, /* questions, or connections, of one slot before others have their turn */
	DNS_TCP_QUESTION_MAX = 4096, /* bytes */
	DNS_LET_MAX =
		24, /* addresses of one answer that are let through, which fit in any; others are left out of it */
	DNS_GRACE_SEC =
		40, /* what was let through stays so beyond its time to live, 30 at least: programs keep addresses for as long */
	DNS_WARN_MS = 60000, /* between two warnings about one slot */
};

/* A descriptor in the epoll set; the first member of what it belongs to. */
struct dns_watch {
	int fd; /* -1: closed */
	bool gone;
	uint32_t events; /* that are waited for */
	void (*ready)(struct dns_watch *w, uint32_t events);
	SLIST_ENTRY(dns_watch) dead;
};

/* A message over TCP, behind its length, as far as it has come or gone. */
struct dns_frame {
	uint8_t head[2];
	uint8_t *body;  /* owned; NULL: its length is not known yet */
	size_t at, len; /* bytes that are done, with the head; of the body */
};

struct dns_slot {
	struct dns_watch udp;
	struct dns_watch tcp; /* listens */
	uint32_t serial;
	unsigned life;       /* another after dns_reset() */
	bool waits;          /* for its rules to be known */
	int64_t warned_ms;   /* when it was last warned of; 0: never */
	struct egress rules; /* its rules are owned */
	unsigned ask_count, conn_count;
	LIST_HEAD(dns_slot_asks, dns_ask) asks;
	LIST_HEAD(dns_slot_conns, dns_conn) conns;
	LIST_ENTRY(dns_slot) same_hash;
};

/* A TCP connection of a guest: it reads a question, waits for the answer, writes it, and so on. */
struct dns_conn {
	struct dns_watch w;
	struct dns_slot *slot;
	struct dns_ask *ask; /* that it waits for; NULL: none */
	struct dns_frame in, out;
	bool is_writing;
	int64_t end_ms; /* when it is closed */
	LIST_ENTRY(dns_conn) of_slot;
	TAILQ_ENTRY(dns_conn) by_age; /* the one that did something last is the last */
};

/* A question that waits for the upstream. */
struct dns_ask {
	struct dns_watch w; /* to the server that is being asked */
	struct dns_slot *slot;
	struct dns_conn *conn;   /* NULL: asked by UDP ... */
	struct sockaddr_in from; /* ... from here */
	struct dns_question q;
	uint16_t id;              /* of this try */
	unsigned servers;         /* that there were as it was asked */
	unsigned tries;           /* begun so far */
	unsigned useless;         /* servers, a bit each, that have said that they cannot tell */
	unsigned wrong;           /* messages that were no answer to this try */
	struct dns_frame out, in; /* by TCP */
	int64_t try_end_ms, end_ms;
	LIST_ENTRY(dns_ask) of_slot;
	TAILQ_ENTRY(dns_ask) by_age;
};

struct dns_server {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

/* What a test has otherwise than the daemon. */
struct dns_options {
	const char *resolv_conf; /* path; borrowed for good */
	uint16_t port;           /* of the servers in it */
	int ask_ms;              /* for an answer in all */
	int idle_ms;             /* before a connection that does nothing is closed */
	int (*let)(uint32_t serial, const char *name, const uint32_t *addrs, size_t count,
		   uint32_t ttl_sec, struct err *e);
};

struct dns {
	struct dns_options options;
	TAILQ_HEAD(dns_all_asks, dns_ask) asks;    /* the oldest first */
	TAILQ_HEAD(dns_all_conns, dns_conn) conns; /* the idlest first */
	unsigned ask_count, conn_count;
	bool is_short; /* of descriptors or memory: slots wait for the next check to accept connections */
	uint8_t in[DNS_MESSAGE_MAX]; /* of the thread */
	uint8_t out[DNS_MESSAGE_MAX];
};

extern struct dns dns;

/* dns.c */
int dns_start(const struct dns_options *o, struct err *e); /* dns_init() with other options */
int dns_watch_add(struct dns_watch *w, int fd,
		  uint32_t events); /* takes the descriptor, also on failure */
void dns_watch_set(struct dns_watch *w, uint32_t events);
void dns_watch_close(struct dns_watch *w);
void dns_watch_free(
	struct dns_watch
		*w); /* close it, and have the thread free what it is the first member of */
bool dns_let(struct dns_slot *s, const char *name, const uint32_t *addrs, size_t count,
	     uint32_t ttl_sec); /* without the lock meanwhile */

/* dns-server.c: of the file, as it is now. Return: how many. */
size_t dns_servers(struct dns_server ret[DNS_SERVERS_MAX]);
void dns_servers_forget(void);
size_t dns_servers_parse(const char *text, uint16_t port, struct dns_server ret[DNS_SERVERS_MAX]);

/* dns-slot.c: what a guest has asked, and the answer to it. */
void dns_slot_udp(struct dns_watch *w, uint32_t events);
void dns_slot_tcp(struct dns_watch *w, uint32_t events);
void dns_slot_listen(
	struct dns_slot *s); /* for questions and connections, as far as it may have more */
void dns_slot_clear(struct dns_slot *s); /* of questions and connections */
void dns_question_take(struct dns_slot *s, struct dns_conn *c, const struct sockaddr_in *from,
		       const uint8_t *data, size_t len);
/* The upstream's answer; NULL: there is none. Ends the question. */
void dns_ask_answered(struct dns_ask *a, uint8_t *data, size_t len);

/* dns-ask.c: asking the upstream */
int dns_ask_begin(struct dns_slot *s, struct dns_conn *c, const struct sockaddr_in *from,
		  const struct dns_question *q);
void dns_ask_end(struct dns_ask *a); /* out of all lists, closed; freed by the thread */
void dns_asks_check(int64_t now_ms);

/* dns-tcp.c: connections of guests, and messages in them */
bool dns_conn_accept(struct dns_slot *s); /* false: there is none, or no room in this process */
void dns_conn_answer(struct dns_conn *c, const uint8_t *data, size_t len); /* copied */
void dns_conn_close(struct dns_conn *c);
void dns_conns_check(int64_t now_ms);
/* Go on with one. Return: 1 it is complete; 0 later; -1 it cannot be. */
int dns_frame_read(struct dns_frame *f, int fd, size_t max);
int dns_frame_write(struct dns_frame *f, int fd);
int dns_frame_set(struct dns_frame *f, const uint8_t *data,
		  size_t len); /* to be written. Return: 0; -ENOMEM */
void dns_frame_done(struct dns_frame *f);

#endif
