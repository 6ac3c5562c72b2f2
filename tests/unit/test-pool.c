/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-pool.c - address arithmetic, choice of a block, names */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/name.h"
#include "net/pool.h"

static struct addr_range range(const char *text, unsigned prefix)
{
	uint32_t addr = 0;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr_range_of(addr, prefix);
}

static const char *text_of(uint32_t addr)
{
	static char text[SLOT_ADDR_SIZE];

	return addr_text(addr, text);
}

static void test_overlap(void **state)
{
	(void)state;
	assert_true(addr_range_overlaps(range("10.0.0.0", 8), range("10.11.0.0", 16)));
	assert_true(addr_range_overlaps(range("10.11.0.0", 16), range("10.0.0.0", 8)));
	assert_true(addr_range_overlaps(range("10.11.255.255", 32), range("10.11.0.0", 16)));
	assert_false(addr_range_overlaps(range("10.12.0.0", 32), range("10.11.0.0", 16)));
	assert_false(addr_range_overlaps(range("10.10.255.255", 32), range("10.11.0.0", 16)));
	assert_true(addr_range_overlaps(range("1.2.3.4", 0), range("10.11.0.0", 16)));
	assert_int_equal(addr_range_of(0x0a0b0c0d, 16).addr, 0x0a0b0000);
}

static void test_closed(void **state)
{
	static const char *const closed[] = {"10.0.0.1",        "172.16.0.1", "172.31.255.255",
					     "192.168.1.1",     "100.64.0.1", "100.127.255.255",
					     "169.254.169.254", "198.19.0.1"};
	static const char *const open[] = {"9.255.255.255", "11.0.0.0",    "172.15.0.1",
					   "172.32.0.1",    "192.169.0.1", "100.128.0.1",
					   "8.8.8.8",       "198.51.100.1"};
	uint32_t addr = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
		assert_int_equal(addr_parse(closed[i], &addr), 0);
		assert_true(addr_is_closed(addr));
	}
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		assert_int_equal(addr_parse(open[i], &addr), 0);
		assert_false(addr_is_closed(addr));
	}
}

static void test_first_block(void **state)
{
	struct pool p;

	(void)state;
	assert_int_equal(pool_find(NULL, 0, &p), 0);
	assert_string_equal(text_of(p.block.addr), "10.11.0.0");
	assert_int_equal(p.total, 16384);
	assert_string_equal(text_of(pool_guest(&p, 0)), "10.11.0.1");
	assert_string_equal(text_of(pool_guest(&p, 255)), "10.11.1.0");
	assert_string_equal(text_of(pool_outer(&p, 0)), "10.11.128.0");
	assert_string_equal(text_of(pool_inner(&p, 0)), "10.11.128.1");
	assert_string_equal(text_of(pool_inner(&p, p.total - 1)), "10.11.255.255");
}

/* No two slots share an address, and all are in the block: in the largest and in a small one. */
static void check_apart(struct pool p)
{
	uint32_t last_guest = pool_guest(&p, p.total - 1);

	assert_true(last_guest < pool_outer(&p, 0));
	assert_true(addr_range_overlaps(p.block, addr_range_of(pool_inner(&p, p.total - 1), 32)));
	for (uint32_t i = 0; i < p.total; i++) {
		assert_int_equal(pool_guest(&p, i), p.block.addr + 1 + i);
		assert_int_equal(pool_outer(&p, i) % 2, 0);
		assert_int_equal(pool_inner(&p, i), pool_outer(&p, i) + 1);
		if (i)
			assert_int_equal(pool_outer(&p, i), pool_inner(&p, i - 1) + 1);
	}
}

static void test_apart(void **state)
{
	(void)state;
	check_apart(pool_in(range("10.11.0.0", 16)));
	check_apart(pool_in(range("192.168.192.0", 20)));
	assert_int_equal(pool_in(range("192.168.192.0", 20)).total, 1024);
}

static void test_skips_used(void **state)
{
	struct addr_range used[] = {range("10.11.7.0", 24), range("10.12.0.0", 16)};
	struct addr_range all_of_10[] = {range("10.0.0.0", 8)};
	struct addr_range everything[] = {range("0.0.0.0", 0)};
	struct pool p;

	(void)state;
	assert_int_equal(pool_find(used, 2, &p), 0);
	assert_string_equal(text_of(p.block.addr), "10.13.0.0");
	assert_int_equal(pool_find(all_of_10, 1, &p), 0);
	assert_string_equal(text_of(p.block.addr), "100.83.0.0");
	assert_int_equal(pool_find(everything, 1, &p), -EADDRINUSE);
}

/* What slots use is closed to guests, whichever block it is. */
static void test_blocks_are_closed(void **state)
{
	struct addr_range used[64];
	size_t n = 0;
	struct pool p;

	(void)state;
	while (n < 64 && pool_find(used, n, &p) == 0) {
		assert_true(addr_is_closed(p.block.addr));
		assert_true(addr_is_closed(pool_inner(&p, p.total - 1)));
		used[n++] = p.block;
	}
	assert_true(n > 40);
}

static void test_names(void **state)
{
	static const char *const foreign[] = {
		"sbxabcd", "sbxabcd01", "sbxabcd-1",      "sbxabcdA",  "sbxabce1",
		"sbabcd1", "xsbxabcd1", "sbxabcd1z141z4", "sbxabcd1 ", ""};
	static const uint32_t serials[] = {0, 1, 35, 36, 1295, 1296, 123456789, UINT32_MAX};
	char name[SLOT_NAME_SIZE];
	char alias[ALIAS_SIZE];
	uint32_t serial = 0;

	(void)state;
	assert_string_equal(slot_name("abcd", 37, name), "sbxabcd11");
	assert_string_equal(slot_name("abcd", UINT32_MAX, name), "sbxabcd1z141z3");
	assert_string_equal(slot_alias("a2b7", UINT32_MAX, alias), "sbxfs/a2b7/4294967295");
	for (size_t i = 0; i < sizeof(serials) / sizeof(serials[0]); i++) {
		assert_true(slot_name_parse("abcd", slot_name("abcd", serials[i], name), &serial));
		assert_int_equal(serial, serials[i]);
	}
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		assert_false(slot_name_parse("abcd", foreign[i], &serial));
}

static void test_instance(void **state)
{
	(void)state;
	assert_true(instance_is_valid("a2z7"));
	assert_false(instance_is_valid("a1z7"));
	assert_false(instance_is_valid("abc"));
	assert_false(instance_is_valid("abcde"));
	assert_int_equal(instance_bits("aaaa"), 0);
	assert_int_equal(instance_bits("7777"), 0xfffff);
	assert_int_not_equal(instance_bits("abcd"), instance_bits("abdc"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlap),     cmocka_unit_test(test_closed),
		cmocka_unit_test(test_first_block), cmocka_unit_test(test_apart),
		cmocka_unit_test(test_skips_used),  cmocka_unit_test(test_blocks_are_closed),
		cmocka_unit_test(test_names),       cmocka_unit_test(test_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
