/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-settings.c - the daemon's configuration file */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
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
	settings = defaults;
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
	settings = defaults;
	assert_int_equal(settings_load("/tmp/sbxfs-no-such-file", true, &e), 0);
	assert_int_equal(settings_load("/tmp/sbxfs-no-such-file", false, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/tmp/sbxfs-no-such-file"));
	assert_int_equal(settings_load("/tmp", true, &e), -EISDIR);
	assert_memory_equal(&settings, &defaults, sizeof(settings));
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
		"setting slots_ready\nsetting warm\n");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_dump),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
