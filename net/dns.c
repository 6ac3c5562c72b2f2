/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns.c - the guests' resolver: its thread and its slots
 *
 * How it works: one thread waits for events of all slots' sockets, of the connections to them, and of the sockets to the
 * upstream, one of each question. What is ready is served for a turn, then the next: a guest that asks without end waits
 * for others. Nothing in the thread waits but the call that has addresses let through, which is made without the lock.
 *
 * Guests are not trusted: what one can make us hold is limited, by the slot and in all (dns-private.h), and so is the
 * time for which it is held. When all together want more than there is, the slot that holds most loses its oldest.
 */
#include "net/dns.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/log.h"
#include "net/dns-private.h"

enum {
	BATCH = 64,     /* events at once */
	CHECK_MS = 100, /* between two looks at what has taken too long */
	ASK_MS = 5000,  /* a guest's own resolver waits no longer either */
	IDLE_MS = 10000,
	BACKLOG = 8,
	HASH_SIZE = 1024,
	FORGET_MAX = 4096, /* more packets do not wait for a socket */
};

struct dns dns;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(dns_slots, dns_slot) slots[HASH_SIZE];
static SLIST_HEAD(dns_dead, dns_watch) dead;
static pthread_t thread;
static int epoll_fd = -1; /* -1: not started */
static struct dns_watch stop = {.fd = -1};

/* ---- what is in the epoll set ----------------------------------------------------------------------- */

int dns_watch_add(struct dns_watch *w, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	w->fd = -1;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int code = errno;

		fd_close(fd);
		return -code;
	}
	w->fd = fd;
	w->events = events;
	return 0;
}

void dns_watch_set(struct dns_watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (w->fd < 0 || w->events == events)
		return;
	/* It is in the set. */
	(void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
	w->events = events;
}

/* Taken out first: a process that is just being started may hold a copy of the descriptor. */
void dns_watch_close(struct dns_watch *w)
{
	if (w->fd >= 0)
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL); /* it is in the set */
	fd_close(steal_fd(&w->fd));
}

void dns_watch_free(struct dns_watch *w)
{
	dns_watch_close(w);
	w->gone = true;
	SLIST_INSERT_HEAD(&dead, w, dead);
}

static void free_dead(void)
{
	struct dns_watch *w;

	while ((w = SLIST_FIRST(&dead))) {
		SLIST_REMOVE_HEAD(&dead, dead);
		free(w);
	}
}

/* ---- the thread ------------------------------------------------------------------------------------- */

/* Those that could not accept try again. */
static void listen_again(void)
{
	struct dns_slot *s;

	if (!dns.is_short)
		return;
	dns.is_short = false;
	for (size_t i = 0; i < HASH_SIZE; i++)
		for (s = LIST_FIRST(&slots[i]); s; s = LIST_NEXT(s, same_hash))
			dns_slot_listen(s);
}

static void check(int64_t *checked_ms)
{
	int64_t now = clock_ms();

	if (now - *checked_ms < CHECK_MS)
		return;
	*checked_ms = now;
	dns_asks_check(now);
	dns_conns_check(now);
	listen_again();
}

/* Return: false when it is to end. */
static bool turn(const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		struct dns_watch *w = events[i].data.ptr;

		if (w == &stop)
			return false;
		if (!w->gone && w->fd >= 0)
			w->ready(w, events[i].events);
	}
	return true;
}

static void *run(void *arg)
{
	struct epoll_event events[BATCH];
	int64_t checked_ms = 0;
	bool goes_on = true;

	(void)arg;
	pthread_mutex_lock(&lock);
	while (goes_on) {
		bool has_time = TAILQ_EMPTY(&dns.asks) && TAILQ_EMPTY(&dns.conns) && !dns.is_short;
		int count;

		free_dead();
		pthread_mutex_unlock(&lock);
		count = epoll_wait(epoll_fd, events, BATCH, has_time ? -1 : CHECK_MS);
		pthread_mutex_lock(&lock);
		goes_on = turn(events, count);
		check(&checked_ms);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* A guest may ask as often as it likes. */
static void warn(struct dns_slot *s, const struct err *e, const char *name)
{
	int64_t now = clock_ms();

	if (s->udp.gone || (s->warned_ms && now - s->warned_ms < DNS_WARN_MS))
		return;
	s->warned_ms = now;
	log_warning("%s, ignoring: the guest of network slot %u is not told the addresses of %s",
		    e->text, s->serial, name);
}

bool dns_let(struct dns_slot *s, const char *name, const uint32_t *addrs, size_t count,
	     uint32_t ttl_sec)
{
	uint32_t serial = s->serial;
	struct err e = {.code = 0};
	int rc = 0;

	if (!dns.options.let)
		return true;
	pthread_mutex_unlock(&lock);
	rc = dns.options.let(serial, name, addrs, count, ttl_sec, &e);
	pthread_mutex_lock(&lock);
	if (rc < 0)
		warn(s, &e, name);
	return rc == 0;
}

int dns_start(const struct dns_options *o, struct err *e)
{
	int rc;

	if (epoll_fd >= 0)
		return 0;
	dns.options = *o;
	TAILQ_INIT(&dns.asks);
	TAILQ_INIT(&dns.conns);
	dns_servers_forget();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return err_sys(e, errno, "cannot set up the guests' resolver");
	stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = stop.fd < 0 ? -errno : dns_watch_add(&stop, stop.fd, EPOLLIN);
	if (rc == 0)
		rc = -pthread_create(&thread, NULL, run, NULL);
	if (rc == 0)
		return 0;
	fd_close(steal_fd(&stop.fd));
	fd_close(steal_fd(&epoll_fd));
	return err_sys(e, -rc, "cannot start the guests' resolver");
}

int dns_init(int (*let)(uint32_t serial, const char *name, const uint32_t *addrs, size_t count,
			uint32_t ttl_sec, struct err *e),
	     struct err *e)
{
	const struct dns_options o = {.resolv_conf = "/etc/resolv.conf",
				      .port = DNS_PORT,
				      .ask_ms = ASK_MS,
				      .idle_ms = IDLE_MS,
				      .let = let};

	return dns_start(&o, e);
}

/* ---- slots ------------------------------------------------------------------------------------------ */

static struct dns_slot *slot_find(uint32_t serial)
{
	struct dns_slot *s;

	for (s = LIST_FIRST(&slots[serial % HASH_SIZE]); s; s = LIST_NEXT(s, same_hash))
		if (s->serial == serial)
			return s;
	return NULL;
}

static int open_one(int type, uint32_t addr, struct err *e)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_port = htons(DNS_PORT), .sin_addr.s_addr = htonl(addr)};
	AUTO_FD fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	/* The address may come later. For UDP, a second one that listens is to fail. */
	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0 ||
	    (type == SOCK_STREAM &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return err_sys(e, errno, "cannot open a socket for a guest's resolver");
	return steal_fd(&fd);
}

int dns_open(uint32_t addr, int *ret_udp_fd, int *ret_tcp_fd, struct err *e)
{
	AUTO_FD udp = open_one(SOCK_DGRAM, addr, e);
	int tcp;

	if (udp < 0)
		return udp;
	tcp = open_one(SOCK_STREAM, addr, e);
	if (tcp < 0)
		return tcp;
	*ret_udp_fd = steal_fd(&udp);
	*ret_tcp_fd = tcp;
	return 0;
}

static struct dns_slot *slot_new(uint32_t serial)
{
	struct dns_slot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct dns_slot){.udp = {.fd = -1, .ready = dns_slot_udp},
			       .tcp = {.fd = -1, .ready = dns_slot_tcp},
			       .serial = serial,
			       .rules = EGRESS_DEFAULT};
	LIST_INIT(&s->asks);
	LIST_INIT(&s->conns);
	return s;
}

/* With the lock; takes the descriptors. */
static int slot_add(uint32_t serial, int udp_fd, int tcp_fd, bool waits, struct err *e)
{
	AUTO_FD udp = udp_fd;
	AUTO_FD tcp = tcp_fd;
	struct dns_slot *s;
	int rc;

	if (epoll_fd < 0)
		return err_set(e, EIO, "the guests' resolver has not been started");
	if (slot_find(serial))
		return err_set(e, EEXIST, "network slot with serial %u has a resolver", serial);
	s = slot_new(serial);
	if (!s)
		return err_set(e, ENOMEM, "no memory for a guest's resolver");
	s->waits = waits;
	rc = dns_watch_add(&s->udp, steal_fd(&udp), 0);
	if (rc == 0)
		rc = dns_watch_add(&s->tcp, steal_fd(&tcp), 0);
	if (rc < 0) {
		dns_watch_free(&s->udp);
		return err_sys(e, -rc, "cannot watch the sockets of a guest's resolver");
	}
	LIST_INSERT_HEAD(&slots[serial % HASH_SIZE], s, same_hash);
	dns_slot_listen(s);
	return 0;
}

int dns_add(uint32_t serial, int udp_fd, int tcp_fd, bool waits, struct err *e)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = slot_add(serial, udp_fd, tcp_fd, waits, e);
	pthread_mutex_unlock(&lock);
	return rc;
}

bool dns_serves(uint32_t serial)
{
	bool serves;

	pthread_mutex_lock(&lock);
	serves = slot_find(serial) != NULL;
	pthread_mutex_unlock(&lock);
	return serves;
}

static int no_slot(uint32_t serial, struct err *e)
{
	return err_set(e, ENOENT, "network slot with serial %u has no resolver", serial);
}

int dns_rules(uint32_t serial, const struct egress *rules, struct err *e)
{
	struct egress other = EGRESS_DEFAULT;
	struct dns_slot *s;

	if (rules && egress_copy(rules, &other) < 0)
		return err_set(e, ENOMEM, "no memory for the resolver's rules");
	pthread_mutex_lock(&lock);
	s = slot_find(serial);
	if (s) {
		struct egress before = s->rules;

		s->rules = other;
		other = before;
		s->waits = false;
		dns_slot_listen(s);
	}
	pthread_mutex_unlock(&lock);
	egress_done(&other);
	return s ? 0 : no_slot(serial, e);
}

static void slot_remove(struct dns_slot *s)
{
	LIST_REMOVE(s, same_hash);
	dns_slot_clear(s);
	dns_watch_close(&s->tcp);
	s->tcp.gone = true;
	egress_done(&s->rules);
	dns_watch_free(&s->udp);
}

void dns_remove(uint32_t serial)
{
	struct dns_slot *s;

	pthread_mutex_lock(&lock);
	s = slot_find(serial);
	if (s)
		slot_remove(s);
	pthread_mutex_unlock(&lock);
}

/* What has come and is not read yet was meant for the one before. */
static void slot_forget(struct dns_slot *s)
{
	char dropped[1];

	s->life++;
	s->warned_ms = 0;
	dns_slot_clear(s);
	for (int i = 0;
	     i < FORGET_MAX && recv(s->udp.fd, dropped, sizeof(dropped), MSG_DONTWAIT) >= 0; i++)
		;
	for (int i = 0; i < FORGET_MAX; i++) {
		AUTO_FD fd = accept4(s->tcp.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			break;
	}
	egress_done(&s->rules);
	s->waits = false;
	dns_slot_listen(s);
}

int dns_reset(uint32_t serial, struct err *e)
{
	struct dns_slot *s;

	pthread_mutex_lock(&lock);
	s = slot_find(serial);
	if (s)
		slot_forget(s);
	pthread_mutex_unlock(&lock);
	return s ? 0 : no_slot(serial, e);
}

void dns_done(void)
{
	uint64_t one = 1;
	struct dns_slot *s;

	if (epoll_fd < 0)
		return;
	(void)file_write_all(stop.fd, &one, sizeof(one)); /* an eventfd at 0 takes it */
	(void)pthread_join(thread, NULL);                 /* it was started, and only once */
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < HASH_SIZE; i++)
		while ((s = LIST_FIRST(&slots[i])))
			slot_remove(s);
	free_dead();
	dns_watch_close(&stop);
	fd_close(steal_fd(&epoll_fd));
	pthread_mutex_unlock(&lock);
}
