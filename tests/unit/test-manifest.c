/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-manifest.c - what saved memory fits to: written, read, compared, and its files */
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

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/manifest.h"
#include "vm/qemu-private.h"

static char dir[64];
static int dirfd_of_dir = -1;

static const struct vm_host tcg_host = {.driver = &qemu_driver,
					.accel = VM_ACCEL_TCG,
					.program = "/usr/bin/qemu-system-x86_64",
					.version = "7.2.22 (Debian 1:7.2)",
					.tsc_khz = 2300000};
static const struct vm_spec spec = {.name = "sbx-1",
				    .host = &tcg_host,
				    .template = "debian@0123456789ab",
				    .vcpus = 2,
				    .memory_mib = 512,
				    .disk = "/disk",
				    .net = VM_NET_TAP,
				    .mac = "02:00:00:00:00:01",
				    .run_dir = "/run"};

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/sbxfs-manifest-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	return file_open_dir(AT_FDCWD, dir, &dirfd_of_dir, NULL);
}

static int teardown(void **state)
{
	(void)state;
	fd_close(dirfd_of_dir);
	return file_remove_tree(AT_FDCWD, dir, NULL);
}

static void put(const char *name, const char *text)
{
	assert_int_equal(file_replace(dirfd_of_dir, name, 0600, text, strlen(text), NULL), 0);
}

static void make(struct manifest *m)
{
	assert_int_equal(qemu_manifest(&spec, m, NULL), 0);
}

static void test_qemu(void **state)
{
	struct manifest m;

	(void)state;
	make(&m);
	assert_string_equal(m.driver, "qemu");
	assert_string_equal(m.version, "7.2.22 (Debian 1:7.2)");
	assert_string_equal(m.accel, "tcg");
	assert_string_equal(m.machine, "microvm,rtc=on");
	assert_string_equal(m.cpu, "");
	assert_string_equal(m.net, "tap");
	assert_string_equal(m.template, "debian@0123456789ab");
	assert_string_equal(m.memory, "file");
	assert_string_equal(m.devices, "virtio-blk-device virtio-rng-device virtio-balloon-device "
				       "virtio-net-device pvpanic");
	assert_int_equal(m.vcpus, 2);
	assert_int_equal(m.memory_mib, 512);
	assert_int_equal(m.tsc_khz, 2300000);
}

/* Under KVM a guest sees the host's processor, and has its own clock. */
static void test_kvm(void **state)
{
	struct vm_host host = tcg_host;
	struct vm_spec s = spec;
	struct manifest m;

	(void)state;
	host.accel = VM_ACCEL_KVM;
	s.host = &host;
	assert_int_equal(qemu_manifest(&s, &m, NULL), 0);
	assert_string_equal(m.accel, "kvm");
	assert_non_null(strstr(m.cpu, "(flags "));
	assert_int_equal(m.tsc_khz, 0);
}

static void test_there_and_back(void **state)
{
	struct manifest m, back;

	(void)state;
	make(&m);
	put("state", "what it is");
	put("memory", "");
	assert_int_equal(manifest_add_file(&m, dirfd_of_dir, "state", true, NULL), 0);
	assert_int_equal(manifest_add_file(&m, dirfd_of_dir, "memory", false, NULL), 0);
	assert_int_equal(manifest_add_file(&m, dirfd_of_dir, "nothing", false, NULL), -ENOENT);
	assert_int_equal(manifest_write(&m, dirfd_of_dir, MANIFEST_NAME, NULL), 0);
	assert_int_equal(manifest_read(dirfd_of_dir, MANIFEST_NAME, &back, NULL), 0);
	assert_int_equal(manifest_compare(&back, &m, NULL), 0);
	assert_string_equal(back.template, m.template);
	assert_string_equal(back.memory, m.memory);
	assert_int_equal(back.file_count, 2);
	assert_string_equal(back.files[0].name, "state");
	assert_int_equal(back.files[0].bytes, 10);
	assert_string_equal(back.files[0].digest, m.files[0].digest);
	assert_string_equal(back.files[1].digest, "");
	assert_int_equal(manifest_check_files(&back, dirfd_of_dir, NULL), 0);
}

static void test_damaged_files(void **state)
{
	struct err e = {0};
	struct manifest m;

	(void)state;
	make(&m);
	put("state", "what it is");
	assert_int_equal(manifest_add_file(&m, dirfd_of_dir, "state", true, NULL), 0);
	put("state", "what it iz");
	assert_int_equal(manifest_check_files(&m, dirfd_of_dir, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "another content"));
	put("state", "what it i");
	assert_int_equal(manifest_check_files(&m, dirfd_of_dir, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "9 bytes, and 10 were saved"));
	assert_int_equal(unlinkat(dirfd_of_dir, "state", 0), 0);
	assert_int_equal(manifest_check_files(&m, dirfd_of_dir, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "is gone"));
}

static void test_differences(void **state)
{
	struct manifest here, saved;
	struct err e = {0};

	(void)state;
	make(&here);
#define DIFFERS(change, part)                                                                      \
	do {                                                                                       \
		saved = here;                                                                      \
		change;                                                                            \
		assert_int_equal(manifest_compare(&saved, &here, &e), -ENOTSUP);                   \
		assert_non_null(strstr(e.text, part));                                             \
	} while (0)
	DIFFERS(saved.driver[0] = 'x', "the VMM was \"xemu\" then and is \"qemu\" now");
	DIFFERS(saved.version[0] = '6', "version was \"6.2.22");
	DIFFERS(memcpy(saved.accel, "kvm", 4), "accelerator");
	DIFFERS(saved.machine[0] = 'x', "machine");
	DIFFERS(memcpy(saved.cpu, "other", 6), "processor");
	DIFFERS(memcpy(saved.net, "user", 5), "network");
	DIFFERS(saved.devices[0] = 'x', "devices");
	DIFFERS(saved.tsc_khz = 3000000, "time stamp counter");
	DIFFERS(saved.vcpus = 1, "1 vCPUs, and 2 are wanted");
	DIFFERS(saved.memory_mib = 128, "128 MiB, and 512 are wanted");
#undef DIFFERS
	saved = here;
	saved.tsc_khz = 2300900; /* measured again */
	saved.template[0] = 'x';
	saved.memory[0] = 'x';
	assert_int_equal(manifest_compare(&saved, &here, &e), 0);
}

static void refused(const char *text, int code)
{
	struct manifest m;

	put(MANIFEST_NAME, text);
	assert_int_equal(manifest_read(dirfd_of_dir, MANIFEST_NAME, &m, NULL), code);
}

static void test_bad_manifests(void **state)
{
	static const char texts[] =
		"\"driver\":\"qemu\",\"version\":\"7\",\"accel\":\"tcg\","
		"\"machine\":\"m\",\"cpu\":\"\",\"net\":\"none\",\"devices\":\"\","
		"\"template\":\"\",\"memory\":\"file\",\"vcpus\":1,\"memory_mib\":64";
	char text[800];
	struct manifest m;

	(void)state;
	assert_int_equal(manifest_read(dirfd_of_dir, "missing", &m, NULL), -ENOENT);
	refused("", -EBADMSG);
	refused("{", -EBADMSG);
	refused("[]", -EBADMSG);
	refused("{}", -EBADMSG);
	refused("{\"format\":2}", -ENOTSUP);
	(void)snprintf(text, sizeof(text), "{\"format\":1,%s,\"files\":[]}", texts);
	refused(text, 0);
	(void)snprintf(text, sizeof(text), "{\"format\":1,%s}", texts);
	refused(text, -EBADMSG);
	(void)snprintf(text, sizeof(text), "{\"format\":1,%s,\"files\":[1]}", texts);
	refused(text, -EBADMSG);
	(void)snprintf(text, sizeof(text), "{\"format\":1,%s,\"files\":[{},{},{},{},{}]}", texts);
	refused(text, -EBADMSG);
	/* A name that leads elsewhere. */
	(void)snprintf(text, sizeof(text),
		       "{\"format\":1,%s,\"files\":[{\"name\":\"../x\",\"bytes\":1}]}", texts);
	refused(text, -EBADMSG);
	(void)snprintf(text, sizeof(text),
		       "{\"format\":1,%s,\"files\":[{\"name\":\"x\",\"bytes\":-1}]}", texts);
	refused(text, -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qemu),           cmocka_unit_test(test_kvm),
		cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_damaged_files),
		cmocka_unit_test(test_differences),    cmocka_unit_test(test_bad_manifests),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
