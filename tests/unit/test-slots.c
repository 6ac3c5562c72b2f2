/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-slots.c - slots are taken once, rest before they come again, and run out */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "ops/slots.h"

enum { TOTAL = 8, ROUNDS = 5000 };

static void test_take(void **state)
{
	uint32_t index;
	struct err e = {0};

	(void)state;
	slots_init(TOTAL, 0);
	for (uint32_t i = 0; i < TOTAL; i++) {
		assert_int_equal(slots_take(&index, &e), 0);
		assert_int_equal(index, i);
	}
	assert_int_equal(slots_take(&index, &e), -ENOSPC);
	assert_int_equal(slots_used(), TOTAL);
	slots_put(3);
	slots_put(3); /* twice is once */
	slots_put(TOTAL + 1);
	assert_int_equal(slots_used(), TOTAL - 1);
	assert_int_equal(slots_take_this(4), -EBUSY);
	assert_int_equal(slots_take_this(TOTAL), -EBUSY);
	assert_int_equal(slots_take_this(3), 0);
	for (uint32_t i = 0; i < TOTAL; i++)
		slots_put(i);
	assert_int_equal(slots_used(), 0);
}

static void test_rest(void **state)
{
	uint32_t first, second;
	struct err e = {0};

	(void)state;
	assert_int_equal(slots_take(&first, &e), 0);
	slots_put(first);
	assert_int_equal(slots_take(&second, &e), 0);
	assert_true(first != second);
	slots_put(second);
}

static atomic_int owners[TOTAL], collisions;

static void *taker(void *arg)
{
	uint32_t index;

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if (slots_take(&index, NULL) < 0)
			continue;
		if (atomic_fetch_add(&owners[index], 1) != 0)
			atomic_fetch_add(&collisions, 1);
		atomic_fetch_sub(&owners[index], 1);
		slots_put(index);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, taker, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(collisions, 0);
	assert_int_equal(slots_used(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
