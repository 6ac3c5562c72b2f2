/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/ops-dir.h - a state directory of one's own with no drivers: all of ops/ but the guests */
#ifndef SBXFS_TESTS_OPS_DIR_H
#define SBXFS_TESTS_OPS_DIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/registry.h"
#include "ops/serial.h"
#include "ops/slots.h"
#include "ops/template.h"

enum {
	OPS_TRIES = 20000, /* of a millisecond each: then what was waited for will not come */
};

/* True within 20 s? @condition is looked at again and again. */
#define ops_await(condition)                                                                       \
	do {                                                                                       \
		int tries = OPS_TRIES;                                                             \
		bool met;                                                                          \
		while (!(met = (condition)) && tries-- > 0)                                        \
			(void)usleep(1000);                                                        \
		assert_true(met); /* it need not last */                                           \
	} while (0)

static inline void ops_fd(int *fd, const char *name)
{
	struct err e = {0};

	(void)mkdirat(host.state_fd, name, 0700);
	assert_int_equal(file_open_dir(host.state_fd, name, fd, &e), 0);
}

/* A group setup. */
static inline int ops_dir_make(void **state)
{
	/* In memory where that can be: thousands of records are synced. */
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
	struct err e = {0};

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	(void)snprintf(host.state_dir, sizeof(host.state_dir), "%s/sbxfs-ops-XXXXXX",
		       tmp && strlen(tmp) < 100 ? tmp : "/tmp");
	assert_non_null(mkdtemp(host.state_dir));
	(void)snprintf(host.mountpoint, sizeof(host.mountpoint), "%s/mnt", host.state_dir);
	assert_int_equal(file_open_dir(AT_FDCWD, host.state_dir, &host.state_fd, &e), 0);
	ops_fd(&host.sandboxes_fd, "sandboxes");
	ops_fd(&host.templates_fd, "templates");
	memcpy(host.instance, "test", 5);
	host.memory_total_mib = 4096;
	host.memory_reserve_mib = 256;
	(void)snprintf(host.vm_why, sizeof(host.vm_why), "no VMM in this test");
	(void)snprintf(host.volume_why, sizeof(host.volume_why), "no store in this test");
	(void)snprintf(host.net_why, sizeof(host.net_why), "no network in this test");
	slots_init(16, 0);
	assert_int_equal(serial_init(&e), 0);
	assert_int_equal(template_init(&e), 0);
	return registry_load(&e);
}

/* As if the daemon had died and started again. */
static inline void ops_dir_again(void)
{
	struct err e = {0};

	registry_done();
	template_done();
	assert_int_equal(serial_init(&e), 0);
	assert_int_equal(template_init(&e), 0);
	assert_int_equal(registry_load(&e), 0);
}

/* A group teardown; the lanes have to be quiet. */
static inline int ops_dir_remove(void **state)
{
	(void)state;
	registry_done();
	template_done();
	(void)close(host.sandboxes_fd);
	(void)close(host.templates_fd);
	(void)close(host.state_fd);
	return file_remove_tree(AT_FDCWD, host.state_dir, NULL);
}

static inline struct sbx *ops_create(const char *name)
{
	struct writer w = {.uid = geteuid(), .gid = getegid()};
	struct err e = {0};
	struct sbx *s = NULL;

	if (registry_create(name, &w, &s, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	return s;
}

/* Write a file below the state directory. */
static inline void ops_write(const char *path, const char *text)
{
	int fd = openat(host.state_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	(void)close(fd);
}

#endif
