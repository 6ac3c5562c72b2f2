/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fuzz/fuzz-cow.c - damaged copy-on-write stores: refused, or every change within disk and store, and laid there
 *
 * An input is a list of changes to a good store: a byte that says where (enum place), two for which number
 * there, eight for its new value, little-endian.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/cow.h"
#include "storage/snap.h"

enum {
	DISK_CHUNKS = 512,
	STORE_CHUNKS =
		530, /* of a good one: header, two areas and what they can describe, and a third area */
	CHANGE_BYTES = 11,
};

enum place {
	PLACE_HEADER,
	PLACE_AREA, /* the first: any 8 bytes */
	PLACE_AREA_2,
	PLACE_ENTRY, /* a likely entry: the value's low half for the disk, the next for the store */
	PLACE_ENTRY_2,
	PLACE_FULL, /* the first area gets all its entries */
	PLACE_LENGTH,
	PLACE_COUNT,
};

static struct place_dir {
	char path[64], base[80];
	int dir_fd, out_fd;
} dir = {.dir_fd = -1};

static unsigned char want[DISK_CHUNKS * COW_CHUNK_BYTES], have[DISK_CHUNKS * COW_CHUNK_BYTES];

/* In memory where that can be: it is written for every input. */
static void dir_remove(void)
{
	(void)file_remove_tree(AT_FDCWD, dir.path, NULL);
}

static void dir_make(void)
{
	AUTO_FD base = -1;

	(void)snprintf(dir.path, sizeof(dir.path), "%s/sbxfs-fuzz-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir.path) || file_open_dir(AT_FDCWD, dir.path, &dir.dir_fd, NULL) < 0)
		abort();
	(void)atexit(dir_remove);
	(void)snprintf(dir.base, sizeof(dir.base), "%s/base", dir.path);
	base = open(dir.base, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	dir.out_fd = openat(dir.dir_fd, "out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (base < 0 || ftruncate(base, 1 << 20) < 0 || dir.out_fd < 0)
		abort();
}

static void put(int fd, const void *data, size_t len, uint64_t at)
{
	if (pwrite(fd, data, len, (off_t)at) != (ssize_t)len)
		abort();
}

static void put_entry(int fd, uint64_t area, unsigned i, uint64_t disk_chunk, uint64_t store_chunk)
{
	uint64_t entry[2] = {htole64(disk_chunk), htole64(store_chunk)};

	put(fd, entry, sizeof(entry), area * COW_CHUNK_BYTES + i % COW_AREA_ENTRIES * 16);
}

static void change(int fd, unsigned place, unsigned number, uint64_t value)
{
	uint64_t raw = htole64(value), area_2 = COW_AREA_ENTRIES + 2;

	switch (place % PLACE_COUNT) {
	case PLACE_HEADER:
		put(fd, &raw, sizeof(raw), number % 16 * 4);
		break;
	case PLACE_AREA:
		put(fd, &raw, sizeof(raw), COW_CHUNK_BYTES + number % 512 * 8);
		break;
	case PLACE_AREA_2:
		put(fd, &raw, sizeof(raw), area_2 * COW_CHUNK_BYTES + number % 512 * 8);
		break;
	case PLACE_ENTRY:
	case PLACE_ENTRY_2:
		put_entry(fd, place % PLACE_COUNT == PLACE_ENTRY ? 1 : area_2, number,
			  value % DISK_CHUNKS, (value >> 16) % STORE_CHUNKS);
		break;
	case PLACE_FULL:
		for (unsigned i = 0; i < COW_AREA_ENTRIES; i++)
			put_entry(fd, 1, i, (value + i) % DISK_CHUNKS, 2 + i);
		break;
	default:
		if (ftruncate(fd, (off_t)(value % (STORE_CHUNKS * COW_CHUNK_BYTES * 2))) < 0)
			abort();
	}
}

static int store_make(const uint8_t *data, size_t size)
{
	int fd = openat(dir.dir_fd, SNAP_DATA_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsigned char chunk[COW_CHUNK_BYTES];

	if (fd < 0 || ftruncate(fd, (off_t)STORE_CHUNKS * COW_CHUNK_BYTES) < 0)
		abort();
	cow_header_init(chunk);
	put(fd, chunk, sizeof(chunk), 0);
	put_entry(fd, 1, 0, 7, 2);
	put_entry(fd, 1, 1, 8, 3);
	memset(chunk, 'c', sizeof(chunk));
	put(fd, chunk, sizeof(chunk), 2 * COW_CHUNK_BYTES);
	for (; size >= CHANGE_BYTES; data += CHANGE_BYTES, size -= CHANGE_BYTES) {
		uint64_t value;

		memcpy(&value, data + 3, sizeof(value));
		change(fd, data[0], data[1] | (unsigned)data[2] << 8, le64toh(value));
	}
	return fd;
}

/* The plainest way to lay a change. */
static int visit(uint64_t disk_chunk, uint64_t store_chunk, void *arg)
{
	const int *fd = arg;

	if (disk_chunk >= DISK_CHUNKS ||
	    pread(*fd, want + disk_chunk * COW_CHUNK_BYTES, COW_CHUNK_BYTES,
		  (off_t)(store_chunk * COW_CHUNK_BYTES)) != COW_CHUNK_BYTES)
		abort();
	return 0;
}

/* A store that was found good: as an image it is what its list says, and stays good when the spare is cut off. */
static void judge(const struct volume_spec *s, int fd, uint64_t used)
{
	struct cow_walk walk = {.fd = fd, .disk_bytes = s->size_bytes, .visit = visit, .arg = &fd};
	struct deadline d = deadline_in(60000, -1);
	uint64_t again = 0;

	memset(want, 0, sizeof(want));
	if (cow_walk(&walk, &again, NULL) < 0 || again != used)
		abort();
	if (ftruncate(dir.out_fd, 0) < 0 || snap_flatten(s, dir.out_fd, &d, NULL) < 0 ||
	    pread(dir.out_fd, have, sizeof(have), 0) != sizeof(have) ||
	    memcmp(want, have, sizeof(have)) != 0)
		abort();
	if (ftruncate(fd, (off_t)used) < 0 || cow_check(fd, s->size_bytes, &again, NULL) < 0 ||
	    again != used)
		abort();
}

static void must_say(int r, const struct err *e)
{
	if (r != 0 && (r != -EBADMSG || e->code != EBADMSG || !e->text[0]))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct volume_spec s = {.dir = dir.path,
				.base = dir.base,
				.size_bytes = (uint64_t)DISK_CHUNKS * COW_CHUNK_BYTES};
	uint64_t used = 0, foreign_used = 0;
	struct err e = {0};
	int r, foreign;

	if (dir.dir_fd < 0)
		dir_make();
	s.dir_fd = dir.dir_fd;
	AUTO_FD fd = store_make(data, size);
	r = cow_check(fd, s.size_bytes, &used, &e);
	must_say(r, &e);
	foreign = cow_check_foreign(fd, s.size_bytes, &foreign_used, &e);
	must_say(foreign, &e);
	if (foreign == 0 && (r < 0 || used != foreign_used))
		abort();
	if (r == 0)
		judge(&s, fd, used);
	return 0;
}
