// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-volume-data.c - the file store's data: copied, flattened, taken over from elsewhere, measured */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "tests/unit/volume-place.h"

/* An image's path that no overlay can name, by slashes: the data is a raw copy then. */
static char raw_base[2000];

static void make_raw(struct place *p)
{
	memset(raw_base, '/', 1100);
	(void)snprintf(raw_base + 1100, sizeof(raw_base) - 1100, "%s", p->base);
	p->spec.base = raw_base;
}

static void make_data(struct place *p, bool raw)
{
	struct err e = {0};

	if (shell(p, "command -v qemu-io && command -v qemu-img") != 0)
		skip();
	if (raw)
		make_raw(p);
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(
		shell(p, raw ? "qemu-io -f raw -c 'write -P 7 4k 9k' -c 'write -z 16k 16k' "
			       "-c 'write -P 9 3M 1M' sandbox/disk.raw"
			     : "qemu-io -f qcow2 -c 'write -P 7 4k 9k' -c 'write -z 16k 16k' "
			       "-c 'write -P 9 3M 1M' sandbox/disk.qcow2"),
		0);
}

static void check_flat(struct place *p, const struct volume_spec *s, const char *judge)
{
	struct err e = {0};
	struct stat st;
	AUTO_FD out = openat(AT_FDCWD, p->root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char path[64], command[512];

	assert_true(out >= 0);
	if (p->drv->flatten(s, out, &p->d, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(fstat(out, &st), 0);
	assert_int_equal(st.st_size, 8 * MIB);
	assert_true(st.st_blocks * 512 < 2 * MIB + 64 * 1024);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), out);
	(void)snprintf(command, sizeof(command), "%s && cmp judge %s", judge, path);
	assert_int_equal(shell(p, command), 0);
}

/* A snapshot, and a second sandbox that goes on from it over a template elsewhere. */
static void through_copy(struct place *p, bool raw)
{
	const char *name = raw ? "disk.raw" : "disk.qcow2";
	struct volume_spec to;
	struct volume *v;
	struct err e = {0};
	char other[96];

	make_data(p, raw);
	assert_string_equal(p->drv->data_name(p->spec.dir_fd), name);
	assert_null(p->drv->data_name(p->to_fd));
	assert_int_equal(p->drv->copy(&p->spec, p->to_fd, &p->d, &e), 0);
	assert_string_equal(p->drv->data_name(p->to_fd), name);
	assert_int_equal(p->drv->copy(&p->spec, p->to_fd, &p->d, &e), -EEXIST);

	assert_int_equal(shell(p, "cp --sparse=always base.img other.img"), 0);
	(void)snprintf(other, sizeof(other), "%s/other.img", p->root);
	to = p->spec;
	to.dir = p->to;
	to.dir_fd = p->to_fd;
	to.base = other;
	if (p->drv->adopt_data(&to, &e) < 0)
		fail_msg("%s", e.text);
	if (!raw)
		assert_int_equal(
			shell(p,
			      "mv base.img away && qemu-img check to/disk.qcow2 && mv away base.img"),
			0);
	assert_int_equal(p->drv->up(&to, &p->d, &v, &e), 0);
	assert_int_equal(p->drv->adopt_data(&to, &e), -EBUSY);
	assert_int_equal(p->drv->down(&to, v, &p->d, &e), 0);
	check_flat(p, &to,
		   raw ? "cp sandbox/disk.raw judge"
		       : "qemu-img convert -f qcow2 -O raw sandbox/disk.qcow2 judge");
	check_flat(p, &p->spec, "true");
}

static void test_overlay(void **state)
{
	through_copy(*state, false);
}

static void test_raw(void **state)
{
	through_copy(*state, true);
}

/* The disk has become larger in its settings, and no start was since. */
static void test_flatten_larger(void **state)
{
	struct place *p = *state;
	AUTO_FD out = openat(AT_FDCWD, p->root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct err e = {0};
	struct stat st;

	make_data(p, false);
	p->spec.size_bytes = 64 * MIB;
	assert_int_equal(p->drv->flatten(&p->spec, out, &p->d, &e), 0);
	assert_int_equal(fstat(out, &st), 0);
	assert_int_equal(st.st_size, 64 * MIB);
}

static void test_nothing_there(void **state)
{
	struct place *p = *state;
	AUTO_FD out = openat(AT_FDCWD, p->root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct err e = {0};

	assert_int_equal(p->drv->copy(&p->spec, p->to_fd, &p->d, &e), -ENOENT);
	assert_int_equal(p->drv->flatten(&p->spec, out, &p->d, &e), -ENOENT);
	assert_int_equal(p->drv->adopt_data(&p->spec, &e), -EBADMSG);
	assert_int_equal(p->drv->grow(&p->spec, 0, &p->d, &e), -EBADMSG);
}

static void test_cancelled(void **state)
{
	struct place *p = *state;
	AUTO_FD out = openat(AT_FDCWD, p->root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	AUTO_FD cancel = eventfd(1, EFD_CLOEXEC);
	struct err e = {0};

	make_data(p, false);
	p->d.cancel_fd = cancel;
	assert_int_equal(p->drv->copy(&p->spec, p->to_fd, &p->d, &e), -ECANCELED);
	assert_int_equal(p->drv->flatten(&p->spec, out, &p->d, &e), -ECANCELED);
}

/* Damage deep inside, which an overlay's header does not show. */
static void test_damaged(void **state)
{
	struct place *p = *state;
	AUTO_FD out = openat(AT_FDCWD, p->root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct err e = {0};

	make_data(p, false);
	assert_int_equal(shell(p, "truncate -s 700000 sandbox/disk.qcow2"), 0);
	assert_int_equal(p->drv->copy(&p->spec, p->to_fd, &p->d, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "sandbox/disk.qcow2"));
	assert_null(p->drv->data_name(p->to_fd));
	assert_int_equal(p->drv->flatten(&p->spec, out, &p->d, &e), -EBADMSG);
	assert_int_equal(p->drv->adopt_data(&p->spec, &e), -EBADMSG);
}

/* What an import may bring. */
static void test_adopt_refuses(void **state)
{
	static const char *const bad[] = {
		"truncate -s 1M sandbox/disk.raw", /* shorter than the base */
		"truncate -s 3000001 sandbox/disk.raw",
		"truncate -s 9M sandbox/disk.raw", /* longer than the disk */
		"mkfifo sandbox/disk.raw",
		"mkdir sandbox/disk.raw",
		"ln -s ../base.img sandbox/disk.raw",
		"truncate -s 4M other.img; ln other.img sandbox/disk.raw",
		"truncate -s 4M sandbox/disk.raw; ln -s gone sandbox/disk.qcow2",
		"truncate -s 8M sandbox/disk.raw sandbox/disk.qcow2",
		"truncate -s 8M sandbox/disk.qcow2",
		"qemu-img create -f qcow2 -F raw -b $PWD/base.img sandbox/disk.qcow2 8M",
		"qemu-img create -f qcow2 -o cluster_size=128k,extended_l2=on sandbox/disk.qcow2 8M",
		"qemu-img create -f qcow2 -o cluster_size=128k,extended_l2=on,data_file=$PWD/data.img,"
		"data_file_raw=on sandbox/disk.qcow2 8M",
	};
	struct place *p = *state;
	struct err e = {0};

	if (shell(p, "command -v qemu-img") != 0)
		skip();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r;

		assert_int_equal(shell(p, bad[i]), 0);
		e.text[0] = '\0';
		r = p->drv->adopt_data(&p->spec, &e);
		if (r != -EBADMSG || !e.text[0])
			fail_msg("%s: %d %s", bad[i], r, e.text);
		assert_int_equal(shell(p, "rm -rf sandbox/*"), 0);
	}
	assert_int_equal(shell(p, "truncate -s 4M sandbox/disk.raw; chmod 0666 sandbox/disk.raw"),
			 0);
	assert_int_equal(p->drv->adopt_data(&p->spec, &e), 0);
	assert_int_equal(shell(p, "[ $(stat -c %a sandbox/disk.raw) = 600 ]"), 0);
}

/* An overlay of a disk that the template does not fit, or that does not fit the sandbox. */
static void test_adopt_sizes(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	make_data(p, false);
	p->spec.size_bytes = 4 * MIB;
	assert_int_equal(p->drv->adopt_data(&p->spec, &e), -EBADMSG);
	p->spec.size_bytes = 16 * MIB;
	assert_int_equal(p->drv->adopt_data(&p->spec, &e), 0);
	assert_int_equal(shell(p, "truncate -s 9M base.img"), 0);
	assert_int_equal(p->drv->adopt_data(&p->spec, &e), -EBADMSG);
}

static void check_health(struct place *p, const char *name)
{
	struct volume_usage u = {0};
	struct err e = {0};
	char command[64];

	assert_int_equal(p->drv->usage(&p->spec, &u), 0);
	assert_int_equal(u.health, VOLUME_WELL);
	assert_true(u.used_bytes > MIB && u.used_bytes < 3 * MIB);
	assert_int_equal(u.total_bytes, 8 * MIB);
	assert_int_equal(p->drv->grow(&p->spec, 0, &p->d, &e), 0);
	assert_int_equal(p->drv->grow(&p->spec, UINT64_C(1) << 60, &p->d, &e), -ENOSPC);
	assert_int_equal(p->drv->grow(&p->spec, UINT64_MAX, &p->d, &e), -ENOSPC);
	(void)snprintf(command, sizeof(command), "truncate -s 300000 sandbox/%s", name);
	assert_int_equal(shell(p, command), 0);
	assert_int_equal(p->drv->usage(&p->spec, &u), 0);
	assert_int_equal(u.health, VOLUME_BROKEN);
	assert_int_equal(p->drv->grow(&p->spec, 0, &p->d, &e), -EBADMSG);
	assert_int_equal(shell(p, "rm sandbox/*"), 0);
	assert_int_equal(p->drv->usage(&p->spec, &u), -ENOENT);
	assert_int_equal(p->drv->grow(&p->spec, 0, &p->d, &e), -EBADMSG);
}

static void test_health_overlay(void **state)
{
	make_data(*state, false);
	check_health(*state, "disk.qcow2");
}

static void test_health_raw(void **state)
{
	make_data(*state, true);
	check_health(*state, "disk.raw");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_overlay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_raw, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flatten_larger, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health_overlay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health_raw, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
