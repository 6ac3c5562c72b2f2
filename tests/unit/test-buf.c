/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-buf.c - text buffers: growth, escaping, JSON strings */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

static void test_empty(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	assert_string_equal(buf_text(&b), "");
	assert_int_equal(b.len, 0);
	buf_add(&b, NULL, 0);
	assert_string_equal(buf_text(&b), "");
	assert_int_equal(buf_error(&b), 0);
}

static void test_growth(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_addf(&b, "%04d\n", i);
	assert_int_equal(b.len, 25000);
	assert_int_equal(strlen(buf_text(&b)), 25000);
	assert_memory_equal(b.data + 24995, "4999\n", 5);
	buf_reset(&b);
	assert_string_equal(buf_text(&b), "");
	buf_adds(&b, "again");
	buf_addc(&b, '!');
	assert_string_equal(buf_text(&b), "again!");
	buf_done(&b);
	assert_null(b.data);
}

static void test_failure_sticks(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	buf_adds(&b, "kept");
	buf_add(&b, "x", SIZE_MAX - 2);
	assert_int_equal(buf_error(&b), -ENOMEM);
	buf_adds(&b, "lost");
	assert_string_equal(buf_text(&b), "kept");
	buf_reset(&b);
	assert_int_equal(buf_error(&b), 0);
}

static void test_escaped(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	buf_add_escaped(&b, "a\\b\nc\td\x1b\x7f\xc3\xa4");
	assert_string_equal(buf_text(&b), "a\\\\b\\nc\\td\\x1b\\x7f\xc3\xa4");
}

static void test_json(void **state)
{
	static const struct {
		const char *text, *json;
	} rows[] = {
		{"", "\"\""},
		{"a\"b\\c\n\r\t\x01\x7f", "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\""},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
		 "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"\xff", "\"\xef\xbf\xbd\""},
		{"\xc3", "\"\xef\xbf\xbd\""},
		{"\xc3(", "\"\xef\xbf\xbd(\""},
		{"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
		{"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
		{"\xf4\x90\x80\x80x", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\""},
		{"\xf0\x9f\x98", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* cut short */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO_BUF b = BUF_INIT;

		buf_add_json(&b, rows[i].text);
		assert_string_equal(buf_text(&b), rows[i].json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),          cmocka_unit_test(test_growth),
		cmocka_unit_test(test_failure_sticks), cmocka_unit_test(test_escaped),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
