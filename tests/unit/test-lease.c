/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-lease.c - until when addresses may be sent to under names, and how much a slot may ask for */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/lease.h"

#define A UINT64_C(0xa000000000000001)
#define B UINT64_C(0xb000000000000001)

enum {
	NOW = 1000000,
	LONG = 1000000000,
};

static struct leases l = LEASES_NONE;

static int setup(void **state)
{
	(void)state;
	leases_done(&l);
	return 0;
}

/* Let @count through under @name, from @addr on, as slowly as it takes. */
static int64_t fill(uint64_t name, uint32_t addr, uint32_t count, int64_t now, int64_t until)
{
	for (uint32_t i = 0; i < count; i++) {
		now += 1000 / LEASE_PER_SEC + 1;
		assert_int_equal(leases_take(&l, 1, 1, now, NULL), 0);
		lease_set(&l, name, addr + i, until);
	}
	return now;
}

static void test_until(void **state)
{
	(void)state;
	assert_int_equal(lease_until(&l, A, 1, NOW), 0);
	assert_int_equal(leases_take(&l, 3, 3, NOW, NULL), 0);
	lease_set(&l, A, 1, NOW + 10);
	lease_set(&l, A, 2, NOW + 20);
	lease_set(&l, B, 1, NOW + 30);
	assert_int_equal(lease_until(&l, A, 1, NOW), NOW + 10);
	assert_int_equal(lease_until(&l, A, 2, NOW), NOW + 20);
	assert_int_equal(lease_until(&l, B, 1, NOW), NOW + 30);
	assert_int_equal(lease_until(&l, B, 2, NOW), 0);
	assert_int_equal(lease_until(&l, A, 1, NOW + 10), 0); /* over */
	assert_int_equal(leases_take(&l, 1, 1, NOW + 10, NULL), 0);
	lease_set(&l, A, 1, NOW + 50);
	assert_int_equal(lease_until(&l, A, 1, NOW + 10), NOW + 50);
	assert_int_equal(l.count, 3);
}

/* Whatever one slot asks for, so much and no more is done for it. */
static void test_speed(void **state)
{
	struct err e = {.code = 0};
	int64_t now = NOW;
	int taken = 0;

	(void)state;
	assert_int_equal(leases_take(&l, LEASE_BURST + 1, 0, now, &e), -EBUSY);
	for (int i = 0; i < 2 * LEASE_BURST; i++)
		taken += leases_take(&l, 1, 1, now, NULL) == 0;
	assert_int_equal(taken, LEASE_BURST);
	assert_int_equal(leases_take(&l, 1, 0, now, NULL), -EBUSY);
	assert_int_equal(leases_take(&l, 0, 0, now, NULL), 0);
	for (taken = 0; now < NOW + 10000; now++)
		taken += leases_take(&l, 1, 0, now, NULL) == 0;
	assert_in_range(taken, 10 * LEASE_PER_SEC - 1, 10 * LEASE_PER_SEC);
	/* It does not save up more than at first. */
	assert_int_equal(leases_take(&l, LEASE_BURST, 0, now + LONG, NULL), 0);
	assert_int_equal(leases_take(&l, 1, 0, now + LONG, NULL), -EBUSY);
}

static void test_total(void **state)
{
	int64_t now = NOW;

	(void)state;
	now = fill(A, 1, LEASES_MAX / 2, now, LONG);
	now = fill(B, 1, LEASES_MAX / 2, now, LONG + 1000);
	assert_true(now < LONG);
	now += LEASE_BURST * 1000; /* it may do everything at once again */
	assert_int_equal(leases_take(&l, 1, 1, now, NULL), -ENOSPC);
	assert_int_equal(leases_take(&l, 2, 0, now, NULL), 0); /* known ones go on */
	lease_set(&l, A, 7, LONG + 500);
	for (uint32_t i = 1; i <= LEASES_MAX / 2; i++) {
		assert_int_equal(lease_until(&l, A, i, now), i == 7 ? LONG + 500 : LONG);
		assert_int_equal(lease_until(&l, B, i, now), LONG + 1000);
	}
	/* What is over makes room. */
	assert_int_equal(leases_take(&l, 9, 9, LONG, NULL), 0);
	assert_int_equal(l.count, LEASES_MAX / 2 + 1);
	assert_int_equal(lease_until(&l, A, 7, LONG), LONG + 500);
	for (uint32_t i = 1; i <= LEASES_MAX / 2; i++)
		assert_int_equal(lease_until(&l, B, i, LONG), LONG + 1000);
}

static void test_reduce(void **state)
{
	static const uint64_t names[] = {7, A, B - 1, B, UINT64_MAX};

	(void)state;
	(void)fill(A, 1, 100, NOW, LONG);
	(void)fill(B, 1, 100, NOW + LONG, 2 * (int64_t)LONG);
	leases_reduce(&l, names, 5);
	assert_int_equal(l.count, 200);
	leases_reduce(&l, names, 3);
	assert_int_equal(l.count, 100);
	assert_int_equal(lease_until(&l, A, 100, NOW), LONG);
	assert_int_equal(lease_until(&l, B, 100, NOW), 0);
	leases_reduce(&l, names, 0);
	assert_int_equal(l.count, 0);
	assert_int_equal(lease_until(&l, A, 1, NOW), 0);
	leases_reduce(&l, names, 5);
	(void)fill(B, 1, 100, NOW + 3 * (int64_t)LONG, 4 * (int64_t)LONG);
	assert_int_equal(lease_until(&l, B, 1, NOW), 4 * (int64_t)LONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_until, setup, setup),
		cmocka_unit_test_setup_teardown(test_speed, setup, setup),
		cmocka_unit_test_setup_teardown(test_total, setup, setup),
		cmocka_unit_test_setup_teardown(test_reduce, setup, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
