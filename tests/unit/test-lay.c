// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-lay.c - storage/lay.c: pieces and zeroes laid into an image */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/unit/volume-place.h"

enum { BLOCK = 4096, BLOCKS = 64 };

static int image_new(const struct place *p)
{
	int fd = openat(AT_FDCWD, p->root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)BLOCKS * BLOCK), 0);
	return fd;
}

static int64_t allocated(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, (off_t)BLOCKS * BLOCK);
	return st.st_blocks * 512;
}

static void check_content(int fd, const unsigned char *want)
{
	static unsigned char have[BLOCKS * BLOCK];

	assert_int_equal(pread(fd, have, sizeof(have), 0), sizeof(have));
	assert_memory_equal(have, want, sizeof(have));
}

/* Zeroes at the begin, inside, at the end; blocks whose first or last byte alone says that they are not. */
static void test_holes(void **state)
{
	static unsigned char data[BLOCKS * BLOCK];
	AUTO_FD fd = image_new(*state);
	int full = 0;

	memset(data, 0, sizeof(data));
	for (int i = 1; i < BLOCKS - 1; i++) {
		if (i % 7 == 0 || i / 16 == 2)
			continue;
		data[i * BLOCK + (i % 3 == 0 ? 0 : i % 3 == 1 ? BLOCK - 1 : 2000)] = 1;
		full++;
	}
	assert_int_equal(store_lay(fd, 0, data, sizeof(data), NULL), 0);
	check_content(fd, data);
	assert_int_equal(allocated(fd), full * BLOCK);
}

/* Over what is there: zeroes take it away. */
static void test_over(void **state)
{
	static unsigned char data[BLOCKS * BLOCK], piece[4 * BLOCK];
	AUTO_FD fd = image_new(*state);

	memset(data, 'x', sizeof(data));
	assert_int_equal(store_lay(fd, 0, data, sizeof(data), NULL), 0);
	assert_int_equal(allocated(fd), sizeof(data));
	memset(piece, 0, sizeof(piece));
	piece[2 * BLOCK] = 'y';
	assert_int_equal(store_lay(fd, 8 * BLOCK, piece, sizeof(piece), NULL), 0);
	memcpy(data + 8 * BLOCK, piece, sizeof(piece));
	check_content(fd, data);
	assert_int_equal(allocated(fd), sizeof(data) - 3 * BLOCK);
	assert_int_equal(store_lay_zeroes(fd, 32 * BLOCK, 32 * BLOCK, NULL), 0);
	memset(data + 32 * BLOCK, 0, 32 * BLOCK);
	check_content(fd, data);
	assert_int_equal(allocated(fd), sizeof(data) - 35 * BLOCK);
}

static void test_failure(void **state)
{
	static unsigned char data[BLOCK];
	const struct place *p = *state;
	AUTO_FD fd = open(p->base, O_RDONLY | O_CLOEXEC);
	struct err e = {0};

	data[0] = 1;
	assert_true(store_lay(fd, 0, data, sizeof(data), &e) < 0);
	assert_true(e.text[0] != '\0');
	data[0] = 0;
	e.text[0] = '\0';
	assert_true(store_lay(fd, 0, data, sizeof(data), &e) < 0);
	assert_true(e.text[0] != '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
