/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-deadline.c - deadlines: time, cancel, both with poll */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/deadline.h"

static void signal_fd(int fd)
{
	assert_int_equal(eventfd_write(fd, 1), 0);
}

static void test_left(void **state)
{
	struct deadline d = deadline_in(10000, -1), near, never = deadline_in(INT64_MAX, -1);
	int left = deadline_left_ms(&d);

	(void)state;
	assert_true(left > 9000 && left <= 10000);
	near = deadline_within(&d, 50);
	assert_true(deadline_left_ms(&near) <= 50);
	near = deadline_within(&d, 60000);
	assert_true(near.at_ms == d.at_ms);
	assert_int_equal(deadline_left_ms(&never), -1);
	d = deadline_in((int64_t)INT_MAX * 4, -1);
	assert_int_equal(deadline_left_ms(&d), INT_MAX);
	d = deadline_in(0, -1);
	assert_int_equal(deadline_left_ms(&d), 0);
	d = deadline_in(-5, -1);
	assert_int_equal(deadline_left_ms(&d), 0);
}

static void test_timeout(void **state)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t before = clock_ms();
	struct deadline d = deadline_in(50, -1);

	(void)state;
	assert_int_equal(deadline_poll(&d, &p, 1), -ETIMEDOUT);
	assert_true(clock_ms() - before >= 50);
	assert_int_equal(deadline_poll(&d, NULL, 0), -ETIMEDOUT);
}

static void test_event(void **state)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC);
	struct pollfd p[] = {{.fd = -1, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	struct deadline d = deadline_in(0, -1);

	(void)state;
	signal_fd(fd);
	assert_int_equal(deadline_poll(&d, p, 2), 1);
	assert_int_equal(p[0].revents, 0);
	assert_int_equal(p[1].revents, POLLIN);
}

static void test_cancel(void **state)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC);
	AUTO_FD cancel = eventfd(0, EFD_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct deadline d = deadline_in(INT64_MAX, cancel);

	(void)state;
	assert_false(deadline_cancelled(&d));
	signal_fd(cancel);
	assert_true(deadline_cancelled(&d));
	assert_int_equal(deadline_poll(&d, &p, 1), -ECANCELED);
	signal_fd(fd); /* a busy stream does not hide a cancel */
	assert_int_equal(deadline_poll(&d, &p, 1), -ECANCELED);
	assert_true(deadline_cancelled(&d));
	d = deadline_in(0, -1);
	assert_false(deadline_cancelled(&d));
}

static void test_too_many(void **state)
{
	struct pollfd p[8] = {{0}};
	struct deadline d = deadline_in(0, -1);

	(void)state;
	assert_int_equal(deadline_poll(&d, p, 8), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_left),     cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_event),    cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
