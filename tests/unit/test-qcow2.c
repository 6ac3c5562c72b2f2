// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-qcow2.c - storage/qcow2.c: overlays that QEMU's own tools accept */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/qcow2.h"

#define MIB (1024 * 1024)

struct place {
	char dir[64];
	char base[96];
	char overlay[96];
	int fd;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char text[4096];

	assert_non_null(p);
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/test-qcow2.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->base, sizeof(p->base), "%s/base.img", p->dir);
	(void)snprintf(p->overlay, sizeof(p->overlay), "%s/o.qcow2", p->dir);
	AUTO_FD base = open(p->base, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(base >= 0);
	memset(text, 'b', sizeof(text));
	for (int i = 0; i < 256; i++)
		assert_int_equal(pwrite(base, text, sizeof(text), (off_t)i * 3 * 4096),
				 sizeof(text));
	assert_int_equal(ftruncate(base, 4 * MIB), 0);
	p->fd = open(p->overlay, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	fd_close(p->fd);
	assert_int_equal(file_remove_tree(AT_FDCWD, p->dir, NULL), 0);
	free(p);
	return 0;
}

/* A shell command with the overlay as $o and the base as $b; its exit status. */
static int shell(const struct place *p, const char *command)
{
	char line[1024];
	int status;

	(void)snprintf(line, sizeof(line), "o=%s b=%s; { %s; } >/dev/null 2>&1", p->overlay,
		       p->base, command);
	status = system(line); /* NOLINT(cert-env33-c): a test, and the command is ours */
	assert_true(status >= 0);
	return status >> 8;
}

static void need_qemu_img(const struct place *p)
{
	if (shell(p, "command -v qemu-img") != 0)
		skip();
}

static void test_qemu_accepts_it(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	need_qemu_img(p);
	assert_int_equal(qcow2_create(p->fd, p->base, 4 * MIB, &e), 0);
	assert_int_equal(shell(p, "qemu-img check $o"), 0);
	assert_int_equal(shell(p, "qemu-img compare -f qcow2 -F raw $o $b"), 0);
	assert_int_equal(shell(p, "qemu-img info $o | grep -q 'backing file format: raw' && "
				  "qemu-img info $o | grep -q 'extended l2: true' && "
				  "qemu-img info $o | grep -q 'cluster_size: 131072'"),
			 0);
}

static void test_qemu_writes_it(void **state)
{
	struct place *p = *state;
	uint64_t bytes = 0;
	struct err e = {0};

	need_qemu_img(p);
	assert_int_equal(qcow2_create(p->fd, p->base, UINT64_C(3000) * MIB, &e), 0);
	if (shell(p, "command -v qemu-io") != 0)
		skip();
	assert_int_equal(shell(p, "qemu-io -c 'write -P 7 8k 12k' -c 'write -P 9 2500M 64k' $o"),
			 0);
	assert_int_equal(shell(p, "qemu-img check $o"), 0);
	assert_int_equal(
		shell(p,
		      "qemu-io -c 'read -P 7 8k 12k' -c 'read -P 9 2500M 64k' "
		      "-c 'read -P 98 0 4k' -c 'read -P 0 100M 1M' $o | grep -c failed | grep -qx 0"),
		0);
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), 0);
	assert_int_equal(bytes, UINT64_C(3000) * MIB);
}

static void test_grow(void **state)
{
	struct place *p = *state;
	uint64_t bytes = 0;
	struct err e = {0};

	assert_int_equal(qcow2_create(p->fd, p->base, 4 * MIB, &e), 0);
	assert_int_equal(qcow2_grow(p->fd, UINT64_C(9000) * MIB, &e), 0);
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), 0);
	assert_int_equal(bytes, UINT64_C(9000) * MIB);
	need_qemu_img(p);
	assert_int_equal(shell(p, "qemu-img check $o"), 0);
	assert_int_equal(shell(p, "qemu-io -c 'write -P 9 8999M 64k' $o && qemu-img check $o"), 0);
}

static void test_small_on_disk(void **state)
{
	struct place *p = *state;
	struct stat st;

	assert_int_equal(qcow2_create(p->fd, p->base, UINT64_C(5120) * MIB, NULL), 0);
	assert_int_equal(fstat(p->fd, &st), 0);
	assert_true(st.st_blocks * 512 <= 16 * 1024);
}

static void test_limits(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	char name[1100];

	memset(name, 'n', sizeof(name));
	name[0] = '/';
	name[1024] = '\0';
	assert_int_equal(qcow2_create(p->fd, name, 4 * MIB, &e), -ENAMETOOLONG);
	assert_int_equal(qcow2_create(p->fd, p->base, (UINT64_C(1) << 44) + MIB, &e), -EFBIG);
	name[1023] = '\0';
	assert_int_equal(qcow2_create(p->fd, name, UINT64_C(1) << 44, &e), 0);
	need_qemu_img(p);
	assert_int_equal(shell(p, "qemu-img info -U $o | grep -q '16 TiB'"), 0);
}

static void test_damage(void **state)
{
	struct place *p = *state;
	unsigned char corrupt[8] = {0, 0, 0, 0, 0, 0, 0, 0x12};
	uint64_t bytes;
	struct err e = {0};

	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), -EBADMSG); /* empty */
	assert_int_equal(qcow2_create(p->fd, p->base, 4 * MIB, &e), 0);
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), 0);
	assert_int_equal(qcow2_check(p->fd, "/another", &bytes, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "/another"));
	assert_int_equal(pwrite(p->fd, corrupt, sizeof(corrupt), 72), sizeof(corrupt));
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "corrupt"));
	corrupt[7] = 0x11; /* dirty: the VMM died; it repairs that itself */
	assert_int_equal(pwrite(p->fd, corrupt, sizeof(corrupt), 72), sizeof(corrupt));
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), 0);
	assert_int_equal(ftruncate(p->fd, 200000), 0);
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), -EBADMSG);
	assert_int_equal(pwrite(p->fd, "X", 1, 0), 1);
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_qemu_accepts_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_qemu_writes_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_on_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
