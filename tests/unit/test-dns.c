/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-dns.c - the guests' resolver: what is asked for whom, what is answered, what is let through
 *
 * Sockets on loopback addresses stand for those in a slot's namespace, and the test is guest and name server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dns-place.h"

#define RULES "policy deny; allow-name one.example; allow-name *.many.example"

#define ADDR 0xc6336401u /* 198.51.100.1 */

enum {
	LONG_MS = 60000,
};

static int setup(void **state)
{
	(void)place_setup(state);
	place_start(LONG_MS, LONG_MS);
	return 0;
}

static void test_policy_allow(void **state)
{
	struct guest g = guest_new(1, NULL);

	(void)state;
	ask(&g, 1, "Any.Example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 1, DNS_NOERROR, 1);
	assert_memory_equal(heard + 12, "\3Any\7Example", 13);
	ask(&g, 2, "private.example", DNS_TYPE_A);
	serve(0, 0x0a000001, 60);
	hear_rcode(&g, 2, DNS_NOERROR, 1); /* the rules of the network keep the guest from it */
	assert_int_equal(lets(), 0);
	fd_close(g.fd);
}

/* Other rules may deny where a name leads. */
static void test_policy_allow_name(void **state)
{
	struct guest g = guest_new(3, "policy allow; deny 198.51.100.0/24; allow-name one.example");

	(void)state;
	ask(&g, 1, "two.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 1, DNS_NOERROR, 1);
	assert_int_equal(lets(), 0);
	ask(&g, 2, "one.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 2, DNS_NOERROR, 1);
	assert_int_equal(lets(), 1);
	assert_string_equal(place.lets[0].name, "one.example");
	assert_int_equal(place.lets[0].addrs[0], ADDR);
	fd_close(g.fd);
}

/* Of an answer with many addresses some are let through, and the guest learns of those alone. */
static void test_many_addrs(void **state)
{
	struct guest g = guest_new(1, RULES "; allow 10.1.0.0/16");
	struct sockaddr_in from;

	(void)state;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NOERROR);
	wire_a(&told, NULL, 60, 0x0a010203);
	for (uint32_t i = 0; i < DNS_LET_MAX; i++)
		wire_a(&told, NULL, 60, ADDR + i);
	wire_a(&told, NULL, 60, ADDR + DNS_LET_MAX);
	wire_a(&told, NULL, 60, 0x0a010204); /* needs no name */
	tell(0, &from);
	hear_rcode(&g, 1, DNS_NOERROR, DNS_LET_MAX + 2);
	assert_int_equal(lets(), 1);
	assert_int_equal(place.lets[0].count, DNS_LET_MAX);
	assert_int_equal(place.lets[0].addrs[DNS_LET_MAX - 1], ADDR + DNS_LET_MAX - 1);
	fd_close(g.fd);
}

static void test_any(void **state)
{
	struct guest g = guest_new(1, RULES);

	(void)state;
	ask(&g, 1, "one.example", DNS_TYPE_ANY);
	hear_rcode(&g, 1, DNS_NOTIMP, 0);
	assert_false(readable(place.udp[0], 0));
	fd_close(g.fd);
}

static void test_policy_deny(void **state)
{
	static const char *const denied[] = {"two.example",      "example",      "",
					     "a.one.example",    "many.example", "onexexample",
					     "one.example.evil", "xmany.example"};
	struct guest g = guest_new(5, RULES);

	(void)state;
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		ask(&g, 1, denied[i], DNS_TYPE_A);
		hear_rcode(&g, 1, DNS_NXDOMAIN, 0);
	}
	ask(&g, 2, "two.example", DNS_TYPE_AAAA);
	hear_rcode(&g, 2, DNS_NXDOMAIN, 0);
	ask(&g, 3, "two.example", 16);
	hear_rcode(&g, 3, DNS_NXDOMAIN, 0);
	/* The first that is asked for at all. */
	ask(&g, 4, "ONE.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 4, DNS_NOERROR, 1);
	assert_int_equal(lets(), 1);
	assert_int_equal(place.lets[0].serial, 5);
	assert_string_equal(place.lets[0].name, "one.example");
	assert_int_equal(place.lets[0].count, 1);
	assert_int_equal(place.lets[0].addrs[0], ADDR);
	assert_int_equal(place.lets[0].ttl_sec, 60 + DNS_GRACE_SEC);
	ask(&g, 5, "a.b.many.example", DNS_TYPE_A);
	serve(0, ADDR, 0);
	hear_rcode(&g, 5, DNS_NOERROR, 1);
	assert_string_equal(place.lets[1].name, "a.b.many.example");
	assert_int_equal(place.lets[1].ttl_sec, 1 + DNS_GRACE_SEC);
	assert_false(readable(place.udp[0], 0));
	fd_close(g.fd);
}

/* The name's own rule counts, wherever the chain leads; the shortest time of all of it. */
static void test_chain(void **state)
{
	struct guest g = guest_new(1, RULES);
	struct sockaddr_in from;

	(void)state;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NOERROR);
	wire_cname(&told, NULL, 7, "edge.cdn.example");
	wire_a(&told, "edge.cdn.example", 60, ADDR);
	wire_a(&told, "edge.cdn.example", 90, ADDR + 1);
	wire_a(&told, "not.asked.example", 1, ADDR + 2);
	tell(0, &from);
	hear_rcode(&g, 1, DNS_NOERROR, 3);
	assert_int_equal(lets(), 1);
	assert_string_equal(place.lets[0].name, "one.example");
	assert_int_equal(place.lets[0].count, 2);
	assert_int_equal(place.lets[0].ttl_sec, 7 + DNS_GRACE_SEC);
	fd_close(g.fd);
}

static void test_no_ipv6(void **state)
{
	static const unsigned types[] = {DNS_TYPE_AAAA, DNS_TYPE_SVCB, DNS_TYPE_HTTPS};
	struct guest g = guest_new(1, RULES), other = guest_new(2, NULL);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		ask(&g, 1, "one.example", types[i]);
		hear_rcode(&g, 1, DNS_NOERROR, 0);
		ask(&other, 1, "any.example", types[i]);
		hear_rcode(&other, 1, DNS_NOERROR, 0);
	}
	assert_false(readable(place.udp[0], 0));
	fd_close(g.fd);
	fd_close(other.fd);
}

static void test_other_types(void **state)
{
	struct guest g = guest_new(1, RULES);
	struct sockaddr_in from;
	size_t len;

	(void)state;
	ask(&g, 9, "One.example", 16);
	from = served(0);
	answer(DNS_NOERROR);
	wire_record(&told, 1, NULL, 16, 60, 6);
	wire_bytes(&told, "\5hello", 6);
	tell(0, &from);
	len = hear(&g, 9);
	assert_int_equal(len, told.len);
	assert_memory_equal(heard + 2, told.data + 2, len - 2);
	assert_int_equal(lets(), 0);
	fd_close(g.fd);
}

/* A public name that leads to private addresses. */
static void test_rebinding(void **state)
{
	static const uint32_t closed[] = {0x0a000001, 0xc0a80101, 0xac100001,
					  0xa9fea9fe, 0x7f000001, 0,
					  0xe0000001, 0xffffffff, 0x64400001};
	struct guest g = guest_new(1, RULES),
		     opened = guest_new(2, RULES "; allow 10.1.0.0/16; allow 0.0.0.0/0");
	struct sockaddr_in from;

	(void)state;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NOERROR);
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		wire_a(&told, NULL, 60, closed[i]);
	tell(0, &from);
	hear_rcode(&g, 1, DNS_NOERROR, 0);
	assert_int_equal(lets(), 0);
	for (int i = 0; i < 2; i++) {
		const struct guest *asks = i ? &opened : &g;

		ask(asks, 2, "one.example", DNS_TYPE_A);
		from = served(0);
		answer(DNS_NOERROR);
		wire_a(&told, NULL, 60, 0x0a010203);
		wire_a(&told, NULL, 60, ADDR);
		wire_a(&told, NULL, 60, 0x0a020203);
		tell(0, &from);
		hear_rcode(asks, 2, DNS_NOERROR, i ? 2 : 1);
		assert_int_equal(lets(), i + 1);
		assert_int_equal(place.lets[i].count, 1); /* the other needs no name */
		assert_int_equal(place.lets[i].addrs[0], ADDR);
	}
	fd_close(g.fd);
	fd_close(opened.fd);
}

static void test_not_let(void **state)
{
	struct guest g = guest_new(1, RULES);

	(void)state;
	place.let_code = EIO;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 1, DNS_SERVFAIL, 0);
	assert_int_equal(lets(), 1);
	fd_close(g.fd);
}

/* Lines of the log so far with this text. */
static int logged(FILE *log, const char *text)
{
	char line[1024];
	int count = 0;

	rewind(log);
	while (fgets(line, sizeof(line), log))
		count += strstr(line, text) != NULL;
	return count;
}

/* However often a guest asks for what cannot be let through. */
static void test_warns_once(void **state)
{
	struct guest g = guest_new(1, RULES), h = guest_new(2, RULES);
	FILE *log = tmpfile();
	int stderr_fd = dup(STDERR_FILENO);

	(void)state;
	assert_true(log && stderr_fd >= 0);
	assert_true(dup2(fileno(log), STDERR_FILENO) >= 0);
	place.let_code = EBUSY;
	for (uint16_t i = 0; i < 5; i++) {
		ask(&g, i, "one.example", DNS_TYPE_A);
		serve(0, ADDR, 60);
		hear_rcode(&g, i, DNS_SERVFAIL, 0);
	}
	ask(&h, 1, "one.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&h, 1, DNS_SERVFAIL, 0);
	assert_true(dup2(stderr_fd, STDERR_FILENO) >= 0);
	fd_close(stderr_fd);
	assert_int_equal(lets(), 6);
	assert_int_equal(logged(log, "slot 1 is not told"), 1);
	assert_int_equal(logged(log, "slot 2 is not told"), 1);
	(void)fclose(log); /* was only read */
	fd_close(g.fd);
	fd_close(h.fd);
}

static void set_rules(uint32_t serial, const char *text)
{
	struct egress rules;

	assert_int_equal(egress_parse(text, &rules, NULL), 0);
	assert_int_equal(dns_rules(serial, &rules, NULL), 0);
	egress_done(&rules);
}

static void test_rules_change(void **state)
{
	struct guest g = guest_new(1, RULES);
	struct egress rules = EGRESS_DEFAULT;
	struct sockaddr_in from;

	(void)state;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	from = served(0);
	set_rules(1, "policy deny; allow-name two.example");
	answer(DNS_NOERROR);
	wire_a(&told, NULL, 60, ADDR);
	tell(0, &from);
	hear_rcode(&g, 1, DNS_NXDOMAIN, 0);
	assert_int_equal(lets(), 0);
	ask(&g, 2, "two.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 2, DNS_NOERROR, 1);
	assert_int_equal(dns_rules(1, NULL, NULL), 0);
	ask(&g, 3, "three.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 3, DNS_NOERROR, 1);
	assert_int_equal(lets(), 1);
	assert_int_equal(dns_rules(2, &rules, NULL), -ENOENT);
	fd_close(g.fd);
}

/* After a restart: what it may ask for has to be known before it is answered. */
static void test_rules_not_known(void **state)
{
	struct sockaddr_in at = loopback(1, 0), tcp_at = at;
	int udp = bound(SOCK_DGRAM, &at), tcp = bound(SOCK_STREAM, &tcp_at);
	struct guest g = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};

	(void)state;
	assert_int_equal(dns_add(1, udp, tcp, true, NULL), 0);
	assert_int_equal(connect(g.fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	ask(&g, 1, "two.example", DNS_TYPE_A);
	assert_false(readable(g.fd, 100) || readable(place.udp[0], 0));
	set_rules(1, RULES);
	hear_rcode(&g, 1, DNS_NXDOMAIN, 0);
	fd_close(g.fd);
}

static void test_upstream_says_no(void **state)
{
	struct guest g = guest_new(1, RULES);
	struct sockaddr_in from;

	(void)state;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NXDOMAIN);
	tell(0, &from);
	hear_rcode(&g, 1, DNS_NXDOMAIN, 0);
	ask(&g, 2, "one.example", DNS_TYPE_A);
	from = served(0);
	answer(DNS_NOERROR);
	tell(0, &from);
	hear_rcode(&g, 2, DNS_NOERROR, 0);
	assert_int_equal(lets(), 0);
	fd_close(g.fd);
}

static void say(const struct guest *g)
{
	assert_int_equal(send(g->fd, told.data, told.len, 0), told.len);
}

static void test_hostile_questions(void **state)
{
	struct guest g = guest_new(1, RULES);

	(void)state;
	/* These get no answer: what is heard next is that to the last. */
	assert_int_equal(send(g.fd, "", 0, 0), 0);
	assert_int_equal(send(g.fd, "xxxxxxxxxxx", 11, 0), 11);
	question(1, "one.example", DNS_TYPE_A);
	told.data[2] |= 0x80;
	say(&g);
	question(2, "one.example", DNS_TYPE_A);
	told.data[2] |= 0x28; /* an update */
	say(&g);
	hear_rcode(&g, 2, DNS_NOTIMP, 0);
	question(3, "one.example", DNS_TYPE_A);
	wire_question(&told, "two.example", DNS_TYPE_A);
	say(&g);
	hear_rcode(&g, 3, DNS_FORMERR, 0);
	question(4, "one.example", DNS_TYPE_A);
	told.data[told.len - 1] = 3; /* of another class */
	say(&g);
	hear_rcode(&g, 4, DNS_NOTIMP, 0);
	question(5, "one.example", 252); /* a transfer */
	say(&g);
	hear_rcode(&g, 5, DNS_NOTIMP, 0);
	question(6, "", DNS_TYPE_A);
	told.len = 12;
	wire_bytes(&told, "\300\14\0\1\0\1", 6); /* a name that is itself */
	say(&g);
	hear_rcode(&g, 6, DNS_FORMERR, 0);
	assert_false(readable(place.udp[0], 0));
	fd_close(g.fd);
}

/* Whoever asks over UDP gets what fits, and is told what does not. */
static void test_lengths(void **state)
{
	struct guest g = guest_new(1, NULL);

	(void)state;
	for (unsigned bytes = 512; bytes <= 1032; bytes += 520) {
		struct sockaddr_in from;
		size_t len;

		question(3, "any.example", DNS_TYPE_A);
		if (bytes > 512)
			wire_edns(&told, bytes, 0);
		say(&g);
		from = served(0);
		assert_int_equal(wire_at(asked.data, 10), bytes > 512); /* as it was asked */
		answer(DNS_NOERROR);
		for (uint32_t i = 0; i < 100; i++)
			wire_a(&told, NULL, 60, ADDR + i);
		tell(0, &from);
		len = hear(&g, 3);
		assert_true(len <= bytes && len > bytes - 30);
		assert_true(wire_is_cut(heard));
	}
	for (unsigned type = DNS_TYPE_A; type <= 16; type += 15) {
		struct sockaddr_in from;

		ask(&g, 4, "any.example", type);
		from = served(0);
		answer(DNS_NOERROR);
		told.data[2] |= 2;
		tell(0, &from);
		(void)hear(&g, 4);
		assert_true(wire_is_cut(heard)); /* as it came */
	}
	fd_close(g.fd);
}

/* ---- slots that come and go ------------------------------------------------------------------------ */

static void test_add_remove(void **state)
{
	struct guest g = guest_new(1, NULL);
	struct sockaddr_in at = loopback(1, 0), from;
	int udp = bound(SOCK_DGRAM, &at), tcp;

	(void)state;
	at.sin_port = 0;
	tcp = bound(SOCK_STREAM, &at);
	assert_int_equal(dns_add(1, udp, tcp, false, NULL), -EEXIST);
	assert_int_equal(fcntl(udp, F_GETFD), -1); /* taken all the same */
	assert_int_equal(fcntl(tcp, F_GETFD), -1);
	ask(&g, 1, "any.example", DNS_TYPE_A);
	from = served(0);
	dns_remove(2);
	assert_true(dns_serves(1));
	dns_remove(1);
	assert_false(dns_serves(1));
	at = g.udp;
	udp = bound(SOCK_DGRAM, &at); /* it is free */
	assert_true(udp >= 0);
	answer(DNS_NOERROR);
	(void)sendto(place.udp[0], told.data, told.len, 0, (const struct sockaddr *)&from,
		     sizeof(from)); /* nobody is there */
	dns_remove(1);
	assert_int_equal(dns_rules(1, NULL, NULL), -ENOENT);
	fd_close(udp);
	fd_close(g.fd);
}

/* As another thread may, at the worst time. */
static void test_remove_meanwhile(void **state)
{
	struct guest g = guest_new(1, RULES), other = guest_new(2, NULL);

	(void)state;
	place.in_let = dns_remove;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	ask(&other, 2, "any.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&other, 2, DNS_NOERROR, 1);
	assert_int_equal(lets(), 1);
	assert_false(readable(g.fd, 0) && recv(g.fd, heard, sizeof(heard), 0) >= 0);
	fd_close(g.fd);
	fd_close(other.fd);
}

static void reset(uint32_t serial)
{
	assert_int_equal(dns_reset(serial, NULL), 0);
}

static void test_reset(void **state)
{
	struct guest g = guest_new(1, RULES);
	struct sockaddr_in from;

	(void)state;
	ask(&g, 1, "one.example", DNS_TYPE_A);
	from = served(0);
	reset(1);
	answer(DNS_NOERROR);
	wire_a(&told, NULL, 60, ADDR);
	(void)sendto(place.udp[0], told.data, told.len, 0, (const struct sockaddr *)&from,
		     sizeof(from));            /* nobody is there */
	ask(&g, 2, "two.example", DNS_TYPE_A); /* by the defaults */
	serve(0, ADDR, 60);
	hear_rcode(&g, 2, DNS_NOERROR, 1);
	set_rules(1, RULES);
	place.in_let = reset;
	ask(&g, 3, "one.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	assert_int_equal(sem_wait(&place.was_let), 0);
	ask(&g, 4, "two.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 4, DNS_NOERROR, 1); /* the one before was not for this guest */
	assert_int_equal(lets(), 1);
	assert_int_equal(dns_reset(7, NULL), -ENOENT);
	fd_close(g.fd);
}

static void test_start_again(void **state)
{
	struct guest g = guest_new(1, NULL);
	struct sockaddr_in at = g.udp;
	int udp;

	(void)state;
	ask(&g, 1, "any.example", DNS_TYPE_A);
	(void)served(0);
	place_start(LONG_MS, LONG_MS); /* runs already */
	dns_done();
	dns_done();
	udp = bound(SOCK_DGRAM, &at);
	assert_true(udp >= 0);
	assert_int_equal(dns_add(1, udp, dup(udp), false, NULL), -EIO);
	fd_close(g.fd);
	place_start(LONG_MS, LONG_MS);
	g = guest_new(1, NULL);
	ask(&g, 1, "any.example", DNS_TYPE_A);
	serve(0, ADDR, 60);
	hear_rcode(&g, 1, DNS_NOERROR, 1);
	fd_close(g.fd);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_policy_allow),
		EACH(test_policy_allow_name),
		EACH(test_policy_deny),
		EACH(test_many_addrs),
		EACH(test_any),
		EACH(test_warns_once),
		EACH(test_chain),
		EACH(test_no_ipv6),
		EACH(test_other_types),
		EACH(test_rebinding),
		EACH(test_not_let),
		EACH(test_rules_change),
		EACH(test_rules_not_known),
		EACH(test_upstream_says_no),
		EACH(test_hostile_questions),
		EACH(test_lengths),
		EACH(test_add_remove),
		EACH(test_remove_meanwhile),
		EACH(test_reset),
		EACH(test_start_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
