/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-record.c - records: what is kept, what is damaged, and who saves last */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "ops/journal.h"
#include "ops/record.h"
#include "ops/steps.h"

static char *path_of(const struct sbx *s, const char *file, char path[64])
{
	(void)snprintf(path, 64, "sandboxes/%" PRIu32 "/%s", s->serial, file);
	return path;
}

static void read_record(const struct sbx *s, struct buf *b)
{
	char path[64];

	assert_int_equal(file_read(host.state_fd, path_of(s, "record", path), 1 << 20, b, NULL), 0);
}

/* Rewrite its record, start again, find it by its serial. */
static struct sbx *reload(struct sbx *s, const char *text)
{
	uint32_t serial = s->serial;
	char path[64];

	if (text)
		ops_write(path_of(s, "record", path), text);
	sbx_put(s);
	ops_dir_again();
	return registry_find_serial(serial);
}

static void test_all_comes_back(void **state)
{
	struct sbx *s = ops_create("whole");
	struct err e = {0};

	(void)state;
	assert_int_equal(config_set(&s->config, "memory_mb", "128", NULL, &e), 0);
	assert_int_equal(config_set(&s->config, "env.A", "line\nand \"quote\" \\", NULL, &e), 0);
	assert_int_equal(registry_set_owner(s, 12, 34, 0640, &e), 0);
	s->created_ms = 1234567890123;
	(void)snprintf(s->token, sizeof(s->token), "%s", "abc");
	(void)snprintf(s->last_error, sizeof(s->last_error), "%s", "it\tfailed");
	assert_int_equal(record_save(s, &e), 0);
	s = reload(s, NULL);
	assert_non_null(s);
	assert_string_equal(s->name, "whole");
	assert_string_equal(config_get(&s->config, "env.A"), "line\nand \"quote\" \\");
	assert_int_equal(config_number(&s->config, NULL, CONFIG_MEMORY_MB), 128);
	assert_int_equal(s->uid, 12);
	assert_int_equal(s->gid, 34);
	assert_int_equal(s->mode, 0640);
	assert_true(s->created_ms == 1234567890123);
	assert_string_equal(s->token, "abc");
	assert_string_equal(s->last_error, "it\tfailed");
	assert_int_equal(sbx_state(s), SBX_CREATED);
	assert_false(s->damaged);
	sbx_put(s);
}

/* A newer version's members and settings survive being read and written by this one. */
static void test_unknown_is_kept(void **state)
{
	struct sbx *s = ops_create("newer");
	AUTO_BUF b = BUF_INIT;
	struct err e = {0};

	(void)state;
	s = reload(
		s,
		"{\"name\":\"newer\",\"colour\":{\"a\":[1,2]},"
		"\"config\":{\"vcpus\":\"2\",\"env.B\":\"b\",\"warp_factor\":\"9\",\"config\":{\"x\":1}}}");
	assert_non_null(s);
	assert_false(s->damaged);
	assert_int_equal(config_number(&s->config, NULL, CONFIG_VCPUS), 2);
	assert_int_equal(config_set(&s->config, "vcpus", "3", NULL, &e), 0);
	assert_int_equal(config_set(&s->config, "env.B", NULL, NULL, &e), 0);
	assert_int_equal(record_save(s, &e), 0);
	read_record(s, &b);
	assert_non_null(strstr(buf_text(&b), "\"warp_factor\":\"9\""));
	assert_non_null(strstr(buf_text(&b), "\"colour\""));
	assert_non_null(strstr(buf_text(&b), "\"vcpus\":\"3\""));
	assert_null(strstr(buf_text(&b), "env.B"));
	s = reload(s, NULL);
	assert_int_equal(config_number(&s->config, NULL, CONFIG_VCPUS), 3);
	sbx_put(s);
}

static void test_damaged(void **state)
{
	static const char *const bad[] = {"",
					  "{",
					  "[]",
					  "{\"name\":\"x\"}",
					  "{\"name\":\"../x\",\"config\":{}}",
					  "{\"name\":\"x\",\"config\":{\"vcpus\":\"many\"}}",
					  "{\"name\":\"x\",\"config\":7}"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sbx *s = reload(ops_create("fine"), bad[i]);
		AUTO_BUF b = BUF_INIT;
		char name[32];

		assert_non_null(s);
		assert_true(s->damaged);
		assert_int_equal(sbx_state(s), SBX_ERROR);
		(void)snprintf(name, sizeof(name), "damaged~%" PRIu32, s->serial);
		assert_string_equal(s->name, name);
		assert_int_equal(record_save(s, NULL), -EIO);
		assert_int_equal(registry_rename(s, "other", NULL), -EIO);
		read_record(s, &b); /* untouched */
		assert_string_equal(buf_text(&b), bad[i]);
		registry_forget(s);
		assert_int_equal(file_remove_tree(AT_FDCWD, s->dir, NULL), 0);
		sbx_put(s);
	}
}

/* mkdir died before its record: nobody was told of it, so it goes. */
static void test_no_record(void **state)
{
	struct sbx *s = ops_create("early"), *again;
	char path[64], dir[64];

	(void)state;
	path_of(s, "record", path);
	path_of(s, "", dir);
	assert_int_equal(unlinkat(host.state_fd, path, 0), 0);
	again = reload(s, NULL);
	assert_null(again);
	assert_int_equal(faccessat(host.state_fd, dir, F_OK, 0), -1);
}

/* Its record is gone, and what it names is not: nobody has destroyed it. */
static void test_lost_record(void **state)
{
	struct sbx *s = ops_create("lost");
	char path[64];

	(void)state;
	s->level = LEVEL_DATA;
	assert_int_equal(journal_write(s, NULL), 0);
	path_of(s, "record", path);
	assert_int_equal(unlinkat(host.state_fd, path, 0), 0);
	s = reload(s, NULL);
	assert_non_null(s);
	assert_true(s->damaged);
	assert_int_equal(sbx_state(s), SBX_ERROR);
	path_of(s, "journal", path);
	assert_int_equal(faccessat(host.state_fd, path, F_OK, 0), 0);
	registry_forget(s);
	assert_int_equal(file_remove_tree(AT_FDCWD, s->dir, NULL), 0);
	sbx_put(s);
}

static void *owner_thread(void *arg)
{
	for (int i = 1; i <= 30; i++)
		assert_int_equal(registry_set_owner(arg, (uid_t)i, (gid_t)i, 0700, NULL), 0);
	return NULL;
}

/* Whoever saves last, the record holds what both have changed. */
static void test_two_savers(void **state)
{
	struct sbx *s = ops_create("race");
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, owner_thread, s), 0);
	for (int i = 0; i < 30; i++) {
		pthread_mutex_lock(&s->lock);
		(void)snprintf(s->last_error, sizeof(s->last_error), "%d", i);
		pthread_mutex_unlock(&s->lock);
		assert_int_equal(record_save(s, NULL), 0);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	s = reload(s, NULL);
	assert_int_equal(s->uid, 30);
	assert_string_equal(s->last_error, "29");
	sbx_put(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_comes_back), cmocka_unit_test(test_unknown_is_kept),
		cmocka_unit_test(test_damaged),        cmocka_unit_test(test_no_record),
		cmocka_unit_test(test_two_savers),     cmocka_unit_test(test_lost_record),
	};

	return cmocka_run_group_tests(tests, ops_dir_make, ops_dir_remove);
}
