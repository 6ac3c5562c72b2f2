/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-config.c - settings: what is refused, what holds, and their text */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "ops/config.h"

static int set(struct config *c, const char *key, const char *value)
{
	struct err e = {0};
	int r = config_set(c, key, value, NULL, &e);

	assert_int_equal(e.code, -r); /* filled exactly when it fails */
	return r;
}

/* Apply a text to @c; on success @c is the new one. */
static int apply_over(struct config *c, const struct config *base, const char *text, bool *restart,
		      struct err *e)
{
	AUTO_FREE char *copy = strdup(text);
	struct config changed;
	int r = config_apply_text(c, base, copy, &changed, restart, e);

	if (r == 0) {
		config_done(c);
		*c = changed;
	}
	return r;
}

static int apply(struct config *c, const char *text, bool *restart, struct err *e)
{
	return apply_over(c, NULL, text, restart, e);
}

static void test_values(void **state)
{
	static const struct {
		const char *key, *value;
		bool good;
	} rows[] = {
		{"vcpus", "1", true},
		{"vcpus", "64", true},
		{"vcpus", "0", false},
		{"vcpus", "65", false},
		{"vcpus", "-1", false},
		{"vcpus", "2 ", false},
		{"vcpus", "0x2", false},
		{"memory_mb", "64", true},
		{"memory_mb", "63", false},
		{"memory_mb", "1e3", false},
		{"disk_mb", "1", true},
		{"disk_mb", "x", false},
		{"template", "a.b-c", true},
		{"template", "../x", false},
		{"template", "a@b", false},
		{"vmm", "auto", true},
		{"vmm", "qemu", true},
		{"vmm", "bochs", false},
		{"vmm", "cloud-hypervisor", true},
		{"protect", "yes", true},
		{"protect", "no", true},
		{"protect", "maybe", false},
		{"user", "app", true},
		{"user", "a:b", false},
		{"cwd", "/srv", true},
		{"cwd", "srv", false},
		{"env.PATH", "/bin", true},
		{"env.", "x", false},
		{"env.A=B", "x", false},
		{"env.A B", "x", false},
		{"label.app", "ci", true},
		{"label.a.b/c", "x", true},
		{"label.", "x", false},
		{"nonsense", "1", false},
		{"", "1", false},
		{"VCPUS", "1", false},
		{"vcpus", "99999999999999999999", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config c = {0};
		int r = set(&c, rows[i].key, rows[i].value);

		if (r != (rows[i].good ? 0 : -EINVAL))
			fail_msg("%s=%s: %d", rows[i].key, rows[i].value, r);
		if (rows[i].good)
			assert_string_equal(config_get(&c, rows[i].key), rows[i].value);
		config_done(&c);
	}
}

static void test_unset_and_defaults(void **state)
{
	struct config c = {0}, base = {0};

	(void)state;
	assert_int_equal(config_number(&c, NULL, CONFIG_VCPUS), 1);
	assert_int_equal(config_number(&c, NULL, CONFIG_MEMORY_MB), 512);
	assert_string_equal(config_effective(&c, NULL, CONFIG_TEMPLATE), "default");
	assert_int_equal(set(&base, "vcpus", "2"), 0);
	assert_int_equal(config_number(&c, &base, CONFIG_VCPUS), 2);
	assert_int_equal(set(&c, "vcpus", "3"), 0);
	assert_int_equal(config_number(&c, &base, CONFIG_VCPUS), 3);
	assert_int_equal(set(&c, "vcpus", "999"), -EINVAL); /* nothing changed */
	assert_int_equal(config_number(&c, &base, CONFIG_VCPUS), 3);
	assert_int_equal(set(&c, "vcpus", ""), 0);
	assert_null(config_get(&c, "vcpus"));
	assert_int_equal(set(&c, "label.x", "1"), 0);
	assert_true(config_has_label(&c, "x", "1"));
	assert_false(config_has_label(&c, "x", "2"));
	assert_int_equal(set(&c, "label.x", NULL), 0);
	assert_false(config_has_label(&c, "x", "1"));
	config_done(&c);
	config_done(&base);
}

/* What is read can be written back and changes nothing, whatever the values hold. */
static void test_round_trip(void **state)
{
	AUTO_BUF first = BUF_INIT;
	AUTO_BUF second = BUF_INIT;
	struct config c = {0}, base = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(set(&base, "memory_mb", "777"), 0);
	assert_int_equal(set(&c, "env.Z", " a=b #c\\d\ne\tf\x01 "), 0);
	assert_int_equal(set(&c, "env.A", "\xc3\xa4"), 0);
	assert_int_equal(set(&c, "vcpus", "4"), 0);
	config_render(&c, &base, &first);
	assert_int_equal(apply_over(&c, &base, buf_text(&first), NULL, &e), 0);
	config_render(&c, &base, &second);
	assert_string_equal(buf_text(&first), buf_text(&second));
	assert_null(config_get(&c, "memory_mb")); /* a default did not become a setting */
	assert_non_null(strstr(buf_text(&first), "# defaults\n"));
	assert_true(strstr(buf_text(&first), "vcpus=4") < strstr(buf_text(&first), "# defaults"));
	assert_non_null(strstr(buf_text(&first), "memory_mb=777\n"));
	assert_string_equal(config_get(&c, "env.Z"), " a=b #c\\d\ne\tf\x01 ");
	config_done(&c);
	config_done(&base);
}

/* A default that was edited in a file that was read and written back is a setting. */
static void test_edited_default(void **state)
{
	struct config c = {0}, base = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(set(&base, "memory_mb", "777"), 0);
	assert_int_equal(
		apply_over(&c, &base, "# defaults\nmemory_mb=777\nvcpus=2\nuser=root\n", NULL, &e),
		0);
	assert_null(config_get(&c, "memory_mb"));
	assert_null(config_get(&c, "user"));
	assert_string_equal(config_get(&c, "vcpus"), "2");
	assert_int_equal(apply_over(&c, &base, "# defaults\nmemory_mb=512\nvcpus=0\n", NULL, &e),
			 -EINVAL);
	config_done(&c);
	config_done(&base);
}

static void test_all_or_nothing(void **state)
{
	struct config c = {0};
	struct err e = {0};
	bool restart = false;

	(void)state;
	assert_int_equal(set(&c, "vcpus", "2"), 0);
	assert_int_equal(apply(&c, "vcpus=3\n\n# comment\nmemory_mb=1\n", &restart, &e), -EINVAL);
	assert_non_null(strstr(e.text, "line 4"));
	assert_int_equal(config_number(&c, NULL, CONFIG_VCPUS), 2);
	assert_int_equal(apply(&c, "vcpus 3", NULL, &e), -EINVAL);
	assert_null(strstr(e.text, "line"));
	assert_int_equal(apply(&c, "env.A=\\q\n", NULL, &e), -EINVAL);
	restart = false;
	assert_int_equal(apply(&c, "label.a=1\nprotect=yes", &restart, &e), 0);
	assert_false(restart);
	assert_int_equal(apply(&c, "vcpus=\nenv.A=1", &restart, &e), 0);
	assert_true(restart);
	assert_null(config_get(&c, "vcpus"));
	assert_string_equal(config_get(&c, "label.a"), "1"); /* keys not named stay */
	config_done(&c);
}

static void test_copy(void **state)
{
	struct config c = {0}, copy;

	(void)state;
	for (int i = 0; i < 100; i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "label.k%02d", (i * 37) % 100);
		assert_int_equal(set(&c, key, "v"), 0);
	}
	assert_int_equal(config_copy(&c, &copy), 0);
	config_done(&c);
	for (const struct config_pair *p = copy.pairs; p->next; p = p->next)
		assert_true(strcmp(p->key, p->next->key) < 0);
	assert_true(config_has_label(&copy, "k99", "v"));
	config_done(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),         cmocka_unit_test(test_unset_and_defaults),
		cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_edited_default),
		cmocka_unit_test(test_all_or_nothing), cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
