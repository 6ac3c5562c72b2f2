/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-dns-upstream.c - how the guests' resolver asks: which servers, how often, whom it believes, for how many */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dns-place.h"

#define ADDR 0xc6336401u /* 198.51.100.1 */

enum {
	LONG_MS = 60000,
	SHORT_MS = 400, /* for all of a question's tries, four of them */
	MIDDLE_MS = 12000,
	MANY = 1000,
	CROWD = 20, /* slots that ask for more than there is */
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
	place_start(SHORT_MS, LONG_MS);
	return 0;
}

static int setup_middle(void **state)
{
	(void)place_setup(state);
	place_start(MIDDLE_MS, LONG_MS);
	return 0;
}

/* ---- which servers --------------------------------------------------------------------------------- */

static void test_file(void **state)
{
	struct dns_server s[DNS_SERVERS_MAX];
	char text[INET6_ADDRSTRLEN];

	(void)state;
	assert_int_equal(dns_servers_parse("", 53, s), 0);
	assert_int_equal(dns_servers_parse("nameserver\nnameservers 9.9.9.9\n# nameserver 9.9.9.9\n"
					   "nameserver name\nnameserver 1.2.3\nsearch nameserver",
					   53, s),
			 0);
	assert_int_equal(dns_servers_parse("search x\nnameserver\t127.0.0.53 # here\n"
					   "nameserver 2001:db8::1;\nnameserver fe80::1%lo\r\n"
					   "nameserver 9.9.9.9",
					   53, s),
			 3);
	assert_int_equal(s[0].v4.sin_addr.s_addr, htonl(0x7f000035));
	assert_int_equal(s[0].v4.sin_port, htons(53));
	assert_int_equal(s[0].len, sizeof(s[0].v4));
	assert_string_equal(inet_ntop(AF_INET6, &s[1].v6.sin6_addr, text, sizeof(text)),
			    "2001:db8::1");
	assert_int_equal(s[1].v6.sin6_scope_id, 0);
	assert_int_equal(s[2].v6.sin6_family, AF_INET6);
	assert_int_equal(s[2].v6.sin6_scope_id, 1);
	assert_int_equal(s[2].len, sizeof(s[2].v6));
	assert_int_equal(dns_servers_parse("nameserver 10.0.0.1", 53, s), 1);
	assert_int_equal(s[0].v4.sin_addr.s_addr, htonl(0x0a000001));
}

static void test_none(void **state)
{
	struct guest g = guest_new(1, NULL);

	(void)state;
	conf_write("# nobody\n");
	ask(&g, 1, "any.example", DNS_TYPE_A);
	hear_rcode(&g, 1, DNS_SERVFAIL, 0);
	fd_close(g.fd);
}

static void test_no_file(void **state)
{
	struct guest g = guest_new(1, NULL);

	(void)state;
	assert_int_equal(unlink(place.conf), 0);
	ask(&g, 1, "any.example", DNS_TYPE_A);
	hear_rcode(&g, 1, DNS_SERVFAIL, 0);
	/* It is looked at again after a while. */
	conf_write("nameserver 127.0.0.2\n");
	while (!readable(place.udp[1], 0)) {
		struct pollfd p[] = {{.fd = place.udp[1], .events = POLLIN},
				     {.fd = g.fd, .events = POLLIN}};

		ask(&g, 2, "any.example", DNS_TYPE_A);
		assert_true(poll(p, 2, WAIT_MS) > 0);
		if (p[1].revents)
			hear_rcode(&g, 2, DNS_SERVFAIL, 0);
	}
	serve(1, ADDR, 60);
	hear_rcode(&g, 2, DNS_NOERROR, 1);
	fd_close(g.fd);
}

/* ---- one after the other --------------------------------------------------------------------------- */

static void test_silent(void **state)
{
	struct guest g = guest_new(1, NULL);
	struct sockaddr_in from[4];

	(void)state;
	ask(&g, 1, "any.example", DNS_TYPE_A);
	for (int i = 0; i < 4; i++) {
		from[i] = served(i % 2);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(from[i].sin_port, from[j].sin_port);
	}
	hear_rcode(&g, 1, DNS_SERVFAIL, 0);
	answer(DNS_NOERROR);
	wire_a(&told, NULL, 60, ADDR);
	(void)sendto(place.udp[1], told.data, told.len, 0, (const struct sockaddr *)&from[3],
		     sizeof(from[3])); /* too late: nobody is there */
	ask(&g, 2, "any.example", DNS_TYPE_A);
	(void)served(0);
	hear_rcode(&g, 2, DNS_SERVFAIL, 0);
	fd_close(g.fd);
}

static void test_first_silent(void **state)
{
	struct guest g = guest_new(1, NULL);

	(void)state;
	ask(&g, 1, "any.example", DNS_TYPE_A);
	(void)served(0);
	serve(1, ADDR, 60);
	hear_rcode(&g, 1, DNS_NOERROR, 1);
	fd_close(g.fd);
}

static void test_useless(void **state)
{
	static const unsigned useless[] = {DNS_SERVFAIL, DNS_NOTIMP, DNS_REFUSED};
	struct guest g = guest_new(1, NULL);
	struct sockaddr_in from;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		ask(&g, 1, "any.example", DNS_TYPE_A);
		from = served(0);
		answer(useless[i]);
		tell(0, &from);
		serve(1, ADDR, 60);
		hear_rcode(&g, 1, DNS_NOERROR, 1);
	}
	ask(&g, 2, "any.example", DNS_TYPE_A);
	for (int i = 0; i < 2; i++) {
		from = served(i);
		answer(DNS_REFUSED);
		tell(i, &from);
	}
	hear_rcode(&g, 2, DNS_SERVFAIL, 0); /* none is asked twice */
	assert_false(readable(place.udp[0], 0));
	ask(&g, 3, "any.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NOERROR);
	wire_count(&told, 1); /* that is not there */
	tell(0, &from);
	serve(1, ADDR, 60);
	hear_rcode(&g, 3, DNS_NOERROR, 1);
	/* Nobody is there: the kernel says so at once. */
	fd_close(steal_fd(&place.udp[0]));
	ask(&g, 4, "any.example", DNS_TYPE_A);
	serve(1, ADDR, 60);
	hear_rcode(&g, 4, DNS_NOERROR, 1);
	fd_close(steal_fd(&place.udp[1]));
	ask(&g, 5, "any.example", DNS_TYPE_A);
	hear_rcode(&g, 5, DNS_SERVFAIL, 0);
	fd_close(g.fd);
}

/* ---- whom it believes ------------------------------------------------------------------------------ */

static void test_spoofed(void **state)
{
	struct guest g = guest_new(1, NULL);
	struct sockaddr_in from, other = loopback(3, place.port);
	int liar = bound(SOCK_DGRAM, &other);

	(void)state;
	assert_true(liar >= 0);
	ask(&g, 1, "any.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NOERROR);
	wire_a(&told, NULL, 60, 0xcb007101);
	told.data[1]++; /* another id */
	tell(0, &from);
	told.data[1]--;
	told.data[13] ^= 1; /* another name */
	tell(0, &from);
	told.data[13] ^= 1;
	told.data[2] &= 0x7f; /* a question */
	tell(0, &from);
	told.data[2] |= 0x80;
	/* All right, but from another. */
	assert_int_equal(
		sendto(liar, told.data, told.len, 0, (const struct sockaddr *)&from, sizeof(from)),
		told.len);
	assert_int_equal(sendto(place.udp[1], told.data, told.len, 0,
				(const struct sockaddr *)&from, sizeof(from)),
			 told.len);
	answer(DNS_NOERROR);
	wire_a(&told, NULL, 60, ADDR);
	tell(0, &from);
	assert_int_equal(heard[hear(&g, 1) - 1], 1);
	/* Who guesses has to begin anew before long. */
	ask(&g, 2, "any.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NOERROR);
	for (int i = 0; i < 20; i++) {
		told.data[1]++;
		(void)sendto(place.udp[0], told.data, told.len, 0, (const struct sockaddr *)&from,
			     sizeof(from)); /* closed in the end */
	}
	serve(1, ADDR, 60);
	hear_rcode(&g, 2, DNS_NOERROR, 1);
	fd_close(liar);
	fd_close(g.fd);
}

static void test_unguessable(void **state)
{
	struct guest g = guest_new(1, NULL);
	unsigned ids[16], ports[16], same_id = 0, steady = 0;

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		ask(&g, (uint16_t)i, "any.example", DNS_TYPE_A);
		ports[i] = served(0).sin_port;
		ids[i] = wire_at(asked.data, 0);
		for (unsigned j = 0; j < i; j++) {
			assert_int_not_equal(ports[i], ports[j]);
			same_id += ids[i] == ids[j];
		}
		steady += i > 0 && ids[i] == ids[i - 1] + 1;
	}
	assert_true(same_id < 3 && steady < 3);
	fd_close(g.fd);
}

/* Several guests behind several ports: each hears its own. */
static void test_own_source(void **state)
{
	struct guest g = guest_new(1, NULL), h = guest_new(2, NULL), more = g;
	struct sockaddr_in from[3];
	struct wire questions[3];

	(void)state;
	more.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(more.fd, (const struct sockaddr *)&g.udp, sizeof(g.udp)), 0);
	for (int i = 0; i < 3; i++) {
		ask(i == 0 ? &g : i == 1 ? &h : &more, 7, "any.example", DNS_TYPE_A);
		from[i] = served(0);
		questions[i] = asked;
	}
	for (int i = 2; i >= 0; i--) {
		asked = questions[i];
		answer(DNS_NOERROR);
		wire_a(&told, NULL, 60, ADDR + (uint32_t)i);
		tell(0, &from[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		const struct guest *hears = i == 0 ? &g : i == 1 ? &h : &more;
		size_t len = hear(hears, 7);

		assert_int_equal(heard[len - 1], 1 + i);
		assert_false(readable(hears->fd, 0));
		fd_close(hears->fd);
	}
}

/* ---- for how many ---------------------------------------------------------------------------------- */

/* One that asks without end does not keep another from being served. */
static void test_flood(void **state)
{
	struct guest g = guest_new(1, NULL), h = guest_new(2, NULL);
	int count = 0;

	(void)state;
	for (int i = 0; i < MANY; i++)
		ask(&g, (uint16_t)i, "flood.example", DNS_TYPE_A);
	ask(&h, 1, "other.example", DNS_TYPE_A);
	for (;;) {
		struct sockaddr_in from = served(0);

		if (memcmp(asked.data + 12, "\5flood", 6) == 0) {
			count++;
			continue;
		}
		answer(DNS_NOERROR);
		wire_a(&told, NULL, 60, ADDR);
		tell(0, &from);
		break;
	}
	hear_rcode(&h, 1, DNS_NOERROR, 1);
	for (; count < DNS_SLOT_ASKS; count++)
		(void)served(0);
	assert_false(readable(place.udp[0], 200));
	assert_int_equal(count, DNS_SLOT_ASKS);
	fd_close(g.fd);
	fd_close(h.fd);
}

/* What waits is served in the end, in order. */
static void test_flood_served(void **state)
{
	struct guest g = guest_new(1, NULL);

	(void)state;
	for (uint16_t i = 0; i < 100; i++)
		ask(&g, i, "flood.example", DNS_TYPE_A);
	for (uint16_t i = 0; i < 100; i++)
		serve(0, ADDR, 60);
	for (uint16_t i = 0; i < 100; i++)
		hear_rcode(&g, i, DNS_NOERROR, 1);
	fd_close(g.fd);
}

/* Together they want more than there is: who has most loses its oldest. */
static void test_crowd(void **state)
{
	struct guest g[CROWD], late;
	int dropped = 0;

	(void)state;
	for (uint32_t i = 0; i < CROWD; i++) {
		g[i] = guest_new(i + 1, NULL);
		for (uint16_t j = 0; j < DNS_SLOT_ASKS; j++) {
			ask(&g[i], j, "crowd.example", DNS_TYPE_A);
			(void)served(0);
		}
	}
	late = guest_new(CROWD + 1, NULL);
	ask(&late, 1, "late.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&late, 1, DNS_NOERROR, 1);
	for (int i = 0; i < CROWD; i++) {
		while (readable(g[i].fd, 0) && recv(g[i].fd, heard, sizeof(heard), 0) > 0) {
			assert_int_equal(wire_rcode(heard), DNS_SERVFAIL);
			dropped++;
		}
		fd_close(g[i].fd);
	}
	assert_int_equal(dropped, CROWD * DNS_SLOT_ASKS + 1 - DNS_ASKS);
	fd_close(late.fd);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_file),
		EACH(test_none),
		EACH(test_no_file),
		EACH(test_useless),
		EACH(test_spoofed),
		EACH(test_unguessable),
		EACH(test_flood),
		EACH(test_flood_served),
		EACH(test_crowd),
		EACH(test_own_source),
		cmocka_unit_test_setup_teardown(test_silent, setup_short, place_teardown),
		cmocka_unit_test_setup_teardown(test_first_silent, setup_middle, place_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
