/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-qemu-argv.c - QEMU's command line for every kind of spec */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/qemu-argv.h"

static const struct vm_host tcg_host = {
	.accel = VM_ACCEL_TCG, .program = "/usr/bin/qemu-system-x86_64", .tsc_khz = 2300000};
static const struct vm_host kvm_host = {
	.accel = VM_ACCEL_KVM, .program = "/usr/bin/qemu-system-x86_64", .tsc_khz = 2300000};

static const struct vm_spec plain = {.name = "sbxab12-1f",
				     .host = &tcg_host,
				     .vcpus = 2,
				     .memory_mib = 512,
				     .tap_fd = -1,
				     .run_dir = "/run"};
static const struct qemu_fds plain_fds = {.qmp = 3,
					  .console = 5,
					  .ram = 6,
					  .kernel = 7,
					  .initrd = -1,
					  .disk = -1,
					  .base = -1,
					  .tap = -1};

/* The @n-th value (from 0) of option @name; NULL when there is none. */
static const char *value(const struct qemu_argv *a, const char *name, int n)
{
	for (unsigned i = 0; i + 1 < a->count; i++)
		if (strcmp(a->args[i], name) == 0 && n-- == 0)
			return a->args[i + 1];
	return NULL;
}

/* The whole value of the option's occurrence that contains @part; NULL when there is none. */
static const char *value_with(const struct qemu_argv *a, const char *name, const char *part)
{
	const char *v;

	for (int n = 0; (v = value(a, name, n)); n++)
		if (strstr(v, part))
			return v;
	return NULL;
}

static void build(const struct vm_spec *s, const struct qemu_fds *fds,
		  const struct qemu_image *disk, const struct qemu_image *base,
		  struct qemu_argv *ret)
{
	assert_int_equal(qemu_argv_build(s, fds, disk, base, ret, NULL), 0);
	assert_null(ret->args[ret->count]);
}

static void test_plain(void **state)
{
	struct qemu_argv a;

	(void)state;
	build(&plain, &plain_fds, NULL, NULL, &a);
	assert_string_equal(a.args[0], "/usr/bin/qemu-system-x86_64");
	assert_string_equal(value(&a, "-name", 0), "sbxab12-1f");
	assert_string_equal(value(&a, "-accel", 0), "tcg");
	assert_string_equal(value(&a, "-m", 0), "512M");
	assert_string_equal(value(&a, "-smp", 0), "2");
	assert_non_null(strstr(value(&a, "-machine", 0), "microvm,rtc=on,memory-backend=ram0"));
	assert_string_equal(
		value(&a, "-object", 0),
		"memory-backend-file,id=ram0,size=512M,mem-path=/proc/self/fd/6,share=on");
	assert_string_equal(
		value(&a, "-sandbox", 0),
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	assert_string_equal(value(&a, "-kernel", 0), "/proc/self/fd/7");
	assert_null(value(&a, "-initrd", 0));
	assert_null(value(&a, "-blockdev", 0));
	assert_null(value(&a, "-netdev", 0));
	assert_non_null(value_with(&a, "-device", "virtio-rng-device,id=rng0"));
	assert_non_null(
		value_with(&a, "-device", "virtio-balloon-device,id=bal0,free-page-reporting=on"));
	qemu_argv_done(&a);
}

static void test_channels(void **state)
{
	struct vm_spec s = plain;
	struct qemu_argv a;

	(void)state;
	s.run_dir = "/run/a,b";
	build(&s, &plain_fds, NULL, NULL, &a);
	assert_string_equal(value(&a, "-chardev", 0), "socket,id=qmp,fd=3,server=on,wait=off");
	assert_string_equal(
		value(&a, "-chardev", 1),
		"pipe,id=ser,path=/run/a,,b/serial,logfile=/proc/self/fd/5,logappend=on");
	assert_string_equal(value(&a, "-mon", 0), "chardev=qmp,mode=control");
	assert_string_equal(value(&a, "-serial", 0), "chardev:ser");
	qemu_argv_done(&a);
}

static void test_cmdline(void **state)
{
	struct vm_spec s = plain;
	struct qemu_fds fds = plain_fds;
	struct qemu_argv a;

	(void)state;
	s.cmdline = "sbxfs.host=a sbxfs.dns=1.2.3.4,5.6.7.8";
	fds.initrd = 8;
	build(&s, &fds, NULL, NULL, &a);
	assert_string_equal(
		value(&a, "-append", 0),
		"console=ttyS0 panic=-1 reboot=t quiet cryptomgr.notests 8250.nr_uarts=1 "
		"tsc_early_khz=2300000 tsc=reliable sbxfs.host=a sbxfs.dns=1.2.3.4,5.6.7.8");
	assert_string_equal(value(&a, "-initrd", 0), "/proc/self/fd/8");
	qemu_argv_done(&a);

	/* Under KVM the guest gets the frequency from kvmclock. */
	s.host = &kvm_host;
	s.cmdline = NULL;
	build(&s, &fds, NULL, NULL, &a);
	assert_string_equal(
		value(&a, "-append", 0),
		"console=ttyS0 panic=-1 reboot=t quiet cryptomgr.notests 8250.nr_uarts=1");
	assert_string_equal(value(&a, "-accel", 0), "kvm");
	assert_string_equal(value(&a, "-cpu", 0), "host");
	qemu_argv_done(&a);
}

/* The block device of @a as JSON. */
static struct json_object *block(const struct qemu_argv *a)
{
	const char *text = value(a, "-blockdev", 0);
	struct json_object *o = NULL;

	assert_non_null(text);
	assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
	return o;
}

static void test_raw_device(void **state)
{
	const struct qemu_image disk = {.is_device = true, .direct = true};
	struct qemu_fds fds = plain_fds;
	AUTO_JSON o = NULL;
	struct qemu_argv a;

	(void)state;
	fds.disk = 9;
	build(&plain, &fds, &disk, NULL, &a);
	o = block(&a);
	assert_string_equal(json_text_at(o, "driver", ""), "raw");
	assert_string_equal(json_text_at(o, "discard", ""), "unmap");
	assert_string_equal(json_text_at(o, "detect-zeroes", ""), "unmap");
	assert_string_equal(json_text_at(o, "file/driver", ""), "host_device");
	assert_string_equal(json_text_at(o, "file/filename", ""), "/proc/self/fd/9");
	assert_string_equal(json_text_at(o, "file/aio", ""), "native");
	assert_true(json_bool_at(o, "file/cache/direct", false));
	assert_false(json_bool_at(o, "file/read-only", true));
	assert_null(json_at(o, "backing"));
	assert_string_equal(value_with(&a, "-device", "virtio-blk"),
			    "virtio-blk-device,drive=d0,id=blk0,werror=stop,rerror=stop");
	qemu_argv_done(&a);
}

static void test_overlay(void **state)
{
	const struct qemu_image disk = {.direct = false};
	const struct qemu_image base = {.direct = true};
	struct vm_spec s = plain;
	struct qemu_fds fds = plain_fds;
	AUTO_JSON o = NULL;
	struct qemu_argv a;

	(void)state;
	s.disk_format = VM_DISK_QCOW2;
	fds.disk = 9;
	fds.base = 10;
	build(&s, &fds, &disk, &base, &a);
	o = block(&a);
	assert_string_equal(json_text_at(o, "driver", ""), "qcow2");
	assert_string_equal(json_text_at(o, "file/driver", ""), "file");
	assert_string_equal(json_text_at(o, "file/aio", ""), "threads");
	assert_false(json_bool_at(o, "file/cache/direct", true));
	assert_string_equal(json_text_at(o, "backing/driver", ""), "raw");
	assert_true(json_bool_at(o, "backing/read-only", false));
	assert_string_equal(json_text_at(o, "backing/file/filename", ""), "/proc/self/fd/10");
	assert_string_equal(json_text_at(o, "backing/file/aio", ""), "native");
	assert_true(json_bool_at(o, "backing/file/read-only", false));
	qemu_argv_done(&a);
}

static void test_net(void **state)
{
	struct vm_spec s = plain;
	struct qemu_fds fds = plain_fds;
	struct qemu_argv a;

	(void)state;
	s.net = VM_NET_TAP;
	s.mac = "02:00:00:00:00:01";
	fds.tap = 11;
	build(&s, &fds, NULL, NULL, &a);
	assert_string_equal(value(&a, "-netdev", 0), "tap,id=n0,fd=11");
	assert_string_equal(value_with(&a, "-device", "virtio-net"),
			    "virtio-net-device,netdev=n0,id=net0,mac=02:00:00:00:00:01");
	qemu_argv_done(&a);

	s.net = VM_NET_USER;
	s.host_addr = "127.77.0.1";
	s.host_port = 4000;
	s.guest_port = 49983;
	build(&s, &fds, NULL, NULL, &a);
	assert_string_equal(value(&a, "-netdev", 0),
			    "user,id=n0,hostfwd=tcp:127.77.0.1:4000-:49983");
	qemu_argv_done(&a);
}

/* A guest that goes on has the same devices, and no kernel. */
static void test_saved(void **state)
{
	const struct vm_saved saved = {.dir = "/x", .dir_fd = -1};
	struct vm_spec s = plain;
	struct qemu_fds fds = plain_fds;
	struct qemu_argv a, booted;
	const char *device;

	(void)state;
	s.net = VM_NET_TAP;
	s.mac = "02:00:00:00:00:01";
	fds.tap = 11;
	build(&s, &fds, NULL, NULL, &booted);
	s.saved = &saved;
	fds.kernel = -1;
	build(&s, &fds, NULL, NULL, &a);
	assert_null(value(&a, "-kernel", 0));
	assert_null(value(&a, "-initrd", 0));
	assert_null(value(&a, "-append", 0));
	assert_string_equal(value(&a, "-incoming", 0), "defer");
	assert_string_equal(a.args[a.count - 3], "-S");
	assert_non_null(strstr(value(&a, "-object", 0), "/proc/self/fd/6,share=on"));
	for (int i = 0; (device = value(&booted, "-device", i)); i++)
		assert_string_equal(value(&a, "-device", i), device);
	qemu_argv_done(&a);
	qemu_argv_done(&booted);

	fds.ram_private = true;
	build(&s, &fds, NULL, NULL, &a);
	assert_non_null(strstr(value(&a, "-object", 0), "/proc/self/fd/6,share=off"));
	qemu_argv_done(&a);
}

static void test_refused(void **state)
{
	struct vm_spec s = plain;
	struct qemu_argv a;
	struct err e = {0};

	(void)state;
	s.name = "a,process=b";
	assert_int_equal(qemu_argv_build(&s, &plain_fds, NULL, NULL, &a, &e), -EINVAL);
	assert_int_equal(e.code, EINVAL);
	qemu_argv_done(&a);
	s = plain;
	s.memory_mib = 0;
	assert_int_equal(qemu_argv_build(&s, &plain_fds, NULL, NULL, &a, NULL), -EINVAL);
	qemu_argv_done(&a);
	s = plain;
	s.net = VM_NET_TAP;
	assert_int_equal(qemu_argv_build(&s, &plain_fds, NULL, NULL, &a, NULL), -EINVAL);
	qemu_argv_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),   cmocka_unit_test(test_channels),
		cmocka_unit_test(test_cmdline), cmocka_unit_test(test_raw_device),
		cmocka_unit_test(test_overlay), cmocka_unit_test(test_net),
		cmocka_unit_test(test_saved),   cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
