/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-dns-tcp.c - the guests' resolver over TCP: in pieces, one after the other, too much, too slow, given up */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dns-place.h"

#define ADDR 0xc6336401u /* 198.51.100.1 */

enum {
	LONG_MS = 60000,
	SHORT_MS = 300, /* for a connection that does nothing */
	CROWD = 40,     /* slots with more connections than there may be */
};

static int setup(void **state)
{
	(void)place_setup(state);
	place_start(LONG_MS, LONG_MS);
	return 0;
}

static int setup_short(void **state)
{
	(void)place_setup(state);
	place_start(LONG_MS, SHORT_MS);
	return 0;
}

static int connected(const struct guest *g)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&g->tcp, sizeof(g->tcp)), 0);
	return fd;
}

/* What is told, behind its length. */
static void say(int fd, size_t piece)
{
	uint8_t data[sizeof(told.data) + 2] = {(uint8_t)(told.len >> 8), (uint8_t)told.len};

	memcpy(data + 2, told.data, told.len);
	for (size_t at = 0; at < told.len + 2; at += piece) {
		size_t len = told.len + 2 - at < piece ? told.len + 2 - at : piece;

		assert_int_equal(send(fd, data + at, len, MSG_NOSIGNAL), len);
	}
}

static void take_all(int fd, uint8_t *to, size_t len)
{
	while (len > 0) {
		ssize_t got;

		assert_true(readable(fd, WAIT_MS));
		got = recv(fd, to, len, 0);
		assert_true(got > 0);
		to += got;
		len -= (size_t)got;
	}
}

/* A message. Return: its length. */
static size_t take(int fd, uint8_t *to)
{
	uint8_t head[2];

	take_all(fd, head, 2);
	take_all(fd, to, wire_at(head, 0));
	return wire_at(head, 0);
}

static void is_closed(int fd)
{
	char c;

	assert_true(readable(fd, WAIT_MS));
	assert_true(recv(fd, &c, 1, 0) <= 0);
	fd_close(fd);
}

static int accepted(int server)
{
	int fd;

	assert_true(readable(place.tcp[server], WAIT_MS));
	fd = accept4(place.tcp[server], NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* The question that comes to the first server, answered with @count addresses in pieces. */
static void serve_tcp(uint32_t count, size_t piece)
{
	int fd = accepted(0);

	asked.len = take(fd, asked.data);
	answer(DNS_NOERROR);
	for (uint32_t i = 0; i < count; i++)
		wire_a(&told, NULL, 60, ADDR + i);
	say(fd, piece);
	fd_close(fd);
}

static void test_questions(void **state)
{
	struct guest g = guest_new(1, "policy deny; allow-name one.example"),
		     free_one = guest_new(2, NULL);
	int fd = connected(&free_one);

	(void)state;
	question(1, "one.example", DNS_TYPE_A);
	say(fd, 1);
	serve_tcp(200, 1);
	assert_true(take(fd, heard) > DNS_UDP_MAX_BYTES);
	assert_int_equal(wire_at(heard, 0), 1);
	assert_int_equal(wire_at(heard, 6), 200);
	assert_false(wire_is_cut(heard));
	assert_int_equal(lets(), 0);
	fd_close(fd);
	fd_close(free_one.fd);
	fd = connected(&g);
	question(1, "one.example", DNS_TYPE_A);
	say(fd, 1);
	serve_tcp(200, 1);
	(void)take(fd, heard);
	assert_int_equal(wire_at(heard, 6), DNS_LET_MAX);
	assert_false(wire_is_cut(heard));
	assert_int_equal(lets(), 1);
	assert_int_equal(place.lets[0].count, DNS_LET_MAX);
	/* Two at once, the first of them answered at once. */
	question(2, "two.example", DNS_TYPE_A);
	say(fd, 1000);
	question(3, "one.example", DNS_TYPE_A);
	say(fd, 1000);
	(void)take(fd, heard);
	assert_int_equal(wire_at(heard, 0), 2);
	assert_int_equal(wire_rcode(heard), DNS_NXDOMAIN);
	serve_tcp(1, 1000);
	(void)take(fd, heard);
	assert_int_equal(wire_at(heard, 0), 3);
	assert_int_equal(wire_at(heard, 6), 1);
	assert_false(readable(place.udp[0], 0)); /* nothing was asked otherwise */
	fd_close(fd);
	fd_close(g.fd);
}

/* As long as a message can be, to a guest that does not read meanwhile. */
static void test_longest(void **state)
{
	struct guest g = guest_new(1, NULL);
	int fd = connected(&g), server;
	size_t len;

	(void)state;
	question(1, "one.example", 16);
	say(fd, 1000);
	server = accepted(0);
	asked.len = take(server, asked.data);
	answer(DNS_NOERROR);
	while (told.len + 12 + 256 < DNS_MESSAGE_MAX) {
		wire_record(&told, 1, NULL, 16, 60, 256);
		wire_number(&told, 255, 1);
		told.len += 255;
	}
	say(server, 10000);
	fd_close(server);
	len = take(fd, heard);
	assert_int_equal(len, told.len);
	assert_memory_equal(heard + 4, told.data + 4, len - 4);
	fd_close(fd);
	fd_close(g.fd);
}

static void test_next_server(void **state)
{
	struct guest g = guest_new(1, NULL);
	int fd = connected(&g), server;

	(void)state;
	question(1, "one.example", DNS_TYPE_A);
	say(fd, 1000);
	fd_close(accepted(0)); /* it has nothing to say */
	server = accepted(1);
	asked.len = take(server, asked.data);
	answer(DNS_NXDOMAIN);
	say(server, 1000);
	(void)take(fd, heard);
	assert_int_equal(wire_rcode(heard), DNS_NXDOMAIN);
	fd_close(server);
	question(2, "one.example", DNS_TYPE_A);
	say(fd, 1000);
	server = accepted(0);
	asked.len = take(server, asked.data);
	answer(DNS_NOERROR);
	told.data[1]++; /* of another question: over TCP nobody else can have sent it */
	say(server, 1000);
	is_closed(server);
	fd_close(steal_fd(&place.tcp[0]));
	server = accepted(1);
	fd_close(steal_fd(&place.tcp[1]));
	fd_close(server);
	(void)take(fd, heard);
	assert_int_equal(wire_rcode(heard), DNS_SERVFAIL);
	fd_close(fd);
	fd_close(g.fd);
}

static void test_hostile(void **state)
{
	struct guest g = guest_new(1, NULL);
	int fd = connected(&g);

	(void)state;
	assert_int_equal(send(fd, "\0\0", 2, 0), 2); /* nothing at all */
	is_closed(fd);
	fd = connected(&g);
	assert_int_equal(send(fd, "\377\377", 2, 0), 2); /* too much */
	is_closed(fd);
	fd = connected(&g);
	question(1, "one.example", DNS_TYPE_A);
	told.data[2] |= 0x80; /* an answer */
	say(fd, 1000);
	is_closed(fd);
	fd = connected(&g);
	question(1, "one.example", DNS_TYPE_A);
	told.data[2] |= 0x28;
	say(fd, 1000);
	(void)take(fd, heard);
	assert_int_equal(wire_rcode(heard), DNS_NOTIMP);
	fd_close(fd);
	fd_close(g.fd);
}

/* A guest that goes away, or is taken away, while it waits: nobody goes on asking for it. */
static void test_given_up(void **state)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	struct guest g = guest_new(1, NULL);
	int fd = connected(&g), server;

	(void)state;
	question(1, "one.example", DNS_TYPE_A);
	say(fd, 1000);
	server = accepted(0);
	asked.len = take(server, asked.data);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	fd_close(fd);
	is_closed(server);
	for (int i = 0; i < 2; i++) {
		fd = connected(&g);
		question(1, "one.example", DNS_TYPE_A);
		say(fd, 1000);
		server = accepted(0);
		asked.len = take(server, asked.data);
		if (i == 0)
			assert_int_equal(dns_reset(1, NULL), 0);
		else
			dns_remove(1);
		is_closed(fd);
		is_closed(server);
	}
	fd_close(g.fd);
}

static void test_idle(void **state)
{
	struct guest g = guest_new(1, NULL);
	int fd = connected(&g), half = connected(&g);

	(void)state;
	assert_int_equal(send(half, "\0", 1, 0), 1);
	is_closed(fd);
	is_closed(half);
	fd_close(g.fd);
}

/* Only so many of one slot are served; the next one is when one has gone. */
static void test_slot_limit(void **state)
{
	struct guest g = guest_new(1, "policy deny"), h = guest_new(2, "policy deny");
	int fds[DNS_SLOT_CONNS], next, other;

	(void)state;
	for (int i = 0; i < DNS_SLOT_CONNS; i++) {
		fds[i] = connected(&g);
		question(1, "one.example", DNS_TYPE_A);
		say(fds[i], 1000);
		(void)take(fds[i], heard);
	}
	next = connected(&g);
	question(2, "one.example", DNS_TYPE_A);
	say(next, 1000);
	other = connected(&h); /* of which another slot notices nothing */
	say(other, 1000);
	(void)take(other, heard);
	assert_false(readable(next, 100));
	fd_close(fds[0]);
	(void)take(next, heard);
	assert_int_equal(wire_at(heard, 0), 2);
	for (int i = 1; i < DNS_SLOT_CONNS; i++)
		fd_close(fds[i]);
	fd_close(next);
	fd_close(other);
	fd_close(g.fd);
	fd_close(h.fd);
}

/* All together want too many: who has most loses its idlest. */
static void test_crowd(void **state)
{
	int fds[CROWD][DNS_SLOT_CONNS], closed = 0;
	struct guest g[CROWD];

	(void)state;
	for (uint32_t i = 0; i < CROWD; i++) {
		g[i] = guest_new(i + 1, "policy deny");
		for (int j = 0; j < DNS_SLOT_CONNS; j++) {
			fds[i][j] = connected(&g[i]);
			question(1, "one.example", DNS_TYPE_A);
			say(fds[i][j], 1000);
			(void)take(fds[i][j], heard);
		}
	}
	for (int i = 0; i < CROWD; i++) {
		int own = 0;

		for (int j = 0; j < DNS_SLOT_CONNS; j++) {
			own += readable(fds[i][j], 0);
			fd_close(fds[i][j]);
		}
		assert_true(own < DNS_SLOT_CONNS);
		closed += own;
		fd_close(g[i].fd);
	}
	assert_int_equal(closed, CROWD * DNS_SLOT_CONNS - DNS_CONNS);
}

/* No descriptor is left for a connection: it waits, and the thread does not spin meanwhile. */
static void test_no_descriptors(void **state)
{
	struct guest g = guest_new(1, "policy deny");
	struct rlimit before, none;
	struct timespec cpu[2];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)fd + 1, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu[0]), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&g.tcp, sizeof(g.tcp)), 0);
	question(1, "one.example", DNS_TYPE_A);
	say(fd, 1000);
	assert_false(readable(fd, 500));
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu[1]), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true((cpu[1].tv_sec - cpu[0].tv_sec) * 1000000000 + cpu[1].tv_nsec - cpu[0].tv_nsec <
		    250000000);
	(void)take(fd, heard);
	assert_int_equal(wire_rcode(heard), DNS_NXDOMAIN);
	fd_close(fd);
	fd_close(g.fd);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_questions),
		EACH(test_longest),
		EACH(test_next_server),
		EACH(test_hostile),
		EACH(test_given_up),
		EACH(test_slot_limit),
		EACH(test_crowd),
		EACH(test_no_descriptors),
		cmocka_unit_test_setup_teardown(test_idle, setup_short, place_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
