/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-boot.c - the sbxfs.* words of the kernel's command line */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The agent is no library; this file of it is small and alone. */
#include "agent/boot-cmdline.c"

static struct boot_args parse_ok(const char *text)
{
	struct boot_args a;
	struct err e = {0};

	if (boot_cmdline_parse(text, &a, &e) != 0)
		fail_msg("'%s': %s", text, e.text);
	return a;
}

static void test_defaults(void **state)
{
	const struct boot_args a = parse_ok("console=ttyS0 quiet panic=-1\n");

	(void)state;
	assert_string_equal(a.root, "/dev/vda");
	assert_string_equal(a.init, "");
	assert_string_equal(a.host, "");
	assert_false(a.has_ip);
	assert_false(a.has_gw);
	assert_false(a.has_dns);
}

static void test_all(void **state)
{
	const struct boot_args a =
		parse_ok("quiet sbxfs.ip=10.1.2.3/30 sbxfs.gw=10.1.2.1\tsbxfs.dns=1.1.1.1 "
			 "sbxfs.host=box-1 sbxfs.root=/dev/vdb sbxfs.init=/sbin/init x");

	(void)state;
	assert_true(a.has_ip);
	assert_int_equal(ntohl(a.ip.s_addr), 0x0a010203);
	assert_int_equal(a.prefix, 30);
	assert_int_equal(ntohl(a.gw.s_addr), 0x0a010201);
	assert_int_equal(ntohl(a.dns.s_addr), 0x01010101);
	assert_string_equal(a.host, "box-1");
	assert_string_equal(a.root, "/dev/vdb");
	assert_string_equal(a.init, "/sbin/init");
}

static void test_last_wins(void **state)
{
	const struct boot_args a =
		parse_ok("sbxfs.init=/sbin/init sbxfs.host=a sbxfs.host=b sbxfs.init=agent");

	(void)state;
	assert_string_equal(a.host, "b");
	assert_string_equal(a.init, "");
}

static void test_prefix_ends(void **state)
{
	(void)state;
	assert_int_equal(parse_ok("sbxfs.ip=10.0.0.1/0").prefix, 0);
	assert_int_equal(parse_ok("sbxfs.ip=10.0.0.1/32").prefix, 32);
	/* Others' words that only look alike. */
	assert_false(parse_ok("xsbxfs.ip=1 sbxfs").has_ip);
}

static void test_refused(void **state)
{
	char long_host[sizeof("sbxfs.host=") + BOOT_HOST_SIZE];
	/* clang-format off */
	const char *const bad[] = {
		"sbxfs.ip=10.0.0.1", "sbxfs.ip=10.0.0.1/33", "sbxfs.ip=10.0.0.1/", "sbxfs.ip=10.0.0/8",
		"sbxfs.ip=/24", "sbxfs.ip=10.0.0.1/2x", "sbxfs.ip=10.0.0.1/-1", "sbxfs.ip=", "sbxfs.ip",
		"sbxfs.ip=fe80::1/64", "sbxfs.gw=10.0.0.256", "sbxfs.gw=", "sbxfs.dns=name", "sbxfs.dns=1.1.1.1.1111111111",
		"sbxfs.host=", "sbxfs.host=a/b", "sbxfs.host=\x7f", "sbxfs.root=vda", "sbxfs.root=",
		"sbxfs.init=init", "sbxfs.init=", "sbxfs.", "sbxfs.=", "sbxfs.nothing=1", "sbxfs.i=1",
		"sbxfs.ipx=1", long_host,
	};
	/* clang-format on */

	(void)state;
	strcpy(long_host, "sbxfs.host=");
	memset(long_host + strlen("sbxfs.host="), 'h', BOOT_HOST_SIZE);
	long_host[sizeof(long_host) - 1] = '\0';
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct boot_args a;
		struct err e = {0};

		if (boot_cmdline_parse(bad[i], &a, &e) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(e.code, EINVAL);
		assert_string_not_equal(e.text, "");
	}
	long_host[sizeof(long_host) - 2] = '\0';
	assert_int_equal(strlen(parse_ok(long_host).host), BOOT_HOST_SIZE - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),  cmocka_unit_test(test_all),
		cmocka_unit_test(test_last_wins), cmocka_unit_test(test_prefix_ends),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
