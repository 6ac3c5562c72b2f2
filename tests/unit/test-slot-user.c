/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-slot-user.c - slots for the VMM's user-mode network */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "net/driver.h"

static const struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};

static int listen_on(const char *addr)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(SLOT_AGENT_PORT)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	assert_int_equal(inet_pton(AF_INET, addr, &sin.sin_addr), 1);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void test_listed(void **state)
{
	size_t n = 0;

	(void)state;
	assert_string_equal(slot_drivers[0]->name, "netns");
	while (slot_drivers[n])
		n++;
	assert_ptr_equal(slot_drivers[n - 1], &slot_user);
	assert_true(slot_user.is_user);
	assert_false(slot_netns.is_user);
}

static void test_up(void **state)
{
	struct err e = {.code = 0};
	char why[100];
	uint32_t total = 0;
	struct slot s;

	(void)state;
	assert_int_equal(slot_user.probe(why, sizeof(why), &e), 0);
	assert_int_equal(slot_user.init("abcd", "", &total, &e), 0);
	assert_int_equal(total, 16384);
	assert_int_equal(slot_user.up(5000, 77, &never, &s, &e), 0);
	assert_int_equal(s.index, 5000);
	assert_int_equal(s.serial, 77);
	assert_string_equal(s.host_ip, "127.83.19.137");
	assert_string_equal(s.agent_addr, s.host_ip);
	assert_int_equal(s.agent_port, 49983);
	assert_string_equal(s.guest_ip, "10.0.2.15");
	assert_int_equal(s.guest_prefix, 24);
	assert_string_equal(s.gateway, "10.0.2.2");
	assert_string_equal(s.dns, "10.0.2.3");
	assert_string_equal(s.mac, "02:fc:00:00:00:05");
	assert_string_equal(s.netns, "");
	assert_string_equal(s.link, "");
	assert_int_equal(s.netns_fd, -1);
	assert_int_equal(s.tap_fd, -1);
	assert_int_equal(slot_user.down(&s, &never, &e), 0);
	slot_user.done();
}

/* The address is free again after up(), as the VMM needs it, and one that is in use is passed over. */
static void test_taken(void **state)
{
	struct err e = {.code = 0};
	struct slot s;
	AUTO_FD fd = -1;

	(void)state;
	assert_int_equal(slot_user.up(5001, 78, &never, &s, &e), 0);
	fd = listen_on(s.agent_addr);
	assert_int_equal(slot_user.up(5001, 79, &never, &s, &e), -EADDRINUSE);
	assert_int_equal(e.code, EADDRINUSE);
	assert_non_null(strstr(e.text, "127.83.19.138"));
	assert_int_equal(slot_user.up(5002, 79, &never, &s, &e), 0);
}

static void test_bounds(void **state)
{
	struct err e = {.code = 0};
	struct slot s = {.index = 16384};

	(void)state;
	assert_true(slot_user.up(16384, 1, &never, &s, &e) < 0);
	assert_false(slot_user.alive(&s));
	s = (struct slot){.index = 16383, .serial = 9};
	assert_true(slot_user.alive(&s));
	assert_string_equal(s.host_ip, "127.83.64.0");
	assert_int_equal(s.serial, 9);
	assert_int_equal(s.tap_fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listed),
		cmocka_unit_test(test_up),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
