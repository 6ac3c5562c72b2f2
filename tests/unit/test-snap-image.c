// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-snap-image.c - storage/snap-image.c and snap-room.c on plain files, without device-mapper
 *
 * Stores are written here as the kernel writes them; a model of the disk in memory says what must come out.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
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
#include "base/deadline.h"
#include "base/file.h"
#include "storage/cow.h"
#include "storage/snap.h"
#include "tests/unit/snap-place.h"

static void test_flatten(void **state)
{
	struct place *p = *state;
	unsigned char data[4096];
	uint64_t allocated, data_chunks = 0;

	allocated = flatten_is_model(p); /* no change at all */
	assert_in_range(allocated, 0, 2 * MIB);
	change_many(p);
	allocated = flatten_is_model(p);
	memset(data, 0, sizeof(data));
	for (uint64_t i = 0; i < DISK_BYTES / CHUNK; i++)
		data_chunks += memcmp(p->disk + i * CHUNK, data, CHUNK) != 0;
	/* What is all zeroes takes nothing. */
	assert_in_range(allocated, 0, data_chunks * CHUNK + 64 * 1024);
}

static void test_flatten_full_areas(void **state)
{
	struct place *p = *state;
	unsigned char data[4096];

	for (unsigned i = 0; i < 512; i++) {
		memset(data, (int)(i % 255) + 1, sizeof(data));
		change(p, 600 + i, data);
		if (i == 255)
			(void)flatten_is_model(p);
	}
	(void)flatten_is_model(p);
}

static void test_flatten_fails(void **state)
{
	struct place *p = *state;
	AUTO_FD cancel = eventfd(1, EFD_CLOEXEC);
	AUTO_FD out = open(p->root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct deadline d = deadline_in(1000, cancel);
	struct err e = {0};

	change_many(p);
	assert_int_equal(store_dm.flatten(&p->spec, out, &d, &e), -ECANCELED);
	assert_int_equal(ftruncate(out, 0), 0);
	assert_int_equal(truncate(p->base, (off_t)MIB), 0);
	assert_int_equal(store_dm.flatten(&p->spec, out, &p->d, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "cut off or replaced"));
	poke_entry(p, 7, DISK_BYTES / CHUNK, 9);
	assert_int_equal(store_dm.flatten(&p->spec, out, &p->d, &e), -EBADMSG);
	assert_int_equal(unlinkat(p->spec.dir_fd, "cow", 0), 0);
	assert_int_equal(store_dm.flatten(&p->spec, out, &p->d, &e), -ENOENT);
}

static void test_copy_is_trimmed(void **state)
{
	struct place *p = *state;
	struct volume_spec spec = p->spec;
	struct volume_usage u;
	struct err e = {0};

	change_many(p);
	assert_int_equal(fallocate(p->cow, 0, 0, (off_t)(64 * MIB)),
			 0); /* as if it were attached */
	assert_int_equal(store_dm.copy(&p->spec, p->other_fd, &p->d, &e), 0);
	assert_int_equal(length_of(p->other_fd, "cow"), p->next * CHUNK);
	assert_string_equal(store_dm.data_name(p->other_fd), "cow");
	assert_int_equal(store_dm.copy(&p->spec, p->other_fd, &p->d, &e), -EEXIST);

	/* The copy is the same disk, by itself. */
	assert_int_equal(unlinkat(p->spec.dir_fd, "cow", 0), 0);
	assert_null(store_dm.data_name(p->spec.dir_fd));
	p->spec.dir_fd = p->other_fd;
	p->spec.dir = p->other;
	(void)flatten_is_model(p);
	assert_int_equal(store_dm.usage(&p->spec, &u), 0);
	assert_in_range(u.used_bytes, 3 * MIB, p->next * CHUNK);
	assert_int_equal(u.total_bytes, cow_size_bytes(DISK_BYTES));
	assert_int_equal(u.health, VOLUME_WELL);
	p->spec = spec;
	assert_int_equal(store_dm.copy(&p->spec, p->other_fd, &p->d, &e), -ENOENT);
	assert_int_equal(store_dm.usage(&p->spec, &u), -ENOENT);
}

static void test_copy_refuses_damage(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	change_many(p);
	assert_int_equal(ftruncate(p->cow, (off_t)((p->next - 1) * CHUNK)), 0);
	assert_int_equal(store_dm.copy(&p->spec, p->other_fd, &p->d, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "cut off"));
	assert_null(store_dm.data_name(p->other_fd));
}

/* Does the chunk at @at have a block, be it one not written yet? Another one is counted when it gets one. */
static bool has_blocks(const struct place *p, uint64_t at)
{
	struct stat before, after;

	assert_int_equal(fstat(p->cow, &before), 0);
	assert_int_equal(fallocate(p->cow, FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)CHUNK), 0);
	assert_int_equal(fstat(p->cow, &after), 0);
	return before.st_blocks == after.st_blocks;
}

static void test_room_begins_and_ends(void **state)
{
	struct place *p = *state;
	uint64_t most = cow_size_bytes(DISK_BYTES);
	struct volume_spec big = p->spec;
	struct volume_usage u;
	struct err e = {0};

	change_many(p);
	/* All that the disk can need is less than the head start. */
	assert_int_equal(snap_room_begin(&p->spec, p->cow, p->next * CHUNK, &e), 0);
	assert_int_equal(length_of(p->spec.dir_fd, "cow"), most);
	assert_int_equal(store_dm.usage(&p->spec, &u), 0);
	assert_true(u.used_bytes >= most - (p->next * CHUNK)); /* really allocated */
	(void)flatten_is_model(p);
	snap_room_end(&p->spec, p->cow);
	assert_int_equal(length_of(p->spec.dir_fd, "cow"), p->next * CHUNK);

	big.size_bytes = 1024 * MIB;
	assert_int_equal(snap_room_begin(&big, p->cow, p->next * CHUNK, &e), 0);
	assert_in_range(length_of(p->spec.dir_fd, "cow"), p->next * CHUNK + 64 * MIB,
			p->next * CHUNK + 64 * MIB + CHUNK);
	/* Left longer by a crash: as it should be after the next. */
	assert_int_equal(ftruncate(p->cow, (off_t)(300 * MIB)), 0);
	assert_int_equal(snap_room_begin(&big, p->cow, p->next * CHUNK, &e), 0);
	assert_in_range(length_of(p->spec.dir_fd, "cow"), p->next * CHUNK + 64 * MIB,
			p->next * CHUNK + 64 * MIB + CHUNK);
	snap_room_end(&big, p->cow);
	assert_int_equal(length_of(p->spec.dir_fd, "cow"), p->next * CHUNK);
	(void)flatten_is_model(p);
}

/* A copy by other means may have holes for the zeroes of metadata: they get blocks before the kernel writes them. */
static void test_metadata_gets_blocks(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	change_many(p);
	assert_int_equal(fallocate(p->cow, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(cow_last_area(p->next * CHUNK) - 8 * CHUNK),
				   (off_t)(17 * CHUNK)),
			 0);
	assert_int_equal(snap_room_begin(&p->spec, p->cow, p->next * CHUNK, &e), 0);
	assert_true(has_blocks(p, cow_last_area(p->next * CHUNK)));
	assert_false(has_blocks(p, cow_last_area(p->next * CHUNK) - CHUNK));
}

static void test_end_leaves_damage_alone(void **state)
{
	struct place *p = *state;
	uint64_t length;

	change_many(p);
	assert_int_equal(ftruncate(p->cow, (off_t)(32 * MIB)), 0);
	length = length_of(p->spec.dir_fd, "cow");
	poke_entry(p, 3, DISK_BYTES / CHUNK + 5, 5);
	snap_room_end(&p->spec, p->cow);
	assert_int_equal(length_of(p->spec.dir_fd, "cow"), length);
}

static void test_room_extends(void **state)
{
	struct place *p = *state;
	struct snap_room room = {
		.spec = &p->spec, .fd = p->cow, .disk_bytes = 2048 * MIB, .used_bytes = 2 * CHUNK};
	struct err e = {0};
	uint64_t length, again;

	assert_int_equal(snap_room_extend(&room, &length, &e), 0);
	assert_in_range(length, 64 * MIB, 65 * MIB);
	assert_int_equal(length_of(p->spec.dir_fd, "cow"), length);
	assert_int_equal(snap_room_extend(&room, &again, &e), 0);
	assert_int_equal(again, length); /* long enough */
	room.used_bytes = length;
	room.reserve_bytes = UINT64_MAX;
	assert_int_equal(snap_room_extend(&room, &again, &e), -ENOSPC);
	assert_int_equal(again, length);
	assert_non_null(strstr(e.text, "stay free"));
	assert_int_equal(length_of(p->spec.dir_fd, "cow"), length);
	/* The last piece ends where no disk can need more. */
	room.disk_bytes = 70 * MIB;
	room.reserve_bytes = 0;
	assert_int_equal(snap_room_extend(&room, &again, &e), 0);
	assert_int_equal(again, cow_size_bytes(70 * MIB));
}

static void test_adopt(void **state)
{
	struct place *p = *state;
	struct err e = {0};
	struct stat st;

	change_many(p);
	assert_int_equal(fchmod(p->cow, 04777), 0);
	assert_int_equal(ftruncate(p->cow, (off_t)(9 * MIB)), 0); /* longer than needed: cut */
	assert_int_equal(store_dm.adopt_data(&p->spec, &e), 0);
	assert_int_equal(fstat(p->cow, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, p->next * CHUNK);
	(void)flatten_is_model(p);
	assert_int_equal(store_dm.adopt_data(&p->spec, &e), 0);
}

/* Each makes the store one that must not be taken. */
static void twice_on_disk(struct place *p)
{
	poke_entry(p, 300, 100, 300 / 256 * 257 + 2 + 300 % 256);
}
static void twice_in_store(struct place *p)
{
	poke_entry(p, 300, 2047, 9);
}
static void onto_metadata(struct place *p)
{
	poke_entry(p, 300, 2047, 258);
}
static void onto_header_area(struct place *p)
{
	poke_entry(p, 300, 2047, 1);
}
static void beyond_disk(struct place *p)
{
	poke_entry(p, 300, DISK_BYTES / CHUNK, 400);
}
static void far_beyond_disk(struct place *p)
{
	poke_entry(p, 300, UINT64_MAX, 400);
}
static void beyond_store(struct place *p)
{
	poke_entry(p, 300, 2047, UINT64_MAX / 2);
}
static void wrapping_in_store(struct place *p)
{
	poke_entry(p, 300, 2047, UINT64_MAX);
}
static void behind_end_of_list(struct place *p)
{
	poke_entry(p, p->count + 3, 1, 5);
}
static void behind_header(struct place *p)
{
	put(p->cow, "x", 1, 16);
}
static void behind_note(struct place *p)
{
	put(p->cow, "x", 1, 528);
}
static void other_base(struct place *p)
{
	assert_int_equal(truncate(p->base, (off_t)(BASE_BYTES - 512)), 0);
}
static void too_long(struct place *p)
{
	assert_int_equal(ftruncate(p->cow, (off_t)(cow_size_bytes(DISK_BYTES) + CHUNK)), 0);
}
static void too_short(struct place *p)
{
	assert_int_equal(ftruncate(p->cow, 100), 0);
}
static void empty(struct place *p)
{
	assert_int_equal(ftruncate(p->cow, 0), 0);
}
static void zeroed(struct place *p)
{
	static const unsigned char zeroes[4096];

	put(p->cow, zeroes, sizeof(zeroes), 0);
}
static void second_name(struct place *p)
{
	assert_int_equal(linkat(p->spec.dir_fd, "cow", p->other_fd, "stolen", 0), 0);
}
static void symlinked(struct place *p)
{
	assert_int_equal(renameat(p->spec.dir_fd, "cow", p->other_fd, "real"), 0);
	assert_int_equal(symlinkat("../other/real", p->spec.dir_fd, "cow"), 0);
}
static void a_pipe(struct place *p)
{
	assert_int_equal(unlinkat(p->spec.dir_fd, "cow", 0), 0);
	assert_int_equal(mkfifoat(p->spec.dir_fd, "cow", 0600), 0);
}

/* clang-format off */
static const struct {
	const char *name;
	void (*damage)(struct place *p);
	const char *text;
} hostile[] = {
	{"a chunk of the disk twice",       twice_on_disk,      "twice"},
	{"a chunk of the store twice",      twice_in_store,     "twice"},
	{"data where metadata is",          onto_metadata,      "metadata"},
	{"data in the first metadata",      onto_header_area,   "metadata"},
	{"a chunk beyond the disk",         beyond_disk,        "larger disk"},
	{"a chunk far beyond the disk",     far_beyond_disk,    "larger disk"},
	{"a chunk beyond the store",        beyond_store,       "cut off"},
	{"a chunk at the end of numbers",   wrapping_in_store,  "cut off"},
	{"an entry behind the list's end",  behind_end_of_list, "empty"},
	{"something behind the header",     behind_header,      "empty"},
	{"something behind the note",       behind_note,        "empty"},
	{"an image of another length",      other_base,         "cut off or replaced"},
	{"longer than any store",           too_long,           "more than"},
	{"shorter than a header",           too_short,          "cut off"},
	{"nothing",                         empty,              "cut off"},
	{"a header of zeroes",              zeroed,             "zeroes"},
	{"a file with two names",           second_name,        "one name"},
	{"a link",                          symlinked,          "cannot open"},
	{"a pipe",                          a_pipe,             "plain file"},
};
/* clang-format on */

static void test_adopt_refuses(void **state)
{
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		struct place *p = *state;
		struct err e = {0};
		int r;

		change_many(p);
		hostile[i].damage(p);
		r = store_dm.adopt_data(&p->spec, &e);
		if (r != -EBADMSG || !strstr(e.text, hostile[i].text))
			fail_msg("%s: %d %s", hostile[i].name, r, e.text);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

static void test_adopt_without_data(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	assert_int_equal(unlinkat(p->spec.dir_fd, "cow", 0), 0);
	assert_int_equal(store_dm.adopt_data(&p->spec, &e), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_flatten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flatten_full_areas, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flatten_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_is_trimmed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_refuses_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_room_begins_and_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metadata_gets_blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_leaves_damage_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_room_extends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt_without_data, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
