/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-file.c - atomic replacement, reading, removal of trees, sparse copies */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/file.h"

struct place {
	char path[64];
	int fd;
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return -1;
	(void)snprintf(p->path, sizeof(p->path), "/tmp/sbxfs-test-file.XXXXXX");
	if (!mkdtemp(p->path) || file_open_dir(AT_FDCWD, p->path, &p->fd, NULL) < 0)
		return -1;
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	int r = file_remove_tree(AT_FDCWD, p->path, NULL);

	fd_close(p->fd);
	free(p);
	return r;
}

static void expect_content(int dirfd, const char *name, const char *text)
{
	AUTO_BUF b = BUF_INIT;

	assert_int_equal(file_read(dirfd, name, 1 << 20, &b, NULL), 0);
	assert_string_equal(buf_text(&b), text);
}

static void test_replace(void **state)
{
	const struct place *p = *state;
	struct stat st;

	/* What a crash left behind is longer than the new text. */
	assert_int_equal(file_replace(p->fd, "a.new", 0644, "left by a crash", 15, NULL), 0);
	assert_int_equal(file_replace(p->fd, "a", 0640, "one", 3, NULL), 0);
	expect_content(p->fd, "a", "one");
	assert_int_equal(fstatat(p->fd, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(fstatat(p->fd, "a.new", &st, 0), -1);
	assert_int_equal(file_replace(p->fd, "a", 0600, "", 0, NULL), 0);
	expect_content(p->fd, "a", "");
	assert_int_equal(file_replace(p->fd, "a/b", 0600, "", 0, NULL), -EINVAL);
}

static void test_replace_fails(void **state)
{
	const struct place *p = *state;
	struct err e = {0};
	struct stat st;

	assert_int_equal(mkdirat(p->fd, "a", 0755), 0); /* rename over it is refused */
	assert_int_equal(file_replace(p->fd, "a", 0640, "one", 3, &e), -EISDIR);
	assert_int_equal(e.code, EISDIR);
	assert_int_equal(fstatat(p->fd, "a.new", &st, 0), -1);
}

static void test_read(void **state)
{
	const struct place *p = *state;
	AUTO_BUF b = BUF_INIT;
	struct err e = {0};

	assert_int_equal(file_read(p->fd, "none", 10, &b, &e), -ENOENT);
	assert_int_equal(e.code, ENOENT);
	assert_int_equal(file_replace(p->fd, "a", 0600, "12345", 5, NULL), 0);
	assert_int_equal(file_read(p->fd, "a", 4, &b, &e), -EFBIG);
	buf_reset(&b);
	buf_adds(&b, "0");
	assert_int_equal(file_read(p->fd, "a", 5, &b, &e), 0);
	assert_string_equal(buf_text(&b), "012345");
}

static void test_mkdirs(void **state)
{
	const struct place *p = *state;
	char path[128];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/x//y/z/", p->path);
	assert_int_equal(file_mkdirs(path, 0750, NULL), 0);
	assert_int_equal(file_mkdirs(path, 0750, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(file_replace(p->fd, "f", 0600, "", 0, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/f", p->path);
	assert_int_equal(file_mkdirs(path, 0750, NULL), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/f/g", p->path);
	assert_int_equal(file_mkdirs(path, 0750, NULL), -ENOTDIR);
	assert_int_equal(file_mkdirs("", 0750, NULL), -ENOENT);
}

static void test_remove_tree(void **state)
{
	const struct place *p = *state;
	char path[256];
	size_t len;

	assert_int_equal(file_remove_tree(p->fd, "none", NULL), 0);
	assert_int_equal(file_replace(p->fd, "kept", 0600, "safe", 4, NULL), 0);
	assert_int_equal(mkdirat(p->fd, "outside", 0755), 0);
	assert_int_equal(symlinkat("../outside", p->fd, "link"), 0);
	len = (size_t)snprintf(path, sizeof(path), "%s/t", p->path);
	for (int i = 0; i < 30; i++)
		len += (size_t)snprintf(path + len, sizeof(path) - len, "/%d", i);
	assert_int_equal(file_mkdirs(path, 0755, NULL), 0);
	for (int i = 0; i < 500; i++) {
		(void)snprintf(path, sizeof(path), "t/0/1/f%d", i);
		assert_int_equal(symlinkat("../../../outside", p->fd, path), 0);
	}
	assert_int_equal(file_remove_tree(p->fd, "t", NULL), 0);
	assert_int_equal(faccessat(p->fd, "t", F_OK, 0), -1);
	assert_int_equal(file_remove_tree(p->fd, "link", NULL), 0);
	assert_int_equal(faccessat(p->fd, "outside", F_OK, 0), 0);
	assert_int_equal(file_remove_tree(p->fd, "kept", NULL), 0);
}

static void test_remove_stops_at_mount(void **state)
{
	const struct place *p = *state;
	char from[128], to[128];
	struct err e = {0};
	int r;

	if (geteuid() != 0)
		skip();
	(void)snprintf(from, sizeof(from), "%s/outside", p->path);
	(void)snprintf(to, sizeof(to), "%s/t/mounted", p->path);
	assert_int_equal(file_mkdirs(from, 0755, NULL), 0);
	assert_int_equal(file_mkdirs(to, 0755, NULL), 0);
	assert_int_equal(file_replace(p->fd, "f", 0600, "", 0, NULL), 0);
	assert_int_equal(renameat(p->fd, "f", p->fd, "outside/f"), 0);
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		skip(); /* no right to mount here */
	r = file_remove_tree(p->fd, "t", &e);
	assert_int_equal(umount2(to, MNT_DETACH), 0);
	assert_int_equal(r, -EXDEV);
	assert_non_null(strstr(e.text, "unmount it"));
	assert_int_equal(faccessat(p->fd, "outside/f", F_OK, 0), 0);
}

enum {
	MIB = 1 << 20,
};

/* 9 MiB: 1 MiB of data at 2 MiB, a few bytes at 6 MiB, a hole to the end. */
static int make_sparse(int fd)
{
	AUTO_FREE char *data = malloc(MIB);

	if (!data)
		return -1;
	memset(data, 'x', MIB);
	return pwrite(fd, data, MIB, 2 * MIB) == MIB && pwrite(fd, "few", 3, 6 * MIB + 5) == 3 &&
			       ftruncate(fd, 9 * MIB) == 0
		       ? 0
		       : -1;
}

static void expect_same(int a, int b)
{
	AUTO_FREE char *one = malloc(9 * MIB);
	AUTO_FREE char *two = malloc(9 * MIB);
	struct stat st;

	assert_non_null(one);
	assert_non_null(two);
	assert_int_equal(pread(a, one, 9 * MIB, 0), 9 * MIB);
	assert_int_equal(pread(b, two, 9 * MIB, 0), 9 * MIB);
	assert_memory_equal(one, two, 9 * MIB);
	assert_int_equal(fstat(b, &st), 0);
	assert_int_equal(st.st_size, 9 * MIB);
	assert_true(st.st_blocks * 512 < 2 * MIB); /* the holes are still there */
}

static void test_copy(void **state)
{
	const struct place *p = *state;
	AUTO_FD from = openat(p->fd, "from", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO_FD to = openat(p->fd, "to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO_FD mem = memfd_create("copy", MFD_CLOEXEC);
	AUTO_FD back = openat(p->fd, "back", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(make_sparse(from), 0);
	assert_int_equal(file_copy(from, to, -1, NULL), 0);
	expect_same(from, to);
	/* Between file systems, both ways. */
	assert_int_equal(file_copy(from, mem, -1, NULL), 0);
	expect_same(from, mem);
	assert_int_equal(file_copy(mem, back, -1, NULL), 0);
	expect_same(mem, back);
}

static void test_copy_fails(void **state)
{
	const struct place *p = *state;
	AUTO_FD from = openat(p->fd, "from", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO_FD to = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	AUTO_FD cancel = eventfd(1, EFD_CLOEXEC);
	struct err e = {0};

	assert_int_equal(make_sparse(from), 0);
	assert_int_equal(file_copy(from, to, cancel, &e), -ECANCELED);
	assert_int_equal(fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), 0);
	assert_true(file_copy(from, to, -1, &e) < 0);
	assert_int_equal(e.code, EPERM);
}

/* Runs that begin and end anywhere; what is nothing but zeroes is not written, not even over a whole block. */
static void test_write_sparse(void **state)
{
	const struct place *p = *state;
	AUTO_FD fd = openat(p->fd, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	enum { LENGTH = 40960, AT = 1000 };
	AUTO_FREE char *data = calloc(1, LENGTH), *back = calloc(1, AT + LENGTH);
	struct stat st;

	assert_non_null(data);
	assert_non_null(back);
	data[0] = data[5000] = data[LENGTH - 1] = 'x';
	assert_int_equal(file_write_sparse(fd, data, LENGTH, AT), 0);
	assert_int_equal(ftruncate(fd, AT + LENGTH), 0);
	assert_int_equal(pread(fd, back, AT + LENGTH, 0), AT + LENGTH);
	assert_memory_equal(back + AT, data, LENGTH);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 <= 3 * 4096);
	memset(data, 0, LENGTH);
	assert_int_equal(file_write_sparse(fd, data, LENGTH, AT), 0);
	assert_int_equal(pread(fd, back, 1, AT), 1);
	assert_int_equal(back[0], 'x');
	assert_int_equal(file_write_sparse(-1, "x", 1, 0), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_replace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_replace_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_mkdirs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_remove_tree, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_remove_stops_at_mount, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_copy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_copy_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_write_sparse, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
