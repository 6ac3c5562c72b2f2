// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-agent-hung.c - the real agent where a file system hangs
 * needs: root fuse
 *
 * It is one of FUSE that nobody serves, under the name of a disk, seen in a mount namespace of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "tests/unit/agent-ask.h"

enum {
	FIND_MS = 1000, /* that the agent gives it; agent/prepare.c */
};

static char top[64];     /* where it is mounted */
static int fuse_fd = -1; /* whose end is its end */

static void mount_hung(void)
{
	char disk[64], options[96];

	(void)snprintf(disk, sizeof(disk), "%s/disk", agent.dir);
	(void)snprintf(top, sizeof(top), "%s/hung", agent.dir);
	assert_int_equal(mknod(disk, S_IFBLK | 0600, makedev(1, 0)), 0);
	assert_int_equal(mkdir(top, 0700), 0);
	fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	assert_true(fuse_fd >= 0);
	(void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		       fuse_fd);
	assert_int_equal(mount(disk, top, "fuse", 0, options), 0);
}

static void *prepare(void *arg)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);

	*(int *)arg = guest_prepare(&agent.guest, &d, NULL);
	return NULL;
}

static void test_prepare(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	int64_t began = clock_ms();
	pthread_t thread;
	int r = -1;

	(void)state;
	mount_hung();
	assert_int_equal(pthread_create(&thread, NULL, prepare, &r), 0);
	/* Others are answered meanwhile. */
	for (int i = 0; i < 5; i++) {
		assert_int_equal(guest_health(&agent.guest, &d, NULL), 0);
		(void)poll(NULL, 0, 50);
	}
	assert_true(clock_ms() - began < FIND_MS);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r, 0);
	assert_in_range(clock_ms() - began, FIND_MS - 100, 5 * FIND_MS);
	/* What hangs is not tried again, until it has come to an end. */
	began = clock_ms();
	assert_int_equal(guest_prepare(&agent.guest, &d, NULL), 0);
	assert_true(clock_ms() - began < FIND_MS / 2);
	fd_close(steal_fd(&fuse_fd));
	assert_int_equal(umount2(top, MNT_DETACH), 0);
	assert_int_equal(guest_prepare(&agent.guest, &d, NULL), 0);
}

static int start(void **state)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	return agent_group_start(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		AGENT_TEST(test_prepare),
		AGENT_TEST(test_nothing_left),
	};

	return cmocka_run_group_tests(tests, start, agent_group_stop);
}
