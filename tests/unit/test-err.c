/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-err.c - errors: text, context, names */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

static void test_set(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, EBUSY, "%s is frozen", "one"), -EBUSY);
	assert_int_equal(e.code, EBUSY);
	assert_string_equal(e.text, "one is frozen");
	assert_int_equal(err_set(NULL, EIO, "unseen"), -EIO);
	/* The old text may be an argument. */
	assert_int_equal(err_set(&e, EIO, "again: %s", e.text), -EIO);
	assert_string_equal(e.text, "again: one is frozen");
}

static void test_wrap(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, ENOSPC, "disk full");
	assert_int_equal(err_wrap(&e, "start %s", "a"), -ENOSPC);
	assert_string_equal(e.text, "start a: disk full");
	assert_int_equal(err_wrap(NULL, "x"), -EIO);
}

static void test_sys(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_sys(&e, ENOENT, "cannot open %s", "/x"), -ENOENT);
	assert_string_equal(e.text, "cannot open /x: No such file or directory");
	assert_int_equal(err_sys(&e, 4000, "odd"), -4000);
	assert_string_equal(e.text, "odd: unknown error");
	assert_int_equal(err_sys(NULL, EPERM, "x"), -EPERM);
}

static void test_long(void **state)
{
	char big[2 * ERR_TEXT_SIZE];
	struct err e = {0};

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	(void)err_set(&e, EIO, "%s", big);
	assert_int_equal(strlen(e.text), ERR_TEXT_SIZE - 1);
	(void)err_wrap(&e, "head");
	assert_int_equal(strlen(e.text), ERR_TEXT_SIZE - 1);
	assert_memory_equal(e.text, "head: xxx", 9);
	(void)err_wrap(&e, "%s", big);
	assert_int_equal(strlen(e.text), ERR_TEXT_SIZE - 1);
}

static void test_name(void **state)
{
	(void)state;
	assert_string_equal(err_name(EINVAL), "EINVAL");
	assert_string_equal(err_name(ENOTSUP), "ENOTSUP");
	assert_string_equal(err_name(ECANCELED), "ECANCELED");
	assert_string_equal(err_name(0), "E?");
	assert_string_equal(err_name(-5), "E?");
	assert_string_equal(err_name(4000), "E?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),  cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_sys),  cmocka_unit_test(test_long),
		cmocka_unit_test(test_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
