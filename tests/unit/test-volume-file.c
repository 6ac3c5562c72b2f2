// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-volume-file.c - the file store through storage/volume.h */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "storage/volume.h"
#include "tests/unit/volume-place.h"

static int setup_quick(void **state)
{
	int r = setup(state);
	struct place *p = *state;

	p->d = deadline_in(10000, -1);
	return r;
}

/* Number of files in the sandbox's directory. */
static int count_files(const struct place *p)
{
	AUTO_DIR dir = opendir(p->dir);
	const struct dirent *entry;
	int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	return n;
}

static bool has_file(const struct place *p, const char *name)
{
	return faccessat(p->spec.dir_fd, name, F_OK, 0) == 0;
}

static void test_life(void **state)
{
	struct place *p = *state;
	struct volume_usage u;
	struct volume *v, *w;
	struct err e = {0};

	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), -ENOENT);
	assert_int_equal(p->drv->usage(&p->spec, &u), -ENOENT);
	assert_false(p->drv->alive(&p->spec));
	assert_int_equal(p->drv->down(&p->spec, NULL, &p->d, &e), 0);

	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(count_files(p), 1);
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(count_files(p), 1);

	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), 0);
	assert_true(p->drv->alive(&p->spec));
	assert_int_equal(volume_path(v)[0], '/');
	assert_int_equal(access(volume_path(v), R_OK | W_OK), 0);
	assert_int_equal(volume_format(v), has_file(p, "disk.raw") ? VOLUME_RAW : VOLUME_QCOW2);
	assert_int_equal(p->drv->up(&p->spec, &p->d, &w, &e), -EBUSY);
	assert_int_equal(p->drv->destroy(&p->spec, &e), -EBUSY);
	assert_int_equal(p->drv->usage(&p->spec, &u), 0);
	assert_true(u.used_bytes > 0 && u.used_bytes <= 2 * MIB);
	assert_int_equal(u.total_bytes, 8 * MIB);
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), 0);

	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), 0);
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), 0);
	assert_int_equal(p->drv->down(&p->spec, NULL, &p->d, &e), 0);
	assert_int_equal(p->drv->destroy(&p->spec, &e), 0);
	assert_int_equal(p->drv->destroy(&p->spec, &e), 0);
	assert_int_equal(count_files(p), 0);
}

static void test_probe(void **state)
{
	struct place *p = *state;
	char why[128] = "";
	struct err e = {0};

	assert_int_equal(p->drv->probe(p->dir, why, sizeof(why), &e), 0);
	assert_true(strstr(why, "reflinks") != NULL);
	assert_int_equal(count_files(p), 0);
	assert_int_equal(p->drv->probe("/nonexistent", why, sizeof(why), &e), -ENOTSUP);
}

/* A VMM that has outlived the daemon holds locks of its own. */
static void test_other_locks(void **state)
{
	struct place *p = *state;
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
	const char *name;
	struct volume *v;
	struct err e = {0};

	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	name = has_file(p, "disk.raw") ? "disk.raw" : "disk.qcow2";
	AUTO_FD fd = openat(p->spec.dir_fd, name, O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), -EBUSY);
	assert_int_equal(p->drv->down(&p->spec, NULL, &p->d, &e), -EBUSY);
	assert_int_equal(p->drv->destroy(&p->spec, &e), -EBUSY);
	assert_true(p->drv->alive(&p->spec));
	fd_close(steal_fd(&fd));
	assert_int_equal(p->drv->down(&p->spec, NULL, &p->d, &e), 0);
	assert_int_equal(p->drv->destroy(&p->spec, &e), 0);
}

/* Another thread may be starting a program: its child has a copy of every descriptor until exec. */
static void test_child_between_fork_and_exec(void **state)
{
	struct place *p = *state;
	struct volume *v;
	struct err e = {0};
	pid_t child;

	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		for (;;)
			(void)pause();
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), 0);
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), 0);
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), 0);
	assert_int_equal(p->drv->destroy(&p->spec, &e), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

/* down() that fails leaves the volume to its caller, who tries again. */
static void test_down_again(void **state)
{
	struct place *p = *state;
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
	struct volume *v;
	struct err e = {0};

	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), 0);
	AUTO_FD fd = open(volume_path(v), O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), -EBUSY);
	fd_close(steal_fd(&fd));
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), 0);
}

static void test_leftover(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	AUTO_FD fd = openat(p->spec.dir_fd, "disk.new", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(count_files(p), 1);
	assert_false(has_file(p, "disk.new"));
	assert_int_equal(p->drv->destroy(&p->spec, &e), 0);

	AUTO_FD other = openat(p->spec.dir_fd, "disk.new", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(other >= 0);
	assert_int_equal(p->drv->destroy(&p->spec, &e), 0);
	assert_int_equal(count_files(p), 0);
}

static void test_grow(void **state)
{
	struct place *p = *state;
	struct volume *v;
	struct err e = {0};

	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	p->spec.size_bytes = 16 * MIB;
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), 0);
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), 0);
	p->spec.size_bytes = 8 * MIB;
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), -EBADMSG);
	p->spec.size_bytes = MIB;
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), -EINVAL);
}

static void test_damage(void **state)
{
	struct place *p = *state;
	struct volume *v;
	struct err e = {0};

	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	AUTO_FD fd = openat(p->spec.dir_fd, has_file(p, "disk.raw") ? "disk.raw" : "disk.qcow2",
			    O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 1000), 0);
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), -EBADMSG);
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), -EBADMSG);
	assert_false(p->drv->alive(&p->spec));
}

/* An image whose path a qcow2 overlay cannot hold: over 1023 bytes, by slashes. */
static char *long_path(const char *path)
{
	size_t len = strlen(path);
	char *text = malloc(2000);

	assert_non_null(text);
	memset(text, '/', 1100);
	memcpy(text + 1100, path, len + 1);
	return text;
}

static void test_copy(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *base = long_path(p->base);
	struct volume_usage u;
	struct volume *v;
	struct err e = {0};
	struct stat st;
	char text[4096], want[4096];

	p->spec.base = base;
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(p->drv->up(&p->spec, &p->d, &v, &e), 0);
	assert_int_equal(volume_format(v), VOLUME_RAW);
	AUTO_FD fd = open(volume_path(v), O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 8 * MIB);
	memset(want, 'b', sizeof(want));
	assert_int_equal(pread(fd, text, sizeof(text), MIB - 4096), sizeof(text));
	assert_memory_equal(text, want, sizeof(text));
	assert_int_equal(p->drv->usage(&p->spec, &u), 0);
	assert_true(u.used_bytes < 2 * MIB);
	assert_int_equal(p->drv->down(&p->spec, v, &p->d, &e), 0);
}

static void test_copy_cancelled(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *base = long_path(p->base);
	AUTO_FD cancel = eventfd(1, EFD_CLOEXEC);
	struct deadline d = deadline_in(10000, cancel);
	struct err e = {0};
	int r;

	p->spec.base = base;
	r = p->drv->create(&p->spec, &d, &e);
	if (r == 0) /* a reflink: nothing to cancel */
		skip();
	assert_int_equal(r, -ECANCELED);
	assert_int_equal(count_files(p), 0);
}

/* On a tiny file system: every way to run out of space leaves nothing behind. */
static void test_no_space(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *base = long_path(p->base);
	struct err e = {0};

	if (geteuid() != 0 || mount("tmpfs", p->dir, "tmpfs", 0, "size=256k") < 0)
		skip();
	fd_close(p->spec.dir_fd);
	p->spec.dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->spec.base = base;
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), -ENOSPC); /* a copy */
	assert_int_equal(count_files(p), 0);

	AUTO_FD ballast = openat(p->spec.dir_fd, "ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(posix_fallocate(ballast, 0, 256 * 1024 - 4096), 0);
	p->spec.base = p->base;
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), -ENOSPC); /* an overlay */
	assert_int_equal(count_files(p), 1);
	assert_int_equal(ftruncate(ballast, 0), 0);
	assert_int_equal(p->drv->create(&p->spec, &p->d, &e), 0);
	assert_int_equal(p->drv->destroy(&p->spec, &e), 0);
	fd_close(steal_fd(&ballast));
	fd_close(steal_fd(&p->spec.dir_fd));
	assert_int_equal(umount2(p->dir, MNT_DETACH), 0);
}

static bool never_wanted(uint32_t serial, void *arg)
{
	(void)serial;
	(void)arg;
	return false;
}

static void test_sweep(void **state)
{
	struct place *p = *state;

	assert_int_equal(p->drv->sweep("test", never_wanted, NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_probe, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_other_locks, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_child_between_fork_and_exec, setup_quick,
						teardown),
		cmocka_unit_test_setup_teardown(test_down_again, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_leftover, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_grow, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_copy, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_copy_cancelled, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_no_space, setup_quick, teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup_quick, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
