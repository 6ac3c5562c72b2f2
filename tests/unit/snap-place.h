/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/snap-place.h - a base image and a store over it, written as the kernel does, with a model of the disk */
#ifndef SBXFS_TESTS_UNIT_SNAP_PLACE_H
#define SBXFS_TESTS_UNIT_SNAP_PLACE_H

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/cow.h"
#include "storage/snap.h"

#define MIB        UINT64_C(1048576)
#define CHUNK      UINT64_C(4096)
#define BASE_BYTES (3 * MIB)
#define DISK_BYTES (8 * MIB)

struct place {
	char root[64];
	char dir[96], other[96], base[96], image[96];
	int other_fd;
	struct volume_spec spec;
	struct deadline d;
	unsigned char *disk;  /* the model, DISK_BYTES long */
	int cow;              /* the store, open */
	uint64_t next, count; /* the store's next free chunk, entries written */
};

static inline void make_base(struct place *p)
{
	AUTO_FD base = open(p->base, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(base >= 0);
	for (uint64_t at = 0; at < MIB; at++)
		p->disk[at] = (unsigned char)(at / CHUNK * 7 + at % 251 + 1);
	memcpy(p->disk + 2 * MIB, p->disk, MIB / 2);
	assert_int_equal(pwrite(base, p->disk, MIB, 0), MIB);
	assert_int_equal(pwrite(base, p->disk + 2 * MIB, MIB / 2, (off_t)(2 * MIB)), MIB / 2);
	assert_int_equal(ftruncate(base, (off_t)BASE_BYTES), 0);
}

static inline int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->disk = calloc(1, DISK_BYTES);
	assert_non_null(p->disk);
	(void)snprintf(p->root, sizeof(p->root), "/tmp/test-snap.XXXXXX");
	assert_non_null(mkdtemp(p->root));
	(void)snprintf(p->dir, sizeof(p->dir), "%s/sandbox", p->root);
	(void)snprintf(p->other, sizeof(p->other), "%s/other", p->root);
	(void)snprintf(p->base, sizeof(p->base), "%s/base.img", p->root);
	(void)snprintf(p->image, sizeof(p->image), "%s/image", p->root);
	assert_int_equal(mkdir(p->dir, 0700), 0);
	assert_int_equal(mkdir(p->other, 0700), 0);
	make_base(p);
	p->d = deadline_in(60000, -1);
	p->other_fd = open(p->other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->spec = (struct volume_spec){
		.instance = "test",
		.serial = 1,
		.dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.dir = p->dir,
		.base = p->base,
		.size_bytes = DISK_BYTES,
	};
	assert_int_equal(store_dm.create(&p->spec, &p->d, NULL), 0);
	p->cow = openat(p->spec.dir_fd, "cow", O_RDWR | O_CLOEXEC);
	assert_true(p->cow >= 0 && p->other_fd >= 0 && p->spec.dir_fd >= 0);
	p->next = 2;
	*state = p;
	return 0;
}

static inline int teardown(void **state)
{
	struct place *p = *state;

	fd_close(p->cow);
	fd_close(p->other_fd);
	fd_close(p->spec.dir_fd);
	assert_int_equal(file_remove_tree(AT_FDCWD, p->root, NULL), 0);
	free(p->disk);
	free(p);
	return 0;
}

static inline void put(int fd, const void *data, size_t len, uint64_t at)
{
	assert_int_equal(pwrite(fd, data, len, (off_t)at), len);
}

static uint64_t entry_at(uint64_t i)
{
	return (1 + i / 256 * 257) * CHUNK + i % 256 * 16;
}

static inline void poke_entry(struct place *p, uint64_t i, uint64_t from, uint64_t to)
{
	uint64_t entry[2] = {htole64(from), htole64(to)};

	put(p->cow, entry, sizeof(entry), entry_at(i));
}

/* A change of one chunk, in the next place of the store, as the kernel makes it; NULL: discarded since. */
static inline void change(struct place *p, uint64_t disk_chunk, const unsigned char *data)
{
	static const unsigned char zeroes[4096];

	if (data)
		put(p->cow, data, CHUNK, p->next * CHUNK);
	else if (lseek(p->cow, 0, SEEK_END) < (off_t)((p->next + 1) * CHUNK))
		assert_int_equal(ftruncate(p->cow, (off_t)((p->next + 1) * CHUNK)), 0);
	memcpy(p->disk + disk_chunk * CHUNK, data ? data : zeroes, CHUNK);
	poke_entry(p, p->count, disk_chunk, p->next);
	p->next++;
	p->count++;
	if (p->count % 256 == 0) { /* the next metadata chunk is cleared at once */
		put(p->cow, zeroes, CHUNK, p->next * CHUNK);
		p->next++;
	}
}

/* Change chunks in three ways: in order, backwards, scattered; some of them zeroes, some discarded. */
static inline void change_many(struct place *p)
{
	unsigned char data[4096];
	bool done[DISK_BYTES / CHUNK] = {0};
	uint64_t at = 0;

	for (unsigned i = 0; i < 1100; i++) {
		at = i < 400 ? i + 100 : i < 700 ? 2040 - i : (at * 5 + 17) % (DISK_BYTES / CHUNK);
		while (done[at])
			at = (at + 1) % (DISK_BYTES / CHUNK);
		done[at] = true;
		memset(data, i % 11 == 0 ? 0 : (int)(i % 250 + 1), sizeof(data));
		memcpy(data, &i, i % 11 ? sizeof(i) : 0);
		change(p, at, i % 13 == 5 ? NULL : data);
	}
}

static uint64_t length_of(int dir_fd, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(dir_fd, name, &st, 0), 0);
	return (uint64_t)st.st_size;
}

/* Flatten the place's data and compare with the model. Return: blocks allocated, in bytes. */
static uint64_t flatten_is_model(struct place *p)
{
	AUTO_FREE unsigned char *got = malloc(DISK_BYTES);
	AUTO_FD out = open(p->image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct err e = {0};
	struct stat st;

	assert_true(out >= 0 && got);
	assert_int_equal(store_dm.flatten(&p->spec, out, &p->d, &e), 0);
	assert_int_equal(fstat(out, &st), 0);
	assert_int_equal(st.st_size, DISK_BYTES);
	assert_int_equal(pread(out, got, DISK_BYTES, 0), DISK_BYTES);
	assert_memory_equal(got, p->disk, DISK_BYTES);
	assert_int_equal(unlink(p->image), 0);
	return (uint64_t)st.st_blocks * 512;
}

#endif
