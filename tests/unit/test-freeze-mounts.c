// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-freeze-mounts.c - which file systems the agent would hold */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The agent is no library; this file of it is small and alone. Nothing here holds anything. */
#include "agent/freeze-mounts.c"

/* A line as text; the result points into it. */
static bool parse(const char *text, char line[512], struct mount_line *ret)
{
	(void)snprintf(line, 512, "%s", text);
	return mount_parse(line, ret);
}

static void test_lines(void **state)
{
	struct mount_line m;
	char line[512];

	(void)state;
	assert_true(parse("22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n", line, &m));
	assert_int_equal(m.dev, makedev(254, 0));
	assert_string_equal(m.path, "/");
	assert_string_equal(m.source, "/dev/vda");
	assert_true(m.writable);
	/* A read-only mount of a file system that others write to, and no optional field. */
	assert_true(parse("30 22 254:0 /a /b ro - ext4 /dev/vda rw,errors=continue", line, &m));
	assert_true(m.writable);
	assert_true(parse(
		"31 22 7:0 / /cd ro,relatime master:2 propagate_from:3 - iso9660 /dev/loop0 ro",
		line, &m));
	assert_false(m.writable);
	assert_true(parse("32 22 0:40 / /a\\040b\\134c rw - tmpfs none rwx", line, &m));
	assert_string_equal(m.path, "/a b\\c");
	assert_false(m.writable);
}

static void test_bad_lines(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"22 1 254:0 / / rw,relatime shared:1",
		"22 1 254:0 / / rw -",
		"-",
		"22 1 254:0 / / rw - ext4 /dev/vda",
		"22 1 x / / rw - ext4 /dev/vda rw",
	};
	struct mount_line m;
	char line[512];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(parse(bad[i], line, &m));
}

static void test_not_on_disk(void **state)
{
	char path[] = "/", source[] = "none";
	struct mount_line m = {
		.dev = makedev(0, 40), .path = path, .source = source, .writable = true};
	struct freeze_set s = {.count = 0};
	struct err e = {0};

	(void)state;
	assert_int_equal(add_mount(&s, &m, &e), 0);
	assert_int_equal(s.count, 0);
	/* What is mounted there now is something else: another mount covers that one. */
	m.dev = makedev(4095, 1);
	assert_int_equal(add_mount(&s, &m, &e), 0);
	assert_int_equal(s.count, 0);
	assert_int_equal(freeze_hold(&s, &e), -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_not_on_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
