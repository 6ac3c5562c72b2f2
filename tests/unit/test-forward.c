/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-forward.c - forwards as text, and which are in each other's way */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/forward.h"

static struct forward of(const char *text)
{
	struct forward f = {.host_port = 0};
	struct err e = {.code = 0};

	assert_int_equal(forward_parse(text, &f, &e), 0);
	assert_int_equal(e.code, 0);
	return f;
}

static void test_parse(void **state)
{
	struct forward f = of("8080:80");

	(void)state;
	assert_int_equal(f.host_addr, 0);
	assert_int_equal(f.host_port, 8080);
	assert_int_equal(f.guest_port, 80);
	assert_false(f.is_udp);
	f = of("127.0.0.1:65535:1/udp");
	assert_int_equal(f.host_addr, 0x7f000001);
	assert_int_equal(f.host_port, 65535);
	assert_int_equal(f.guest_port, 1);
	assert_true(f.is_udp);
	assert_false(of("53:53/tcp").is_udp);
	assert_int_equal(of("0.0.0.0:1:2").host_addr, 0);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"80",
		"8080:",
		":80",
		"8080:80:90",
		"0:80",
		"80:0",
		"65536:80",
		"80:65536",
		"80:80/sctp",
		"80:80/",
		"80/tcp:80",
		"a:80",
		"1.2.3:80:80",
		"1.2.3.4:80",
		"::1:80:80",
		"1.2.3.4::80",
		" 80:80",
		"80:80 ",
		"+80:80",
		"-1:80",
		"80:80/udp/udp",
		"256.0.0.1:80:80",
		"1:2:3:4",
		"1.2.3.4:1:2:3",
		"000000000000000000000000000000000000000000000000000000000000008080:80"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct forward f = {.host_port = 7};
		struct err e = {.code = 0};

		assert_int_equal(forward_parse(bad[i], &f, &e), -EINVAL);
		assert_int_equal(e.code, EINVAL);
		assert_non_null(strstr(e.text, "HOSTPORT:GUESTPORT"));
		assert_int_equal(f.host_port, 7);
	}
}

static void test_place(void **state)
{
	struct forward f = {.host_port = 0};
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(forward_parse_place("10.0.0.1:53/udp", &f, NULL), 0);
	assert_int_equal(f.host_addr, 0x0a000001);
	assert_int_equal(f.host_port, 53);
	assert_int_equal(f.guest_port, 0);
	assert_true(f.is_udp);
	forward_render_place(&f, &b);
	assert_string_equal(buf_text(&b), "UDP port 53 of 10.0.0.1");
	assert_int_equal(forward_parse_place("8080", &f, NULL), 0);
	buf_reset(&b);
	forward_render_place(&f, &b);
	assert_string_equal(buf_text(&b), "port 8080");
	assert_int_equal(forward_parse_place("8080:80", &f, NULL), -EINVAL);
	assert_int_equal(forward_parse_place("8080/", &f, NULL), -EINVAL);
	buf_done(&b);
}

static void test_render(void **state)
{
	static const char *const text[] = {"8080:80/tcp", "127.0.0.1:53:5353/udp"};
	struct buf b = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		struct forward f = of(text[i]);

		buf_reset(&b);
		forward_render(&f, &b);
		assert_string_equal(buf_text(&b), text[i]);
	}
	buf_done(&b);
}

static bool clash(const char *a, const char *b)
{
	struct forward x = of(a), y = of(b);

	assert_int_equal(forward_clashes(&x, &y), forward_clashes(&y, &x));
	return forward_clashes(&x, &y);
}

static void test_clashes(void **state)
{
	struct forward all = of("80:80"), one = of("127.0.0.1:80:80"), other = of("80:81");

	(void)state;
	assert_true(clash("80:80", "80:81"));
	assert_true(clash("80:80", "127.0.0.1:80:80"));
	assert_true(clash("127.0.0.1:80:80", "127.0.0.1:80:81"));
	assert_false(clash("127.0.0.1:80:80", "127.0.0.2:80:80"));
	assert_false(clash("80:80", "81:80"));
	assert_false(clash("80:80", "80:80/udp"));
	assert_true(forward_same_place(&all, &other));
	assert_false(forward_same_place(&all, &one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),   cmocka_unit_test(test_refused),
		cmocka_unit_test(test_place),   cmocka_unit_test(test_render),
		cmocka_unit_test(test_clashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
