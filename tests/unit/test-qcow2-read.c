// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-qcow2-read.c - storage/qcow2-read.c: what QEMU wrote is read as QEMU reads it; what is damaged, not at all */
#include <endian.h>
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
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/qcow2-format.h"
#include "storage/qcow2.h"
#include "storage/store.h"

#define MIB     (1024 * 1024)
#define CLUSTER ((off_t)QCOW2_CLUSTER_BYTES)

enum { DISK_MIB = 40, ROUNDS = 12, STEPS = 60, COMMANDS_MAX = 6000 };

struct place {
	char dir[64];
	char base[96], overlay[96], out[96], judge[96];
	int fd;     /* of the overlay */
	int out_fd; /* of what it becomes */
	struct volume_spec spec;
	struct deadline d;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char text[4096];

	assert_non_null(p);
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/test-qcow2-read.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->base, sizeof(p->base), "%s/base.img", p->dir);
	(void)snprintf(p->overlay, sizeof(p->overlay), "%s/o.qcow2", p->dir);
	(void)snprintf(p->out, sizeof(p->out), "%s/out.img", p->dir);
	(void)snprintf(p->judge, sizeof(p->judge), "%s/judge.img", p->dir);
	AUTO_FD base = open(p->base, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(base >= 0);
	memset(text, 'b', sizeof(text));
	for (int i = 0; i < 2048; i++)
		assert_int_equal(pwrite(base, text, sizeof(text), (off_t)i * 3 * 4096),
				 sizeof(text));
	assert_int_equal(ftruncate(base, 30 * MIB), 0);
	p->fd = open(p->overlay, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	p->out_fd = open(p->out, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(p->fd >= 0 && p->out_fd >= 0);
	p->d = deadline_in(60000, -1);
	p->spec = (struct volume_spec){
		.dir = p->dir, .base = p->base, .size_bytes = (uint64_t)DISK_MIB * MIB};
	assert_int_equal(qcow2_create(p->fd, p->base, p->spec.size_bytes, NULL), 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	fd_close(p->fd);
	fd_close(p->out_fd);
	assert_int_equal(file_remove_tree(AT_FDCWD, p->dir, NULL), 0);
	free(p);
	return 0;
}

/* A shell command with the overlay as $o, what we make of it as $out, what QEMU does as $j; its exit status. */
static int shell(const struct place *p, const char *command)
{
	char line[COMMANDS_MAX + 512];
	int status;

	(void)snprintf(line, sizeof(line), "o=%s b=%s out=%s j=%s; { %s; } >/dev/null 2>&1",
		       p->overlay, p->base, p->out, p->judge, command);
	status = system(line); /* NOLINT(cert-env33-c): a test, and the command is ours */
	assert_true(status >= 0);
	return status >> 8;
}

static void need_qemu(const struct place *p)
{
	if (shell(p, "command -v qemu-img && command -v qemu-io") != 0)
		skip();
}

static int flatten(const struct place *p, struct err *e)
{
	int r;

	assert_int_equal(ftruncate(p->out_fd, 0), 0);
	assert_int_equal(store_lay_base(&p->spec, p->out_fd, &p->d, e), 0);
	r = qcow2_lay(p->fd, p->out_fd, &p->d, e);
	if (r == 0)
		assert_int_equal(qcow2_lay(p->fd, -1, &p->d, e), 0);
	return r;
}

/* Ours and QEMU's have to be the same byte by byte, and ours have no more on disk than a few extents. */
static void compare(const struct place *p)
{
	struct err e = {0};
	struct stat ours, judge;
	uint64_t bytes = 0;

	if (flatten(p, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(shell(p, "qemu-img convert -f qcow2 -O raw $o $j && cmp $out $j"), 0);
	assert_int_equal(stat(p->judge, &judge), 0);
	assert_int_equal(fstat(p->out_fd, &ours), 0);
	assert_int_equal(ours.st_size, (off_t)p->spec.size_bytes);
	assert_true(ours.st_blocks <= judge.st_blocks + judge.st_blocks / 8 + 256);
	if (qcow2_verify(p->fd, &bytes, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(bytes, p->spec.size_bytes);
}

static void test_empty(void **state)
{
	struct place *p = *state;

	need_qemu(p);
	compare(p);
}

static void test_kinds(void **state)
{
	struct place *p = *state;

	need_qemu(p);
	/* Content, content that is zeroes, zeroes, discards; parts of subclusters; over the base's end; again. */
	assert_int_equal(
		shell(p, "qemu-io -d unmap -f qcow2 -c 'write -P 7 8k 12k' -c 'write -P 0 1M 300k' "
			 "-c 'write -P 9 29M 3M' -c 'write -z 2M 1M' -c 'write -z -u 3M 1M' "
			 "-c 'discard 29500k 600k' -c 'discard 5M 1M' -c 'write -P 5 6M 700' "
			 "-c 'write -P 6 6145k 512' -c 'write -z 6800k 512' -c 'write -P 8 39M 1M' "
			 "-c 'write -z 10M 640k' -c 'write -P 1 10245k 1k' $o"),
		0);
	compare(p);
	assert_int_equal(
		shell(p, "qemu-io -d unmap -f qcow2 -c 'discard 0 40M' -c 'write -P 3 1M 4k' $o"),
		0);
	compare(p);
}

/* One qemu-io command, as chance will have it: anywhere, from a sector to two clusters and more. */
static size_t add_step(char *text, size_t size)
{
	static const char *const verbs[] = {"write -P 17", "write -P 0",    "write -z",
					    "write -z -u", "write -P 0x55", "discard"};
	long sectors = DISK_MIB * 2048L;
	long bytes = random() % 3 == 0 ? 1 + random() % 600 : 8 * (1 + random() % 80);
	long at = random() % 2 ? random() % sectors : random() % (sectors / 8) * 8;

	if (at + bytes > sectors)
		bytes = sectors - at;
	return (size_t)snprintf(text, size, " -c '%s %ld %ld'", verbs[random() % 6], at * 512,
				bytes * 512);
}

static void test_chance(void **state)
{
	struct place *p = *state;

	need_qemu(p);
	srandom(20260);
	for (int round = 0; round < ROUNDS; round++) {
		char commands[COMMANDS_MAX] = "qemu-io -d unmap -f qcow2";
		size_t len = strlen(commands);

		for (int i = 0; i < STEPS; i++)
			len += add_step(commands + len, sizeof(commands) - len);
		(void)snprintf(commands + len, sizeof(commands) - len, " $o");
		assert_int_equal(shell(p, commands), 0);
		compare(p);
	}
	assert_int_equal(shell(p, "qemu-img check $o"), 0);
}

/* Several L2 tables, far apart, and more of the disk than memory should ever see. */
static void test_large(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	struct stat st;
	char text[4096];

	need_qemu(p);
	p->spec.size_bytes = UINT64_C(3) << 40;
	assert_int_equal(qcow2_grow(p->fd, p->spec.size_bytes, &e), 0);
	assert_int_equal(
		shell(p, "qemu-io -f qcow2 -c 'write -P 7 2999G 64k' -c 'write -P 9 1500G 4k' $o"),
		0);
	if (flatten(p, &e) < 0) {
		if (e.code == EFBIG) /* the file system has no such long files */
			skip();
		fail_msg("%s", e.text);
	}
	assert_int_equal(pread(p->out_fd, text, sizeof(text), 2999LL << 30), sizeof(text));
	assert_int_equal(text[0] + text[4095], 14);
	assert_int_equal(pread(p->out_fd, text, sizeof(text), 1500LL << 30), sizeof(text));
	assert_int_equal(text[0] + text[4095], 18);
	assert_int_equal(fstat(p->out_fd, &st), 0);
	assert_true(st.st_blocks * 512 < 32LL * MIB);
}

static void test_cancelled(void **state)
{
	struct place *p = *state;
	AUTO_FD cancel = eventfd(1, EFD_CLOEXEC);
	struct err e = {0};

	need_qemu(p);
	assert_int_equal(shell(p, "qemu-io -f qcow2 -c 'write -P 7 8k 12k' $o"), 0);
	p->d.cancel_fd = cancel;
	assert_int_equal(qcow2_lay(p->fd, p->out_fd, &p->d, &e), -ECANCELED);
}

static void test_rebase(void **state)
{
	struct place *p = *state;
	uint64_t bytes;
	struct err e = {0};
	char name[1100];

	need_qemu(p);
	assert_int_equal(shell(p, "qemu-io -f qcow2 -c 'write -P 7 8k 12k' $o && cp $b $b.other"),
			 0);
	(void)snprintf(name, sizeof(name), "%s.other", p->base);
	assert_int_equal(qcow2_rebase(p->fd, name, &e), 0);
	assert_int_equal(qcow2_check(p->fd, name, &bytes, &e), 0);
	assert_int_equal(qcow2_check(p->fd, p->base, &bytes, &e), -EBADMSG);
	assert_int_equal(
		shell(p, "rm $b; qemu-img check $o && qemu-img info $o | grep -q base.img.other"),
		0);
	assert_int_equal(shell(p, "mv $b.other $b.o; qemu-img check $o"),
			 1); /* it is the one in use */
	assert_int_equal(shell(p, "mv $b.o $b"), 0);
	assert_int_equal(qcow2_rebase(p->fd, p->base, &e), 0);
	compare(p);
	memset(name, '/', sizeof(name));
	name[1024] = '\0';
	assert_int_equal(qcow2_rebase(p->fd, name, &e), -ENAMETOOLONG);
	name[1023] = '\0';
	assert_int_equal(qcow2_rebase(p->fd, name, &e), 0);
	assert_int_equal(qcow2_check(p->fd, name, &bytes, &e), 0);
}

/* A header that QEMU has written itself, with names of features in it, is fine. */
static void test_header_of_qemu(void **state)
{
	struct place *p = *state;
	uint64_t bytes;
	struct err e = {0};

	need_qemu(p);
	assert_int_equal(shell(p, "qemu-io -f qcow2 -c 'write -P 7 8k 12k' $o && cp $b $b.other && "
				  "qemu-img rebase -u -F raw -b $b.other $o && mv $b.other $b"),
			 0);
	assert_int_equal(qcow2_verify(p->fd, &bytes, &e), 0);
	assert_int_equal(qcow2_rebase(p->fd, p->base, &e), 0);
	compare(p);
	/* One whose base's format is to be guessed is not. */
	assert_int_equal(
		shell(p, "qemu-img rebase -u -b $b $o || qemu-img rebase -u -F qcow2 -b $b $o"), 0);
	assert_int_equal(qcow2_verify(p->fd, &bytes, &e), -EBADMSG);
}

static void put64(const struct place *p, off_t at, uint64_t value)
{
	value = htobe64(value);
	assert_int_equal(pwrite(p->fd, &value, sizeof(value), at), sizeof(value));
}

static uint64_t get64(const struct place *p, off_t at)
{
	uint64_t value = 0;

	assert_int_equal(pread(p->fd, &value, sizeof(value), at), sizeof(value));
	return be64toh(value);
}

struct damage {
	off_t at;
	uint64_t value; /* 64 bits, as the format has them */
	const char *says;
	bool only_verify; /* reading does not mind */
};

/* The overlay has an L2 table at cluster 4, content of the disk's first cluster at 5, of the second at 6. */
/* clang-format off */
static const struct damage damages[] = {
	{24, 41 * MIB + 512, "a disk of", false},
	{24, UINT64_C(1) << 60, "a disk of", false},
	{32, QCOW2_L1_ENTRIES | UINT64_C(1) << 32, "layout", false},	/* encrypted */
	{32, 1, "L1 table", false},
	{32, UINT32_MAX, "L1 table", false},
	{40, 0, "L1 table", false},
	{40, 3 * QCOW2_CLUSTER_BYTES + 512, "L1 table", false},
	{40, UINT64_C(1) << 62, "cut off", false},
	{40, UINT64_C(7) << 61, "cut off", false},
	{48, UINT64_C(1) << 63, "refcount table", true},
	{48, 4 * QCOW2_CLUSTER_BYTES, "a refcount block", true},
	{56, UINT64_C(1) << 32 | 1, "layout", false},			/* a snapshot */
	{56, UINT64_C(9) << 32, "refcount table of 9", true},
	{72, 0x14, "layout", false},					/* a data file */
	{72, 0x18, "layout", false},					/* another compression */
	{72, 0, "layout", false},
	{72, 0x12, "corrupt", false},
	{96, UINT64_C(3) << 32 | 112, "layout", false},
	{96, UINT64_C(4) << 32 | 4000, "layout", false},
	{112, UINT64_C(0x44415441) << 32 | 3, "extensions", false},
	{112, UINT64_C(0xe2792aca) << 32 | UINT32_MAX, "extensions", false},
	{112, 0, "extensions", false},
	{120, UINT64_C(0x71636f7732) << 24, "extensions", false},	/* its base is qcow2 */
	{8, UINT64_C(1) << 40, "names no base", false},
	{16, UINT64_C(17), "names no base", false},
	{16, UINT64_C(2000) << 32 | 17, "names no base", false},
	{3 * CLUSTER, 5 * QCOW2_CLUSTER_BYTES + 512, "an L2 table at byte", false},
	{3 * CLUSTER, 100 * QCOW2_CLUSTER_BYTES, "an L2 table at byte", false},
	{3 * CLUSTER, 3 * QCOW2_CLUSTER_BYTES, "something else", false},
	{3 * CLUSTER, 4 * QCOW2_CLUSTER_BYTES + 1, "L1 table", false},
	{3 * CLUSTER + 8, 4 * QCOW2_CLUSTER_BYTES, "L1 table", false},	/* past the disk's end */
	{4 * CLUSTER, 0, "damaged entry", false},			/* content nowhere */
	{4 * CLUSTER, 6 * QCOW2_CLUSTER_BYTES, "something else", false},
	{4 * CLUSTER, 4 * QCOW2_CLUSTER_BYTES, "something else", false},
	{4 * CLUSTER, 1 * QCOW2_CLUSTER_BYTES, "something else", true},
	{4 * CLUSTER, UINT64_C(1) << 50, "content at byte", false},
	{4 * CLUSTER, 5 * QCOW2_CLUSTER_BYTES + 512, "content at byte", false},
	{4 * CLUSTER, UINT64_C(1) << 62 | 0x1234, "compressed", false},
	{4 * CLUSTER, 5 * QCOW2_CLUSTER_BYTES + 1, "damaged entry", false},
	{4 * CLUSTER + 8, UINT64_MAX, "damaged entry", false},		/* content and zeroes at once */
	{4 * CLUSTER + 16L * 320, 7 * QCOW2_CLUSTER_BYTES, "damaged entry", false}, /* past the disk's end */
	{1 * CLUSTER, 0, "counts byte 0 as free", true},
	{1 * CLUSTER, 200 * QCOW2_CLUSTER_BYTES, "a refcount block", true},
	{1 * CLUSTER, 5 * QCOW2_CLUSTER_BYTES, "something else", true},
	{1 * CLUSTER + 8, 2 * QCOW2_CLUSTER_BYTES, "something else", true},
	{2 * CLUSTER, UINT64_C(1) << 48, "counts byte 131072 as free", true},
};
/* clang-format on */

static void test_damage(void **state)
{
	struct place *p = *state;
	uint64_t bytes;
	struct err e = {0};

	need_qemu(p);
	assert_int_equal(shell(p, "qemu-io -f qcow2 -c 'write -P 7 0 256k' $o"), 0);
	assert_int_equal(get64(p, 3 * CLUSTER) & INT64_MAX, 4 * CLUSTER);
	assert_int_equal(get64(p, 4 * CLUSTER) & INT64_MAX, 5 * CLUSTER);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct damage *m = &damages[i];
		uint64_t good = get64(p, m->at);
		int r;

		put64(p, m->at, m->value);
		r = qcow2_verify(p->fd, &bytes, &e);
		if (r != -EBADMSG || !strstr(e.text, m->says))
			fail_msg("%zu: %d, %s instead of \"%s\"", i, r, e.text, m->says);
		r = qcow2_lay(p->fd, p->out_fd, &p->d, &e);
		if (r != (m->only_verify ? 0 : -EBADMSG))
			fail_msg("%zu: reading it gave %d", i, r);
		put64(p, m->at, good);
	}
	assert_int_equal(qcow2_verify(p->fd, &bytes, &e), 0);
	put64(p, 72, 0x11); /* dirty: the VMM died, and counts anew */
	put64(p, 2 * CLUSTER, 0);
	assert_int_equal(qcow2_verify(p->fd, &bytes, &e), 0);
	compare(p);
}

/* A file that was cut anywhere is never taken for whole, and one stretched without end is not walked. */
static void test_length(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	struct stat st;

	need_qemu(p);
	assert_int_equal(shell(p, "qemu-io -f qcow2 -c 'write -P 7 0 256k' $o"), 0);
	assert_int_equal(fstat(p->fd, &st), 0);
	assert_int_equal(qcow2_lay(p->fd, p->out_fd, &p->d, &e), 0);
	assert_int_equal(ftruncate(p->fd, 2 * 40 * MIB + (1 << 30) + 1), 0);
	assert_int_equal(qcow2_lay(p->fd, p->out_fd, &p->d, &e), -EBADMSG);
	for (off_t cut = st.st_size - 1; cut > 0; cut = cut * 15 / 16) {
		assert_int_equal(ftruncate(p->fd, cut), 0);
		assert_int_equal(qcow2_lay(p->fd, p->out_fd, &p->d, &e), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chance, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rebase, setup, teardown),
		cmocka_unit_test_setup_teardown(test_header_of_qemu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_length, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
