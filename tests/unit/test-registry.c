/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-registry.c - defining, renaming, removing, thousands of them, and a daemon that starts again */
/* timeout: 200 */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "ops/lane.h"
#include "ops/record.h"
#include "ops/steps.h"

enum {
	MANY = 10000,
	RENAMERS = 4,
};

/* Every sandbox in memory, by serial. */
static unsigned count_all(void)
{
	uint32_t after = 0;
	unsigned n = 0;
	struct sbx *s;

	while ((s = registry_next_any(after))) {
		assert_true(s->serial > after);
		after = s->serial;
		sbx_put(s);
		n++;
	}
	return n;
}

static bool is_there(const char *name)
{
	struct sbx *s = registry_find(name);

	sbx_put(s);
	return s;
}

static void remove_and_wait(const char *name)
{
	struct sbx *s = registry_find(name);
	struct err e = {0};
	uint32_t serial;

	assert_non_null(s);
	serial = s->serial;
	assert_int_equal(registry_remove(s, &e), 0);
	assert_false(is_there(name)); /* free at once */
	sbx_put(s);
	ops_await(!(s = registry_find_serial(serial)) || (sbx_put(s), false));
}

static void test_names(void **state)
{
	static const char *const bad[] = {"",    ".",   "..",  ".a",       "-a",
					  "a/b", "a b", "a~1", "\xc3\xa4", "a\n"};
	struct writer w = {.uid = 1};
	char longest[66];
	struct err e = {0};
	struct sbx *s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(registry_create(bad[i], &w, &s, &e), -EINVAL);
	memset(longest, 'x', 64);
	longest[64] = '\0';
	assert_int_equal(registry_create(longest, &w, &s, &e), -EINVAL);
	longest[63] = '\0';
	assert_int_equal(registry_create(longest, &w, &s, &e), 0);
	assert_int_equal(s->mode, 0700);
	assert_int_equal(s->uid, 1);
	sbx_put(s);
	assert_int_equal(registry_create(longest, &w, &s, &e), -EEXIST);
	remove_and_wait(longest);
}

static void test_rename(void **state)
{
	struct sbx *a = ops_create("a"), *b = ops_create("b"), *found;
	struct err e = {0};

	(void)state;
	assert_int_equal(registry_rename(a, "b", &e), -EEXIST);
	assert_int_equal(registry_rename(a, "a", &e), -EEXIST);
	assert_int_equal(registry_rename(a, ".c", &e), -EINVAL);
	assert_int_equal(registry_rename(a, "c", &e), 0);
	assert_false(is_there("a"));
	found = registry_find("c");
	assert_ptr_equal(found, a);
	sbx_put(found);
	sbx_put(a);
	sbx_put(b);
	ops_dir_again(); /* durable */
	assert_true(is_there("c"));
	assert_false(is_there("a"));
	remove_and_wait("b");
	remove_and_wait("c");
	assert_int_equal(count_all(), 0);
}

static void test_protected(void **state)
{
	struct sbx *s = ops_create("safe");
	struct err e = {0};

	(void)state;
	assert_int_equal(config_set(&s->config, "protect", "yes", NULL, &e), 0);
	assert_int_equal(registry_remove(s, &e), -EPERM);
	assert_true(is_there("safe"));
	assert_int_equal(config_set(&s->config, "protect", NULL, NULL, &e), 0);
	sbx_put(s);
	remove_and_wait("safe");
}

/* A serial is never given out twice, whatever died in between. */
static void test_serials(void **state)
{
	uint32_t last = 0;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 70; i++) {
			struct sbx *s = ops_create("one");

			assert_true(s->serial > last);
			last = s->serial;
			sbx_put(s);
			remove_and_wait("one");
		}
		ops_dir_again();
	}
}

/* Its teardown is stuck: listed as NAME~SERIAL in error, the name is free, and it can be tried again. */
static void test_stuck(void **state)
{
	struct sbx *s = ops_create("stuck"), *found;
	char gone[32];
	struct err e = {0};

	(void)state;
	s->level = LEVEL_DATA; /* and there is no store that could remove its data */
	(void)snprintf(gone, sizeof(gone), "stuck~%" PRIu32, s->serial);
	assert_int_equal(registry_remove(s, &e), 0);
	assert_false(is_there("stuck"));
	ops_await(sbx_state(s) == SBX_ERROR);
	found = registry_find(gone);
	assert_ptr_equal(found, s);
	sbx_put(found);
	assert_non_null(strstr(s->last_error, "no store in this test"));
	sbx_put(ops_create("stuck"));
	ops_await(lane_turn_is_free(&s->lane));
	s->level = LEVEL_DEFINED;
	assert_int_equal(registry_remove(s, &e), 0);
	ops_await(!is_there(gone));
	sbx_put(s);
	remove_and_wait("stuck");
}

/* Died between rmdir and the end of the teardown: the next daemon goes on with it. */
static void test_gone_is_durable(void **state)
{
	struct sbx *s = ops_create("half");
	uint32_t serial = s->serial;

	(void)state;
	s->gone = true;
	assert_int_equal(record_save(s, NULL), 0);
	sbx_put(s);
	ops_dir_again();
	assert_false(is_there("half"));
	registry_recover();
	ops_await(!(s = registry_find_serial(serial)) || (sbx_put(s), false));
}

static struct sbx *contested;

static void *renamer(void *arg)
{
	char name[32];
	int wins = 0;

	for (int i = 0; i < 40; i++) {
		struct sbx *s;

		(void)snprintf(name, sizeof(name), "n%d", (i + (int)(uintptr_t)arg) % 5);
		s = registry_find(name);
		if (s)
			wins += registry_rename(s, "prize", NULL) == 0;
		sbx_put(s);
		wins += registry_rename(contested, name, NULL) == 0;
	}
	return (void *)(uintptr_t)wins;
}

/* Names stay unique and every sandbox is found by exactly the name that it has. */
static void test_rename_race(void **state)
{
	pthread_t threads[RENAMERS];
	struct sbx *s, *found;
	uint32_t after = 0;

	(void)state;
	contested = ops_create("contested");
	sbx_put(ops_create("n0"));
	for (uintptr_t i = 0; i < RENAMERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, renamer, (void *)i), 0);
	for (int i = 0; i < RENAMERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(count_all(), 2);
	while ((s = registry_next(after))) {
		char name[NAME_MAX_LEN + 1];

		after = s->serial;
		sbx_name(s, name);
		found = registry_find(name);
		assert_ptr_equal(found, s);
		sbx_put(found);
		sbx_put(s);
		remove_and_wait(name);
	}
	sbx_put(contested);
	assert_int_equal(count_all(), 0);
}

static void test_many(void **state)
{
	struct err e = {0};
	char name[32];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "many-%d", i);
		sbx_put(ops_create(name));
	}
	assert_int_equal(count_all(), MANY);
	ops_dir_again();
	assert_int_equal(count_all(), MANY);
	for (int i = 0; i < MANY; i += 97) {
		struct sbx *s;

		(void)snprintf(name, sizeof(name), "many-%d", i);
		s = registry_find(name);
		assert_non_null(s);
		sbx_put(s);
	}
	for (int i = 0; i < MANY; i++) {
		struct sbx *s;

		(void)snprintf(name, sizeof(name), "many-%d", i);
		s = registry_find(name);
		assert_int_equal(registry_remove(s, &e), 0);
		sbx_put(s);
	}
	ops_await(count_all() == 0);
}

static int teardown(void **state)
{
	lane_done();
	return ops_dir_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),       cmocka_unit_test(test_rename),
		cmocka_unit_test(test_protected),   cmocka_unit_test(test_serials),
		cmocka_unit_test(test_stuck),       cmocka_unit_test(test_gone_is_durable),
		cmocka_unit_test(test_rename_race), cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, ops_dir_make, teardown);
}
