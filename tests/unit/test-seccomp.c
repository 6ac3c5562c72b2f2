/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-seccomp.c - what a process cannot do to a file under the filter, and what it still can */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vm/seccomp.h"

enum {
	SIZE = 64 << 10,
	PAGE = 4096,
};

/* The errno of fallocate() with @mode; 0: it worked. */
static int try_mode(int fd, int mode)
{
	return fallocate(fd, mode, 0, PAGE) < 0 ? errno : 0;
}

/* In a child, which the filter stays with. Return: 0, or the number of what was wrong. */
static int under_filter(int fd)
{
	char byte = 'y';
	void *p;

	if (seccomp_no_punch(NULL) < 0)
		return 1;
	if (try_mode(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) != EOPNOTSUPP)
		return 2;
	if (try_mode(fd, FALLOC_FL_ZERO_RANGE) != EOPNOTSUPP ||
	    try_mode(fd, FALLOC_FL_COLLAPSE_RANGE) != EOPNOTSUPP)
		return 3;
	if (try_mode(fd, 0) != 0 || try_mode(fd, FALLOC_FL_KEEP_SIZE) != 0)
		return 4;
	if (pwrite(fd, &byte, 1, SIZE - 1) != 1)
		return 5;
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || madvise(p, PAGE, MADV_DONTNEED) < 0)
		return 6;
	if (madvise(p, PAGE, MADV_REMOVE) == 0 || errno != EOPNOTSUPP)
		return 7;
	if (syscall(SYS_io_uring_setup, 1, NULL) == 0 || errno != ENOSYS)
		return 8;
	return syscall(SYS_getpid | 0x40000000L) > 0 ? 9 : 0; /* an x32 call */
}

static void test_filter(void **state)
{
	char data[SIZE], back[SIZE];
	AUTO_FD fd = memfd_create("test", MFD_CLOEXEC);
	int status = -1;
	pid_t pid;

	(void)state;
	memset(data, 'x', sizeof(data));
	assert_int_equal(pwrite(fd, data, SIZE, 0), SIZE);
	pid = fork();
	if (pid == 0)
		_exit(under_filter(fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(pread(fd, back, SIZE, 0), SIZE);
	data[SIZE - 1] = 'y';
	assert_memory_equal(back, data, SIZE);
	/* Without it the same call works. */
	assert_int_equal(try_mode(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_filter)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
