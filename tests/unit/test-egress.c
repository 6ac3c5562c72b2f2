/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-egress.c - rules from text and back, what they are about, and which decides */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "net/egress.h"

#define LABEL "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc" /* 63 */

static struct egress parsed(const char *text)
{
	struct egress g = {.count = 0};
	struct err e = {.code = 0};

	if (egress_parse(text, &g, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return g;
}

static void refused(const char *text, const char *why)
{
	struct egress g = {.count = 77};
	struct err e = {.code = 0};

	assert_int_equal(egress_parse(text, &g, &e), -EINVAL);
	assert_int_equal(e.code, EINVAL);
	assert_int_equal(g.count, 77);
	if (!strstr(e.text, why))
		fail_msg("%s: %s, which does not say %s", text, e.text, why);
}

static void reads_as(const char *text, const char *expected)
{
	struct egress g = parsed(text);
	AUTO_BUF b = BUF_INIT;

	egress_render(&g, "; ", false, &b);
	assert_string_equal(buf_text(&b), expected);
	egress_done(&g);
}

static void test_text(void **state)
{
	(void)state;
	reads_as("", "policy allow");
	reads_as(" ;; \n ;", "policy allow");
	reads_as("policy deny", "policy deny");
	reads_as("policy deny; policy allow", "policy allow");
	reads_as("allow 1.2.3.4", "policy allow; allow 1.2.3.4");
	reads_as("allow 1.2.3.4/32:80", "policy allow; allow 1.2.3.4:80");
	reads_as("deny 0.0.0.0/0\npolicy deny\n", "policy deny; deny 0.0.0.0/0");
	reads_as("\tdeny   1.2.0.0/16:65535 \r\n", "policy allow; deny 1.2.0.0/16:65535");
	reads_as("deny 1.2.3.0/24 packets=4 bytes=18446744073709551615;policy deny packets=1",
		 "policy deny; deny 1.2.3.0/24");
	reads_as("allow-name WWW.Example.COM.", "policy allow; allow-name www.example.com");
	reads_as(
		"allow-name *.example.com; allow-name xn--mller-kva.de; allow-name _sip._tcp.a-b.c",
		"policy allow; allow-name *.example.com; allow-name xn--mller-kva.de; "
		"allow-name _sip._tcp.a-b.c");
	reads_as("allow-name " LABEL, "policy allow; allow-name " LABEL);
}

static void test_repeated(void **state)
{
	(void)state;
	reads_as("allow 1.2.3.4; deny 5.0.0.0/8; deny 1.2.3.4/32",
		 "policy allow; deny 1.2.3.4; deny 5.0.0.0/8");
	reads_as("allow 1.2.3.4; deny 1.2.3.4:80; allow 1.2.3.4:80; allow 1.2.3.4:81",
		 "policy allow; allow 1.2.3.4; allow 1.2.3.4:80; allow 1.2.3.4:81");
	reads_as("allow-name a.b; allow-name *.a.b; allow-name A.B.",
		 "policy allow; allow-name a.b; allow-name *.a.b");
	reads_as("deny 0.0.0.0/0; deny 0.0.0.0", "policy allow; deny 0.0.0.0/0; deny 0.0.0.0");
}

static void test_refused(void **state)
{
	(void)state;
	refused("allow 10.1.2.3/8", "10.0.0.0/8");
	refused("deny 1.2.3.4/0", "0.0.0.0/0");
	refused("policy deny; allow 1.2.3.129/25", "the rule \"allow 1.2.3.129/25\"");
	refused("allow", "what");
	refused("policy", "what");
	refused("policy perhaps", "allow or deny");
	refused("permit 1.2.3.4", "begins with");
	refused("Allow 1.2.3.4", "begins with");
	refused("deny-name a.b", "begins with");
	refused("allow 1.2.3.4 5.6.7.8", "5.6.7.8");
	refused("allow 1.2.3.4 packets=-1", "packets=-1");
	refused("allow 1.2.3.4 bytes=", "bytes=");
	refused("packets=1 bytes=1", "begins with");
	refused("allow 1.2.3", "IPv4");
	refused("allow 1.2.3.256", "IPv4");
	refused("allow 1.2.3.04.5", "IPv4");
	refused("allow example.com", "IPv4");
	refused("allow /8", "IPv4");
	refused("allow ::/0", "IPv4");
	refused("allow 2001:db8::1", "IPv4");
	refused("allow 1.2.3.4/33", "prefix");
	refused("allow 1.2.3.4/", "prefix");
	refused("allow 1.2.3.4/-1", "prefix");
	refused("allow 1.2.3.4/255.255.255.0", "prefix");
	refused("allow 1.2.3.4:0", "port");
	refused("allow 1.2.3.4:65536", "port");
	refused("allow 1.2.3.4:", "port");
	refused("allow 1.2.3.4:http", "port");
	refused("allow 1.2.3.4:80/24", "port");
}

static void test_refused_names(void **state)
{
	char text[400] = "allow-name ";

	(void)state;
	refused("allow-name", "what");
	refused("allow-name *", "domain name");
	refused("allow-name *.", "domain name");
	refused("allow-name .", "domain name");
	refused("allow-name a..b", "domain name");
	refused("allow-name .a", "domain name");
	refused("allow-name a.b..", "domain name");
	refused("allow-name a.*.b", "domain name");
	refused("allow-name *a.b", "domain name");
	refused("allow-name *.*.b", "domain name");
	refused("allow-name -a.b", "domain name");
	refused("allow-name a-.b", "domain name");
	refused("allow-name a/b", "domain name");
	refused("allow-name a.b:80", "domain name");
	refused("allow-name https://a.b", "domain name");
	refused("allow-name a\"b", "domain name");
	refused("allow-name m\xc3\xbcller.de", "xn--");
	refused("allow-name 1.2.3.4", "address");
	refused("allow-name *.1.2.3.4", "address");
	refused("allow-name " LABEL "x", "domain name");
	for (int i = 0; i < 126; i++)
		(void)strcat(text, "a.");
	(void)strcat(text, "a"); /* 253 */
	reads_as(text, strcat(memcpy((char[420]){0}, "policy allow; ", 15), text));
	(void)strcat(text, "b");
	refused(text, "253");
	for (int i = 0; i < 10; i++)
		(void)strcat(text, "b");
	refused(text, "253");
}

static void test_counts(void **state)
{
	struct egress g = parsed("policy deny; allow 1.2.3.0/24:80; allow-name a.b");
	AUTO_BUF b = BUF_INIT;

	(void)state;
	g.packets = 1;
	g.bytes = 2;
	g.rules[1].packets = 3;
	g.rules[1].bytes = UINT64_MAX;
	egress_render(&g, "\n", true, &b);
	assert_string_equal(buf_text(&b), "policy deny packets=1 bytes=2\n"
					  "allow 1.2.3.0/24:80 packets=0 bytes=0\n"
					  "allow-name a.b packets=3 bytes=18446744073709551615");
	reads_as(buf_text(&b), "policy deny; allow 1.2.3.0/24:80; allow-name a.b");
	egress_done(&g);
	assert_int_equal(g.count, 0);
	assert_true(g.allow);
}

static void test_many(void **state)
{
	struct egress g, copy;
	struct err e = {.code = 0};
	AUTO_BUF b = BUF_INIT;

	(void)state;
	for (int i = 0; i < EGRESS_RULES_MAX; i++)
		buf_addf(&b, "allow 1.2.%d.0/24:%d;", i, i + 1);
	g = parsed(buf_text(&b));
	assert_int_equal(g.count, EGRESS_RULES_MAX);
	assert_int_equal(egress_copy(&g, &copy), 0);
	assert_true(egress_same(&g, &copy));
	copy.rules[255].allow = false;
	assert_false(egress_same(&g, &copy));
	assert_true(egress_remove(&copy, 0));
	assert_int_equal(copy.count, EGRESS_RULES_MAX - 1);
	assert_int_equal(copy.rules[254].port, 256);
	assert_false(egress_remove(&copy, 255));
	egress_done(&copy);
	egress_done(&g);
	buf_adds(&b, "deny 1.2.255.0/24:256"); /* takes the last one's place */
	g = parsed(buf_text(&b));
	assert_int_equal(g.count, EGRESS_RULES_MAX);
	assert_false(g.rules[255].allow);
	egress_done(&g);
	buf_adds(&b, ";deny 9.9.9.9");
	assert_int_equal(egress_parse(buf_text(&b), &g, &e), -EINVAL);
	assert_non_null(strstr(e.text, "256"));
}

static void test_names(void **state)
{
	struct egress g = parsed("policy deny; allow-name a.b; allow-name *.example.com");

	(void)state;
	assert_true(egress_has_name(&g, "a.b"));
	assert_false(egress_has_name(&g, "x.a.b"));
	assert_false(egress_has_name(&g, "aa.b"));
	assert_false(egress_has_name(&g, "b"));
	assert_true(egress_has_name(&g, "www.example.com"));
	assert_true(egress_has_name(&g, "a.b.c.example.com"));
	assert_false(egress_has_name(&g, "example.com"));
	assert_false(egress_has_name(&g, ".example.com"));
	assert_false(egress_has_name(&g, "badexample.com"));
	assert_false(egress_has_name(&g, "example.com.org"));
	assert_false(egress_has_name(&g, ""));
	g.allow = true;
	assert_true(egress_has_name(&g, "x.a.b"));
	assert_null(egress_rule_for(&g, "x.a.b")); /* whatever the policy */
	assert_ptr_equal(egress_rule_for(&g, "a.b"), &g.rules[0]);
	assert_ptr_equal(egress_rule_for(&g, "b.example.com"), &g.rules[1]);
	egress_done(&g);
}

static void order_is(const char *text, const char *closed_text, const char *expected)
{
	struct egress g = parsed(text), closed = parsed(closed_text);
	const struct egress_rule *order[64];
	AUTO_BUF b = BUF_INIT;

	egress_order(&g, closed.rules, closed.count, order);
	for (size_t i = 0; i < g.count + closed.count; i++) {
		struct egress_rule rule = *order[i];
		struct egress one = {.count = 1, .rules = &rule};
		AUTO_BUF words = BUF_INIT;

		egress_render(&one, " ", false, &words);
		buf_addf(&b, "%s%s", i ? "; " : "", buf_text(&words) + strlen("policy deny "));
	}
	assert_string_equal(buf_text(&b), expected);
	egress_done(&g);
	egress_done(&closed);
}

static void test_order(void **state)
{
	(void)state;
	order_is(
		"deny 0.0.0.0/0; allow 1.0.0.0/8; deny 1.2.3.4; allow-name a.b; allow 1.2.0.0/16:80; "
		"allow 1.2.0.0/16; deny 9.0.0.0/8; allow 1.2.3.4:22",
		"",
		"allow 1.2.3.4:22; deny 1.2.3.4; allow-name a.b; allow 1.2.0.0/16:80; "
		"allow 1.2.0.0/16; allow 1.0.0.0/8; deny 9.0.0.0/8; deny 0.0.0.0/0");
	order_is("allow 10.0.0.0/8; allow 0.0.0.0/0; allow 172.0.0.0/11; allow 10.1.0.0/16:80",
		 "deny 10.0.0.0/8; deny 172.16.0.0/12",
		 "allow 10.1.0.0/16:80; deny 172.16.0.0/12; allow 172.0.0.0/11; allow 10.0.0.0/8; "
		 "deny 10.0.0.0/8; allow 0.0.0.0/0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),    cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_refused_names),
		cmocka_unit_test(test_counts),  cmocka_unit_test(test_many),
		cmocka_unit_test(test_names),   cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
