/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/dns-place.h - a resolver with guests and name servers on loopback addresses; all said and heard by the test itself */
#ifndef SBXFS_TESTS_UNIT_DNS_PLACE_H
#define SBXFS_TESTS_UNIT_DNS_PLACE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "net/dns-private.h"
#include "net/dns.h"
#include "tests/unit/dns-wire.h"

enum {
	WAIT_MS = 30000, /* for what must come */
	SERVERS = 2,     /* at 127.0.0.1 and 127.0.0.2 */
};

/* What was let through. */
struct let {
	uint32_t serial, ttl_sec;
	char name[DNS_TEXT_SIZE];
	uint32_t addrs[DNS_ADDRS_MAX];
	size_t count;
};

struct guest {
	uint32_t serial;
	struct sockaddr_in udp, tcp; /* where its resolver is */
	int fd;                      /* of its own, connected to udp */
};

static struct place {
	char conf[256];
	in_port_t port; /* of the servers */
	int udp[SERVERS], tcp[SERVERS];
	pthread_mutex_t lock;
	struct let lets[8];
	size_t let_count;
	int let_code; /* what it returns; 0 */
	void (*in_let)(uint32_t serial);
	sem_t was_let; /* once for each */
} place = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct wire asked, told; /* what came last; what is said */
static uint8_t heard[65536];

static inline int let(uint32_t serial, const char *name, const uint32_t *addrs, size_t count,
		      uint32_t ttl_sec, struct err *e)
{
	int code;

	pthread_mutex_lock(&place.lock);
	if (place.let_count < 8) {
		struct let *l = &place.lets[place.let_count++];

		*l = (struct let){.serial = serial, .ttl_sec = ttl_sec, .count = count};
		(void)snprintf(l->name, sizeof(l->name), "%s", name);
		memcpy(l->addrs, addrs, count * sizeof(*addrs));
	}
	code = place.let_code;
	pthread_mutex_unlock(&place.lock);
	if (place.in_let)
		place.in_let(serial);
	(void)sem_post(&place.was_let); /* far from its limit */
	return code ? err_set(e, code, "the test says so") : 0;
}

static inline size_t lets(void)
{
	size_t count;

	pthread_mutex_lock(&place.lock);
	count = place.let_count;
	pthread_mutex_unlock(&place.lock);
	return count;
}

/* Bound, and listening if it is TCP. @at: its port is filled in. */
static inline int bound(int type, struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int one = 1;
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (type == SOCK_STREAM)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0) {
		fd_close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 64), 0);
	return fd;
}

static inline struct sockaddr_in loopback(uint32_t host, in_port_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(0x7f000000 + host),
				    .sin_port = port};
}

static inline void conf_write(const char *text)
{
	FILE *f = fopen(place.conf, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* All servers at one port: tried until there is one that is free everywhere. */
static inline bool servers_open(void)
{
	struct sockaddr_in at = loopback(1, 0);
	bool good;

	place.tcp[0] = bound(SOCK_STREAM, &at);
	good = place.tcp[0] >= 0;
	place.port = at.sin_port;
	place.tcp[1] = place.udp[0] = place.udp[1] = -1;
	for (uint32_t i = 0; i < SERVERS; i++) {
		at = loopback(i + 1, place.port);
		place.udp[i] = bound(SOCK_DGRAM, &at);
		if (i > 0)
			place.tcp[i] = bound(SOCK_STREAM, &at);
		good = good && place.udp[i] >= 0 && place.tcp[i] >= 0;
	}
	for (uint32_t i = 0; i < SERVERS && !good; i++) {
		fd_close(steal_fd(&place.udp[i]));
		fd_close(steal_fd(&place.tcp[i]));
	}
	return good;
}

static inline void place_start(int ask_ms, int idle_ms)
{
	const struct dns_options o = {.resolv_conf = place.conf,
				      .port = ntohs(place.port),
				      .ask_ms = ask_ms,
				      .idle_ms = idle_ms,
				      .let = let};

	assert_int_equal(dns_start(&o, NULL), 0);
}

static inline int place_setup(void **state)
{
	const char *dir = getenv("TMPDIR");
	struct rlimit files;
	int tries = 0, fd;

	(void)state;
	(void)snprintf(place.conf, sizeof(place.conf), "%s/sbxfs-dns-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(place.conf);
	assert_true(fd >= 0);
	fd_close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	while (!servers_open())
		assert_true(++tries < 100);
	conf_write("nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
	place.let_count = 0;
	place.let_code = 0;
	place.in_let = NULL;
	assert_int_equal(sem_init(&place.was_let, 0, 0), 0);
	return 0;
}

static inline int place_teardown(void **state)
{
	(void)state;
	dns_done();
	for (int i = 0; i < SERVERS; i++) {
		fd_close(steal_fd(&place.udp[i]));
		fd_close(steal_fd(&place.tcp[i]));
	}
	(void)unlink(place.conf);
	return 0;
}

static inline struct guest guest_new(uint32_t serial, const char *rules)
{
	struct guest g = {.serial = serial, .udp = loopback(1, 0), .tcp = loopback(1, 0)};
	int udp = bound(SOCK_DGRAM, &g.udp), tcp = bound(SOCK_STREAM, &g.tcp);
	struct egress parsed;

	assert_int_equal(dns_add(serial, udp, tcp, false, NULL), 0);
	if (rules) {
		assert_int_equal(egress_parse(rules, &parsed, NULL), 0);
		assert_int_equal(dns_rules(serial, &parsed, NULL), 0);
		egress_done(&parsed);
	}
	g.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(g.fd >= 0);
	assert_int_equal(connect(g.fd, (const struct sockaddr *)&g.udp, sizeof(g.udp)), 0);
	return g;
}

static inline bool readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

/* ---- a guest ------------------------------------------------------------------------------------- */

static inline void question(uint16_t id, const char *name, unsigned type)
{
	wire_start(&told, id, 0x0100);
	wire_question(&told, name, type);
}

static inline void ask(const struct guest *g, uint16_t id, const char *name, unsigned type)
{
	question(id, name, type);
	assert_int_equal(send(g->fd, told.data, told.len, 0), told.len);
}

/* Into heard[]. Return: its length. */
static inline size_t hear(const struct guest *g, uint16_t id)
{
	ssize_t len;

	assert_true(readable(g->fd, WAIT_MS));
	len = recv(g->fd, heard, sizeof(heard), 0);
	assert_true(len >= 12);
	assert_int_equal(wire_at(heard, 0), id);
	assert_int_equal(heard[2] & 0x80, 0x80);
	return (size_t)len;
}

/* How many answers are in it, with that rcode. */
static inline void hear_rcode(const struct guest *g, uint16_t id, unsigned rcode, unsigned count)
{
	(void)hear(g, id);
	assert_int_equal(wire_rcode(heard), rcode);
	assert_int_equal(wire_at(heard, 6), count);
}

/* ---- a server ------------------------------------------------------------------------------------ */

/* The next question at server @n, into asked. */
static inline struct sockaddr_in served(int n)
{
	struct sockaddr_in from = {.sin_port = 0};
	socklen_t len = sizeof(from);
	ssize_t got;

	assert_true(readable(place.udp[n], WAIT_MS));
	got = recvfrom(place.udp[n], asked.data, sizeof(asked.data), 0, (struct sockaddr *)&from,
		       &len);
	assert_true(got > 12);
	asked.len = (size_t)got;
	return from;
}

/* Begin the answer to asked, in told. */
static inline void answer(unsigned rcode)
{
	struct dns_question q;

	assert_int_equal(dns_question_read(asked.data, asked.len, &q), 0);
	wire_start(&told, q.id, 0x8180 | rcode);
	wire_bytes(&told, q.name.bytes, q.name.len);
	wire_number(&told, q.type, 2);
	wire_number(&told, q.class, 2);
	wire_count(&told, 0);
}

static inline void tell(int n, const struct sockaddr_in *to)
{
	assert_int_equal(sendto(place.udp[n], told.data, told.len, 0, (const struct sockaddr *)to,
				sizeof(*to)),
			 told.len);
}

/* The question that comes to server @n is answered with one address. */
static inline void serve(int n, uint32_t addr, uint32_t ttl_sec)
{
	struct sockaddr_in from = served(n);

	answer(DNS_NOERROR);
	wire_a(&told, NULL, ttl_sec, addr);
	tell(n, &from);
}

#endif
