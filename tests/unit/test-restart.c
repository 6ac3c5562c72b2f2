// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-restart.c - when a sandbox that ended by itself is started again */
#include "ops/restart.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct restart_policy crash = {
	.when = RESTART_ON_FAILURE, .delay_ms = 1000, .delay_max_ms = 60000};

static void test_words(void **state)
{
	enum restart_when when = RESTART_NO;

	(void)state;
	for (int i = 0; i < RESTART_WHEN_COUNT; i++) {
		assert_int_equal(restart_when_parse(restart_words[i], &when), 0);
		assert_int_equal(when, i);
	}
	assert_int_equal(restart_when_parse("sometimes", &when), -EINVAL);
	assert_int_equal(restart_when_parse("", &when), -EINVAL);
}

static void test_when(void **state)
{
	struct restart_policy p = crash;

	(void)state;
	assert_true(restart_delay_ms(&p, true, 0, 0) > 0);
	assert_int_equal(restart_delay_ms(&p, false, 0, 0), -1);
	p.when = RESTART_ALWAYS;
	assert_true(restart_delay_ms(&p, true, 0, 0) > 0);
	assert_true(restart_delay_ms(&p, false, 0, 0) > 0);
	p.when = RESTART_NO;
	assert_int_equal(restart_delay_ms(&p, true, 0, 0), -1);
	assert_int_equal(restart_delay_ms(&p, false, 0, 0), -1);
}

static void test_max(void **state)
{
	struct restart_policy p = crash;

	(void)state;
	p.max = 3;
	for (uint64_t tries = 0; tries < 3; tries++)
		assert_true(restart_delay_ms(&p, true, tries, 0) > 0);
	assert_int_equal(restart_delay_ms(&p, true, 3, 0), -1);
	assert_int_equal(restart_delay_ms(&p, true, UINT64_MAX, 0), -1);
}

/* Twice as long each time, up to the longest, a fifth more or less. */
static void test_delay(void **state)
{
	uint64_t plain = 1000;

	(void)state;
	for (uint64_t tries = 0; tries < 70; tries++) {
		int64_t low = INT64_MAX, high = 0;

		for (uint32_t random = 0; random < 100000; random += 7) {
			int64_t ms = restart_delay_ms(&crash, true, tries, random);

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		assert_in_range((uint64_t)low, plain * 4 / 5, plain * 41 / 50);
		assert_in_range((uint64_t)high, plain * 59 / 50, plain * 6 / 5);
		plain = plain * 2 < 60000 ? plain * 2 : 60000;
	}
	assert_in_range((uint64_t)restart_delay_ms(&crash, true, UINT64_MAX, 0), 48000, 48000);
}

static void test_no_delay(void **state)
{
	const struct restart_policy p = {.when = RESTART_ALWAYS};

	(void)state;
	for (uint64_t tries = 0; tries < 100; tries++)
		assert_int_equal(restart_delay_ms(&p, true, tries, 12345), 0);
}

static void test_good_run(void **state)
{
	const struct restart_policy none = {.when = RESTART_ALWAYS};

	(void)state;
	assert_false(restart_is_good_run(&crash, 0));
	assert_false(restart_is_good_run(&crash, -5));
	assert_false(restart_is_good_run(&crash, 60000));
	assert_true(restart_is_good_run(&crash, 60001));
	assert_true(restart_is_good_run(&none, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),    cmocka_unit_test(test_when),
		cmocka_unit_test(test_max),      cmocka_unit_test(test_delay),
		cmocka_unit_test(test_no_delay), cmocka_unit_test(test_good_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
