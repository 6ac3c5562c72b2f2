/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-parse.c - words, names, numbers, escapes, lines */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

static void test_names(void **state)
{
	char longest[NAME_MAX_LEN + 2];

	(void)state;
	assert_true(name_is_valid("a"));
	assert_true(name_is_valid("9.a_B-"));
	assert_false(name_is_valid(""));
	assert_false(name_is_valid(".a"));
	assert_false(name_is_valid("-a"));
	assert_false(name_is_valid("a/b"));
	assert_false(name_is_valid("a~1"));
	assert_false(name_is_valid("\xc3\xa4"));
	memset(longest, 'x', sizeof(longest));
	longest[NAME_MAX_LEN] = '\0';
	assert_true(name_is_valid(longest));
	longest[NAME_MAX_LEN] = 'x';
	longest[NAME_MAX_LEN + 1] = '\0';
	assert_false(name_is_valid(longest));
}

static void test_words(void **state)
{
	/* clang-format off */
	static const struct {
		const char *line, *joined; /* each word in [ ]; NULL: refused */
	} rows[] = {
		{"", ""},
		{" \t ", ""},
		{"start", "[start]"},
		{"  set\ta=1  b=2 ", "[set][a=1][b=2]"},
		{"a \"b c\" 'd e'", "[a][b c][d e]"},
		{"a\"b\"'c'd", "[abcd]"},
		{"\"\" ''", "[][]"},
		{"a\\ b", "[a b]"},
		{"\"a\\\"b\\\\c\\d\"", "[a\"b\\c\\d]"},
		{"'a\\b'", "[a\\b]"},
		{"\\\"", "[\"]"},
		{"a#b #", "[a#b][#]"},
		{"\"it's\"", "[it's]"},
		{"\"open", NULL},
		{"'open", NULL},
		{"end\\", NULL},
		{"\"end\\", NULL},
		{"\"end\\\"", NULL},
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO_BUF b = BUF_INIT;
		AUTO_FREE char **words = NULL;
		struct err e = {0};
		int n = -1, r = words_split(rows[i].line, &words, &n, &e);

		if (!rows[i].joined) {
			assert_int_equal(r, -EINVAL);
			assert_int_equal(e.code, EINVAL);
			continue;
		}
		assert_int_equal(r, 0);
		for (int k = 0; k < n; k++)
			buf_addf(&b, "[%s]", words[k]);
		assert_string_equal(buf_text(&b), rows[i].joined);
		assert_null(words[n]);
	}
}

static void test_too_many_words(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char **words = NULL;
	int n;

	(void)state;
	for (int i = 0; i < WORDS_MAX; i++)
		buf_adds(&b, "w ");
	assert_int_equal(words_split(buf_text(&b), &words, &n, NULL), 0);
	assert_int_equal(n, WORDS_MAX);
	assert_string_equal(words[n - 1], "w");
	free(steal_ptr(&words));
	buf_adds(&b, "w");
	assert_int_equal(words_split(buf_text(&b), &words, &n, NULL), -EINVAL);
}

static void test_rest(void **state)
{
	(void)state;
	assert_string_equal(words_rest("exec  echo \"a  b\" ", 1), "echo \"a  b\" ");
	assert_string_equal(words_rest(" 'a b' c d", 1), "c d");
	assert_string_equal(words_rest(" 'a b' c d", 2), "d");
	assert_string_equal(words_rest("  a", 0), "a");
	assert_string_equal(words_rest("a", 1), "");
	assert_string_equal(words_rest("a", 5), "");
	assert_string_equal(words_rest("'a", 1), "");
	assert_string_equal(words_rest("exec it's", 1), "it's");
}

static void test_numbers(void **state)
{
	uint64_t v = 7;
	bool b = false;

	(void)state;
	assert_int_equal(parse_u64("0", 0, 5, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(parse_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(parse_u64("99999999999999999999999", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(parse_u64("99999999999999999999999x", 0, UINT64_MAX, &v), -EINVAL);
	assert_int_equal(parse_u64("6", 0, 5, &v), -ERANGE);
	assert_int_equal(parse_u64("1", 2, 5, &v), -ERANGE);
	assert_int_equal(parse_u64("", 0, 5, &v), -EINVAL);
	assert_int_equal(parse_u64("-1", 0, 5, &v), -EINVAL);
	assert_int_equal(parse_u64("+1", 0, 5, &v), -EINVAL);
	assert_int_equal(parse_u64(" 1", 0, 5, &v), -EINVAL);
	assert_int_equal(parse_u64("0x1", 0, 5, &v), -EINVAL);
	assert_true(v == UINT64_MAX); /* written on success only */
	assert_int_equal(parse_bool("yes", &b), 0);
	assert_true(b);
	assert_int_equal(parse_bool("false", &b), 0);
	assert_false(b);
	assert_int_equal(parse_bool("1", &b), 0);
	assert_true(b);
	assert_int_equal(parse_bool("Yes", &b), -EINVAL);
	assert_int_equal(parse_bool("", &b), -EINVAL);
}

static void test_unescape(void **state)
{
	static const char *const bad[] = {"\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x00"};
	static const char original[] = "a\\b\nc\td\x1b\x7f\xc3\xa4";
	AUTO_BUF b = BUF_INIT;

	(void)state;
	buf_add_escaped(&b, original);
	assert_int_equal(parse_unescape(b.data), 0);
	assert_string_equal(b.data, original);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[8];

		(void)snprintf(text, sizeof(text), "%s", bad[i]);
		assert_int_equal(parse_unescape(text), -EINVAL);
	}
}

static void test_lines(void **state)
{
	char text[] = "one\n\nthree\nlast";
	char empty[] = "";
	char *cursor = text;

	(void)state;
	assert_string_equal(parse_line(&cursor), "one");
	assert_string_equal(parse_line(&cursor), "");
	assert_string_equal(parse_line(&cursor), "three");
	assert_string_equal(parse_line(&cursor), "last");
	assert_null(parse_line(&cursor));
	assert_null(cursor);
	assert_null(parse_line(&cursor));
	cursor = empty;
	assert_null(parse_line(&cursor));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),          cmocka_unit_test(test_words),
		cmocka_unit_test(test_too_many_words), cmocka_unit_test(test_rest),
		cmocka_unit_test(test_numbers),        cmocka_unit_test(test_unescape),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
