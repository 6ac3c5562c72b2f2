/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-blocked.c - which rules of others would drop what guests send, by what nft lists */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "net/blocked.h"

static void test_chains(void **state)
{
	static const char list[] =
		"table ip filter {\n"
		"\tchain FORWARD {\n"
		"\t\ttype filter hook forward priority filter; policy drop;\n"
		"\t}\n"
		"\tchain DOCKER-USER {\n\t}\n"
		"}\n"
		"table ip sbxfs-abcd {\n"
		"\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n"
		"}\n"
		"table ip6 filter {\n"
		"\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n"
		"}\n"
		"table inet firewalld {\n"
		"\tchain filter_INPUT {\n\t\ttype filter hook input priority filter + 10; policy accept;\n\t}\n"
		"\tchain filter_FORWARD {\n\t\ttype filter hook forward priority filter + 10; policy accept;\n\t}\n"
		"}\n";
	struct blocked_chain c[4];
	char text[sizeof(list)];

	(void)state;
	memcpy(text, list, sizeof(list));
	assert_int_equal(blocked_chains(text, c, 4), 2);
	assert_string_equal(c[0].family, "ip");
	assert_string_equal(c[0].table, "filter");
	assert_string_equal(c[0].name, "FORWARD");
	assert_true(c[0].drops);
	assert_true(c[0].has_user);
	assert_string_equal(c[1].table, "firewalld");
	assert_string_equal(c[1].name, "filter_FORWARD");
	assert_false(c[1].drops);
	assert_false(c[1].has_user);
	memcpy(text, list, sizeof(list));
	assert_int_equal(blocked_chains(text, c, 1), 1); /* no more than there is room for */
	text[0] = '\0';
	assert_int_equal(blocked_chains(text, c, 4), 0);
}

static bool blocked(bool drops, const char *rules)
{
	const struct blocked_chain c = {.family = "ip", .table = "t", .name = "F", .drops = drops};
	char text[400];

	(void)snprintf(text, sizeof(text),
		       "table ip t {\n\tchain F {\n\t\ttype filter hook forward priority 0; policy "
		       "accept;\n%s\t}\n}\n",
		       rules);
	return blocked_by(&c, text);
}

static void test_rules(void **state)
{
	(void)state;
	assert_false(blocked(false, ""));
	assert_true(blocked(true, ""));
	assert_true(blocked(true, "\t\tjump DOCKER-USER\n"));
	assert_true(blocked(
		false,
		"\t\tct state established accept\n\t\treject with icmpx admin-prohibited\n"));
	assert_true(blocked(false, "\t\tcounter packets 5 bytes 300 drop\n"));
	assert_false(blocked(false, "\t\tiifname \"eth0\" counter packets 5 bytes 300 drop\n"));
	assert_false(blocked(true, "\t\taccept\n"));
	assert_false(blocked(true, "\t\tiifname \"sbx*\" accept\n"));
	assert_true(blocked(true, "\t\tiifname \"sbx*\" drop\n"));
	assert_false(blocked(true,
			     "\t}\n\tchain DOCKER-USER {\n\t\tiifname \"sbx*\" counter packets 1 "
			     "bytes 2 accept\n"));
	assert_false(blocked(false, "\t}\n\tchain other {\n\t\tdrop\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
