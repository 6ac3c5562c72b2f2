/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-settings.c - the daemon's configuration file */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ops/settings.h"

static struct settings defaults;
static char path[64];

static int setup(void **state)
{
	int fd;

	(void)state;
	defaults = settings;
	(void)snprintf(path, sizeof(path), "/tmp/sbxfs-conf-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static int load(const char *text, size_t len, struct err *e)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, len), 0);
	(void)close(fd);
	return settings_load(path, false, e);
}

static void test_good(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(load("", 0, &e), 0);
	assert_memory_equal(&settings, &defaults, sizeof(settings));
#define TEXT                                                                                       \
	"# ours\n\n  disk_overcommit = 150 \r\ndisk_reserve_mb=7\n\t# more\nmemory_overcommit=200\nwarm=no"
	assert_int_equal(load(TEXT, strlen(TEXT), &e), 0);
	assert_int_equal(settings.disk_overcommit_pct, 150);
	assert_int_equal(settings.disk_reserve_mb, 7);
	assert_int_equal(settings.memory_overcommit_pct, 200);
	assert_int_equal(settings.warm, SETTING_NO);
	assert_int_equal(load("address_pool=10.90.0.0/20", 25, &e), 0);
	assert_string_equal(settings.address_pool, "10.90.0.0/20");
	assert_int_equal(load("address_pool=\nslots_ready=0", 27, &e), 0);
	assert_string_equal(settings.address_pool, "");
	assert_int_equal(settings.slots_ready, 0);
	assert_int_equal(load("warm = auto", strlen("warm = auto"), &e), 0);
	assert_int_equal(settings.warm, SETTING_AUTO);
}

/* Each is refused with file and line. */
static void test_bad(void **state)
{
	static const char *const bad[] = {
		"disk_overcomit=5",
		"disk_overcommit",
		"disk_overcommit=",
		"disk_overcommit=5%",
		"disk_overcommit=-1",
		"disk_reserve_mb=4294967296",
		"memory_overcommit=0",
		"warm=1",
		"warm=yes",
		"slots_ready=1001",
		"address_pool=10.90.0.0",
		"address_pool=10.90.0.1/20",
		"address_pool=10.90.0.0/15",
		"address_pool=10.90.0.0/29",
		"address_pool=127.83.0.0/20",
		"address_pool=169.254.0.0/20",
		"address_pool=224.0.0.0/16",
		"address_pool=10.90.0.0/20x",
		"address_pool=fd00::/20",
		"=5",
		"disk_reserve_mb=1\n# \ndisk_reserve_mb=1",
	};
	char place[80];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool last = i + 1 == sizeof(bad) / sizeof(bad[0]);
		struct err e = {0};

		assert_int_equal(load(bad[i], strlen(bad[i]), &e), -EINVAL);
		(void)snprintf(place, sizeof(place), "%s:%d: ", path, last ? 3 : 1);
		assert_int_equal(strncmp(e.text, place, strlen(place)), 0);
	}
	assert_int_equal(load("a\0b", 3, NULL), -EINVAL);
}

static void test_missing(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(settings_load("/tmp/sbxfs-no-such-file", true, &e), 0);
	assert_int_equal(settings_load("/tmp/sbxfs-no-such-file", false, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/tmp/sbxfs-no-such-file"));
	assert_int_equal(settings_load("/tmp", true, &e), -EISDIR);
	assert_memory_equal(&settings, &defaults, sizeof(settings));
}

/* What is written from now on is read by settings_reload(). */
static void rewrite(const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	(void)close(fd);
}

static void assert_reload(const char *text, const char *changes)
{
	struct buf b = BUF_INIT;
	struct err e = {0};

	rewrite(text);
	if (settings_reload(&b, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_text(&b), changes);
	buf_done(&b);
}

static void test_reload(void **state)
{
	struct settings all;

	(void)state;
	assert_int_equal(load("pool=3\nwarm=no", 14, NULL), 0);
	assert_reload("pool=3\nwarm=no\n# more", "");
	assert_reload("warm=no\nslots_ready=7\npool=4", "pool: 3 -> 4\nslots_ready: 2 -> 7\n");
	assert_int_equal(settings.pool, 4);
	assert_reload(
		"on_shutdown=leave\naddress_pool=10.90.0.0/20",
		"address_pool: \"\" -> 10.90.0.0/20 (takes effect at the next start of sbxfs)\n"
		"on_shutdown: stop -> leave\npool: 4 -> 0\nslots_ready: 7 -> 2\n"
		"warm: no -> auto\n");
	settings_copy(&all);
	assert_int_equal(all.on_shutdown, SHUTDOWN_LEAVE);
	assert_string_equal(all.address_pool, "10.90.0.0/20");
	assert_reload(
		"", "address_pool: 10.90.0.0/20 -> \"\" (takes effect at the next start of sbxfs)\n"
		    "on_shutdown: leave -> stop\n");
	assert_memory_equal(&settings, &defaults, sizeof(settings));
}

/* A file with an error anywhere changes nothing. */
static void test_reload_bad(void **state)
{
	struct settings before;
	struct buf b = BUF_INIT;
	struct err e = {0};
	char place[128];

	(void)state;
	assert_int_equal(load("pool=3", 6, &e), 0);
	before = settings;
	rewrite("pool=9\nslots_ready=9\n\nwarm=perhaps\n");
	assert_int_equal(settings_reload(&b, &e), -EINVAL);
	(void)snprintf(place, sizeof(place), "%s:4: warm=perhaps: ", path);
	assert_int_equal(strncmp(e.text, place, strlen(place)), 0);
	assert_memory_equal(&settings, &before, sizeof(settings));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(settings_reload(&b, &e), -ENOENT); /* it was named */
	assert_memory_equal(&settings, &before, sizeof(settings));
	assert_int_equal(b.len, 0);
	assert_int_equal(settings_load(path, true, &e), 0);
	assert_int_equal(settings.pool, 0);
	assert_int_equal(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	assert_reload("pool=1", "pool: 0 -> 1\n"); /* it was not there, and is now */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(settings_reload(&b, &e), 0);
	assert_string_equal(buf_text(&b), "pool: 1 -> 0\n");
	assert_int_equal(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	buf_done(&b);
}

/* The file is found again from another directory. */
static void test_reload_relative(void **state)
{
	struct err e = {0};
	char *here = getcwd(NULL, 0);

	(void)state;
	assert_non_null(here);
	rewrite("pool=5");
	assert_int_equal(chdir("/tmp"), 0);
	assert_int_equal(settings_load(strrchr(path, '/') + 1, false, &e), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(settings.pool, 5);
	assert_reload("pool=6", "pool: 5 -> 6\n");
	assert_int_equal(chdir(here), 0);
	free(here);
}

/* ---- several threads -------------------------------------------------------------------------------------- */

enum { READERS = 3, RELOADS = 200 };

static atomic_bool over;

/* The two files have nothing in common. */
static void *read_all(void *arg)
{
	struct settings s;

	(void)arg;
	while (!atomic_load(&over)) {
		settings_copy(&s);
		if ((s.pool == 1) != (s.slots_ready == 11) ||
		    (s.pool == 1) != (strcmp(s.address_pool, "10.91.0.0/20") == 0))
			return arg;
		if (settings.pool != 1 && settings.pool != 2)
			return arg;
	}
	return NULL;
}

static void test_threads(void **state)
{
	static const char *const files[] = {"pool=1\nslots_ready=11\naddress_pool=10.91.0.0/20\n",
					    "pool=2\nslots_ready=12\naddress_pool=10.92.0.0/20\n"};
	pthread_t threads[READERS];
	struct err e = {0};
	void *bad;

	(void)state;
	rewrite(files[0]);
	assert_int_equal(settings_load(path, false, &e), 0);
	atomic_store(&over, false);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_all, &over), 0);
	for (int i = 1; i <= RELOADS; i++) {
		struct buf b = BUF_INIT;

		rewrite(files[i % 2]);
		assert_int_equal(settings_reload(&b, &e), 0);
		assert_int_not_equal(b.len, 0);
		buf_done(&b);
	}
	atomic_store(&over, true);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
}

static void test_dump(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	settings_dump(&b);
	assert_string_equal(
		buf_text(&b),
		"setting address_pool\nsetting disk_overcommit\nsetting disk_reserve_mb\n"
		"setting memory_overcommit\nsetting on_shutdown\nsetting pool\n"
		"setting slots_ready\nsetting warm\nsetting webhook_lost\n"
		"setting webhook_on_lost\nsetting webhook_secret_file\nsetting webhook_url\n");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),       cmocka_unit_test(test_bad),
		cmocka_unit_test(test_missing),    cmocka_unit_test(test_reload),
		cmocka_unit_test(test_reload_bad), cmocka_unit_test(test_reload_relative),
		cmocka_unit_test(test_threads),    cmocka_unit_test(test_dump),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
