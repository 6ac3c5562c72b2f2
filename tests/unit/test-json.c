/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-json.c - JSON: strict parsing, paths, members */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"

static int parse(const char *text, struct json_object **ret)
{
	return json_parse(text, strlen(text), ret, NULL);
}

static void test_good(void **state)
{
	static const char *const good[] = {"{}",   "[1]", " {\"a\":1} \r\n", "12", "-3", "\"x\"",
					   "null", "true"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		AUTO_JSON o = NULL;

		assert_int_equal(parse(good[i], &o), 0);
	}
}

static void test_bad(void **state)
{
	static const char *const bad[] = {"",       " ",       "{",    "{}{}",       "{} x",
					  "['a']",  "{\"a\"}", "[1,]", "{\"a\":1,}", "/**/1",
					  "\"open", "tru",     "12 13"};
	AUTO_JSON o = NULL;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &o) != -EBADMSG)
			fail_msg("\"%s\" was taken", bad[i]);
	assert_null(o);
	assert_int_equal(json_parse("{}\0", 3, &o, &e), -EBADMSG);
	assert_string_equal(e.text, "text after the JSON value at byte 2");
}

static void test_length(void **state)
{
	AUTO_JSON o = NULL;

	(void)state;
	/* Only what was named is looked at. */
	assert_int_equal(json_parse("123456", 2, &o, NULL), 0);
	assert_int_equal(json_object_get_int(o), 12);
}

static void test_depth(void **state)
{
	AUTO_JSON o = NULL;
	char deep[4001];

	(void)state;
	memset(deep, '[', 2000);
	memset(deep + 2000, ']', 2000);
	deep[4000] = '\0';
	assert_int_equal(parse(deep, &o), -EBADMSG);
}

static void test_paths(void **state)
{
	AUTO_JSON o = NULL;

	(void)state;
	assert_int_equal(
		parse("{\"r\":{\"s\":\"up\",\"n\":9007199254740993,\"b\":true,\"z\":null}}", &o),
		0);
	assert_string_equal(json_text_at(o, "r/s", "?"), "up");
	assert_string_equal(json_text_at(o, "r/n", "?"), "?");
	assert_string_equal(json_text_at(o, "r/z", "?"), "?");
	assert_string_equal(json_text_at(o, "r/s/t", "?"), "?");
	assert_string_equal(json_text_at(NULL, "r", "?"), "?");
	assert_true(json_int_at(o, "r/n", 0) == 9007199254740993);
	assert_int_equal(json_int_at(o, "r/s", -1), -1);
	assert_true(json_bool_at(o, "r/b", false));
	assert_true(json_bool_at(o, "r/x", true));
	assert_ptr_equal(json_at(o, ""), o);
	assert_null(json_at(o, "q"));
}

static void test_add(void **state)
{
	AUTO_JSON o = json_object_new_object();

	(void)state;
	assert_int_equal(json_add_text(o, "t", "x\"y"), 0);
	assert_int_equal(json_add_text(o, "none", NULL), 0);
	assert_int_equal(json_add_int(o, "i", INT64_MIN), 0);
	assert_int_equal(json_add_bool(o, "b", true), 0);
	assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
			    "{\"t\":\"x\\\"y\",\"i\":-9223372036854775808,\"b\":true}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),   cmocka_unit_test(test_bad),
		cmocka_unit_test(test_length), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_paths),  cmocka_unit_test(test_add),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
