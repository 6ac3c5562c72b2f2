// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-volume-full.c - the file store on a file system that is full
 *
 * needs: root
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "tests/unit/volume-place.h"

/* The empty directory becomes a file system of some size. */
static void mount_to(struct place *p, const char *size)
{
	char options[32];

	(void)snprintf(options, sizeof(options), "size=%s", size);
	fd_close(p->to_fd);
	assert_int_equal(mount("tmpfs", p->to, "tmpfs", 0, options), 0);
	p->to_fd = open(p->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->to_fd >= 0);
}

static void unmount_to(struct place *p)
{
	fd_close(steal_fd(&p->to_fd));
	assert_int_equal(umount2(p->to, MNT_DETACH), 0);
}

static void make_data(struct place *p)
{
	struct err e = {0};

	if (shell(p, "command -v qemu-io") != 0)
		skip();
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(shell(p, "qemu-io -f qcow2 -c 'write -P 9 3M 1M' sandbox/disk.qcow2"), 0);
}

static void test_copy(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	make_data(p);
	mount_to(p, "512k");
	assert_int_equal(p->drv->copy(&p->spec, p->to_fd, &p->d, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "disk.qcow2"));
	unmount_to(p);
	mount_to(p, "2m");
	assert_int_equal(p->drv->copy(&p->spec, p->to_fd, &p->d, &e), 0);
	unmount_to(p);
}

static int flatten_into(struct place *p)
{
	AUTO_FD out = openat(p->to_fd, "flat", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err e = {0};

	assert_true(out >= 0);
	return p->drv->flatten(&p->spec, out, &p->d, &e);
}

static void test_flatten(void **state)
{
	struct place *p = *state;

	make_data(p);
	mount_to(p, "512k");
	assert_int_equal(flatten_into(p), -ENOSPC); /* by the base */
	unmount_to(p);
	mount_to(p, "1536k");
	assert_int_equal(flatten_into(p), -ENOSPC); /* by the changes */
	unmount_to(p);
	mount_to(p, "3m");
	assert_int_equal(flatten_into(p), 0);
	unmount_to(p);
}

/* A guest's store asks for room ahead of what the guest writes, and for what has to stay free. */
static void test_grow(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	mount_to(p, "32m");
	fd_close(p->spec.dir_fd);
	p->spec.dir_fd = steal_fd(&p->to_fd);
	p->spec.dir = p->to;
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(p->drv->grow(&p->spec, 8 * MIB, &p->d, &e), 0);
	assert_int_equal(p->drv->grow(&p->spec, 24 * MIB, &p->d, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "make room"));
	assert_int_equal(shell(p, "fallocate -l 20M to/ballast"), 0);
	assert_int_equal(p->drv->grow(&p->spec, 0, &p->d, &e), -ENOSPC);
	assert_int_equal(shell(p, "rm to/ballast"), 0);
	assert_int_equal(p->drv->grow(&p->spec, 8 * MIB, &p->d, &e), 0);
	fd_close(steal_fd(&p->spec.dir_fd));
	unmount_to(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flatten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grow, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
