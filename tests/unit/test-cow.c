// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-cow.c - storage/cow.c: the store's size and its check */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "storage/cow.h"

#define MIB   UINT64_C(1048576)
#define CHUNK UINT64_C(4096)

/* The last chunk that the kernel touches when all @data chunks are rewritten, counted as it does it. */
static uint64_t last_chunk(uint64_t data)
{
	uint64_t next = 2; /* 0 header, 1 first area */
	uint64_t in_area = 0, last = 1;

	for (uint64_t i = 0; i < data; i++) {
		last = next++;
		if (++in_area == 256) {
			in_area = 0;
			last = next++; /* the next area is cleared at once */
		}
	}
	return last;
}

static void test_size_holds_everything(void **state)
{
	static const uint64_t near[] = {0,   1,   255, 256,   257,   258,
					511, 512, 513, 65535, 65536, 65537};

	(void)state;
	for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
		uint64_t size = cow_size_bytes(near[i] * CHUNK);

		assert_true((last_chunk(near[i]) + 1) * CHUNK <= size);
		assert_int_equal(size % MIB, 0);
	}
	/* 256k + 1 and 257k + 1 chunks for many k */
	for (uint64_t k = 1; k < 40; k++) {
		for (uint64_t per = 256; per <= 257; per++) {
			uint64_t data = per * k + 1;

			assert_true((last_chunk(data) + 1) * CHUNK <= cow_size_bytes(data * CHUNK));
		}
	}
}

static void test_size_is_not_wasteful(void **state)
{
	(void)state;
	assert_int_equal(cow_size_bytes(256 * MIB), 259 * MIB);
	assert_in_range(cow_size_bytes(5120 * MIB), 5141 * MIB, 5143 * MIB);
	assert_int_equal(cow_size_bytes(0), 2 * MIB);
	assert_int_equal(cow_size_bytes(1), cow_size_bytes(CHUNK));
}

/* A store of @chunks chunks with a good header. */
static int make_store(uint64_t chunks)
{
	unsigned char header[COW_CHUNK_BYTES];
	int fd = memfd_create("cow", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(chunks * CHUNK)), 0);
	cow_header_init(header);
	assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
	return fd;
}

static void poke32(int fd, off_t at, uint32_t value)
{
	value = htole32(value);
	assert_int_equal(pwrite(fd, &value, sizeof(value), at), sizeof(value));
}

static void poke_entry(int fd, uint64_t area, uint64_t index, uint64_t from, uint64_t to)
{
	uint64_t entry[2] = {htole64(from), htole64(to)};

	assert_int_equal(pwrite(fd, entry, sizeof(entry),
				(off_t)((1 + 257 * area) * CHUNK + index * sizeof(entry))),
			 sizeof(entry));
}

static void test_header(void **state)
{
	static const struct {
		off_t at;
		uint32_t value;
		const char *text;
	} bad[] = {
		{0, 0x70416e54, "SnAp"}, {4, 0, "invalid"},      {4, 7, "invalid"},
		{8, 2, "version 2"},     {12, 16, "16 sectors"},
	};
	static const unsigned char magic[] = {'S', 'n', 'A', 'p', 1, 0, 0, 0,
					      1,   0,   0,   0,   8, 0, 0, 0};
	unsigned char header[COW_CHUNK_BYTES];
	struct err e = {0};

	(void)state;
	cow_header_init(header);
	assert_memory_equal(header, magic, sizeof(magic));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		AUTO_FD fd = make_store(600);

		assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
		poke32(fd, bad[i].at, bad[i].value);
		assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
		assert_non_null(strstr(e.text, bad[i].text));
	}
}

static void test_base_is_noted(void **state)
{
	unsigned char header[COW_CHUNK_BYTES];
	AUTO_FD fd = make_store(600);
	struct err e = {0};

	(void)state;
	cow_header_init(header);
	cow_header_note(header, 5 * MIB);
	assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
	assert_int_equal(cow_check_foreign(fd, 16 * MIB, NULL, &e), 0);
	assert_int_equal(cow_check_base(fd, 5 * MIB, &e), 0);
	assert_int_equal(cow_check_base(fd, 4 * MIB, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "cut off or replaced"));
	poke32(fd, 512, 0); /* a store without a note */
	assert_int_equal(cow_check_base(fd, 4 * MIB, &e), 0);
}

static void test_zero_header_is_damage(void **state)
{
	AUTO_FD fd = make_store(600);
	unsigned char zero[COW_CHUNK_BYTES] = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(pwrite(fd, zero, sizeof(zero), 0), sizeof(zero));
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "zeroes"));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
}

static void test_entries(void **state)
{
	AUTO_FD fd = make_store(1000);
	struct err e = {0};

	(void)state;
	for (uint64_t i = 0; i < 256; i++)
		poke_entry(fd, 0, i, 4095 - i, 2 + i);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
	poke_entry(fd, 1, 0, 1, 259);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);

	assert_int_equal(cow_check(fd, 16 * MIB - CHUNK, NULL, &e), -EBADMSG); /* a smaller disk */
	assert_non_null(strstr(e.text, "larger disk"));

	poke_entry(fd, 1, 1, 2, 1000); /* behind the end */
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "cut off"));
	poke_entry(fd, 1, 1, 2, 258); /* where the second area lies */
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "metadata"));
	poke_entry(fd, 1, 1, 2, 260);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
}

static void test_cut_off(void **state)
{
	AUTO_FD fd = make_store(258);
	struct err e = {0};

	(void)state;
	for (uint64_t i = 0; i < 255; i++)
		poke_entry(fd, 0, i, i, 2 + i);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
	poke_entry(fd, 0, 255, 255, 257); /* full: the next area must be there */
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
	assert_int_equal(ftruncate(fd, (off_t)(259 * CHUNK)), 0);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
}

/* The kernel may be told "full" only by a data chunk: the chunk behind the end must not be metadata. */
static void test_length(void **state)
{
	const uint64_t disk = 4096 * MIB;

	(void)state;
	for (uint64_t used = 2; used < 2000; used++) {
		for (uint64_t ahead = 0; ahead < 600; ahead += 37) {
			uint64_t length = cow_length(disk, used * CHUNK, ahead * CHUNK);

			assert_int_equal(length % CHUNK, 0);
			assert_in_range(length / CHUNK, used + ahead, used + ahead + 1);
			assert_int_not_equal(length / CHUNK % 257, 1);
		}
	}
	assert_int_equal(cow_length(10 * MIB, 2 * CHUNK, 64 * MIB), cow_size_bytes(10 * MIB));
	assert_int_equal(cow_length(0, 20 * MIB, 64 * MIB), 20 * MIB);
}

static void test_last_area(void **state)
{
	(void)state;
	assert_int_equal(cow_last_area(2 * CHUNK), CHUNK);
	assert_int_equal(cow_last_area(258 * CHUNK), CHUNK);
	assert_int_equal(cow_last_area(259 * CHUNK), 258 * CHUNK);
	assert_int_equal(cow_last_area(516 * CHUNK), 515 * CHUNK);
}

static void test_used(void **state)
{
	AUTO_FD fd = make_store(1000);
	uint64_t used = 0;

	(void)state;
	assert_int_equal(cow_check(fd, 16 * MIB, &used, NULL), 0);
	assert_int_equal(used, 2 * CHUNK); /* header and the first area */
	poke_entry(fd, 0, 0, 5, 7);        /* not in order: the kernel has written others before */
	poke_entry(fd, 0, 1, 6, 4);
	assert_int_equal(cow_check(fd, 16 * MIB, &used, NULL), 0);
	assert_int_equal(used, 8 * CHUNK);
	for (uint64_t i = 0; i < 256; i++)
		poke_entry(fd, 0, i, i, 2 + i);
	assert_int_equal(cow_check(fd, 16 * MIB, &used, NULL), 0);
	assert_int_equal(used, 259 * CHUNK); /* with the next area */
	assert_int_equal(ftruncate(fd, (off_t)used), 0);
	assert_int_equal(cow_check(fd, 16 * MIB, &used, NULL), 0);
}

static void test_used_twice(void **state)
{
	AUTO_FD fd = make_store(1000);
	struct err e = {0};

	(void)state;
	poke_entry(fd, 0, 0, 5, 7);
	poke_entry(fd, 0, 1, 5, 8);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "chunk 5 of the disk twice"));
	poke_entry(fd, 0, 1, 6, 7);
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "chunk 7 is used twice"));
	poke_entry(fd, 0, 1, 4095, 999); /* the last of both */
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
}

struct visits {
	uint64_t from[8], to[8];
	int count, stop_at;
};

static int visit(uint64_t disk_chunk, uint64_t store_chunk, void *arg)
{
	struct visits *v = arg;

	v->from[v->count] = disk_chunk;
	v->to[v->count] = store_chunk;
	return ++v->count == v->stop_at ? -EINTR : 0;
}

static void test_walk(void **state)
{
	AUTO_FD fd = make_store(1000);
	struct visits v = {0};
	struct cow_walk walk = {.fd = fd, .disk_bytes = 16 * MIB, .visit = visit, .arg = &v};

	(void)state;
	for (uint64_t i = 0; i < 3; i++)
		poke_entry(fd, 0, i, 10 + i, 2 + i);
	assert_int_equal(cow_walk(&walk, NULL, NULL), 0);
	assert_int_equal(v.count, 3);
	assert_int_equal(v.from[2], 12);
	assert_int_equal(v.to[2], 4);
	v = (struct visits){.stop_at = 2};
	assert_int_equal(cow_walk(&walk, NULL, NULL), -EINTR);
	assert_int_equal(v.count, 2);
}

static void test_foreign(void **state)
{
	AUTO_FD fd = make_store(1000);
	struct err e = {0};

	(void)state;
	for (uint64_t i = 0; i < 256; i++)
		poke_entry(fd, 0, i, i, 2 + i);
	assert_int_equal(cow_check_foreign(fd, 16 * MIB, NULL, &e), 0);
	poke_entry(fd, 1, 255, 4000, 0); /* the last bytes of the area where the list ends */
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
	assert_int_equal(cow_check_foreign(fd, 16 * MIB, NULL, &e), -EBADMSG);
	poke_entry(fd, 1, 255, 0, 0);
	poke32(fd, 16, 1); /* behind the header */
	assert_int_equal(cow_check(fd, 16 * MIB, NULL, &e), 0);
	assert_int_equal(cow_check_foreign(fd, 16 * MIB, NULL, &e), -EBADMSG);
}

static void test_torn_list(void **state)
{
	AUTO_FD fd = make_store(1000);
	unsigned char before[4096], after[4096], zeroes[4096] = {0};
	struct err e = {0};

	(void)state;
	for (uint64_t i = 0; i < 256; i++)
		poke_entry(fd, 0, i, i, 2 + i);
	for (uint64_t i = 0; i < 40; i++)
		poke_entry(fd, 1, i, 300 + i, 259 + i);
	assert_int_equal(pread(fd, before, sizeof(before), (off_t)(258 * CHUNK)), sizeof(before));
	assert_int_equal(cow_clear_rest(fd, &e), 0); /* nothing to do */
	assert_int_equal(pread(fd, after, sizeof(after), (off_t)(258 * CHUNK)), sizeof(after));
	assert_memory_equal(before, after, sizeof(after));

	/* The first sector of the list was not written, the second was. */
	assert_int_equal(pwrite(fd, zeroes, 512 - 160, (off_t)(258 * CHUNK + 160)), 512 - 160);
	assert_int_equal(cow_clear_rest(fd, &e), 0);
	assert_int_equal(pread(fd, after, sizeof(after), (off_t)(258 * CHUNK)), sizeof(after));
	assert_memory_equal(before, after, 160);
	assert_memory_equal(after + 160, zeroes, sizeof(after) - 160);
	assert_int_equal(cow_check_foreign(fd, 16 * MIB, NULL, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size_holds_everything),
		cmocka_unit_test(test_size_is_not_wasteful),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_zero_header_is_damage),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_base_is_noted),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_last_area),
		cmocka_unit_test(test_used),
		cmocka_unit_test(test_used_twice),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_torn_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
