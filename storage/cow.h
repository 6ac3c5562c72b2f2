/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/cow.h - the format of a dm-snapshot's copy-on-write store; for storage/ only */
#ifndef SBXFS_STORAGE_COW_H
#define SBXFS_STORAGE_COW_H

#include <stdint.h>

#include "base/err.h"

enum {
	COW_CHUNK_BYTES = 4096, /* a guest's block: a write of a whole chunk copies nothing */
	COW_CHUNK_SECTORS = COW_CHUNK_BYTES / 512,
	COW_AREA_ENTRIES = COW_CHUNK_BYTES / 16, /* chunks that one metadata chunk describes */
	COW_AREA_STEP = (COW_AREA_ENTRIES + 1) * COW_CHUNK_BYTES, /* bytes to the next one */
};

/**
 * cow_size_bytes() - Length of a store that holds a disk rewritten from end to end, with its metadata
 * Return: a multiple of 1 MiB.
 */
uint64_t cow_size_bytes(uint64_t disk_bytes);

/**
 * cow_length() - How long a store in use should be: its used part and some room ahead of it
 * @used_bytes: from cow_check() or the kernel's status
 *
 * Never one after which the kernel would have to clear a metadata chunk beyond the end: it would give the store
 * up for that, where it only stops for a data chunk.
 * Return: a multiple of COW_CHUNK_BYTES; at least @used_bytes, at most cow_size_bytes() (or @used_bytes).
 */
uint64_t cow_length(uint64_t disk_bytes, uint64_t used_bytes, uint64_t ahead_bytes);

/* Where the last metadata chunk lies within a part in use. */
uint64_t cow_last_area(uint64_t used_bytes);

/* Fill @chunk with the header of a store that holds no change. */
void cow_header_init(unsigned char chunk[COW_CHUNK_BYTES]);

/* Note in such a header, where the kernel does not look, the length of the image over which the store lies. */
void cow_header_note(unsigned char chunk[COW_CHUNK_BYTES], uint64_t base_bytes);

/* Does a store belong to an image of this length? Return: 0, also for one without a note; -EBADMSG; -EIO. */
int cow_check_base(int fd, uint64_t base_bytes, struct err *e);

/* Told of each change in the order of the store; what it returns other than 0 ends the walk. */
typedef int cow_visit(uint64_t disk_chunk, uint64_t store_chunk, void *arg);

struct cow_walk {
	int fd;              /* open for reading; borrowed */
	uint64_t disk_bytes; /* of the disk over which the store lies */
	cow_visit *visit;    /* NULL: only check */
	void *arg;           /* for visit() */
};

/**
 * cow_walk() - Visit every change, each checked to lie within the disk and the store
 * @ret_used_bytes: length of the part in use; NULL: not wanted
 * Context: reads the header and all metadata in use, 4 KiB for each MiB changed.
 * Return: 0; what visit() returned, which fills @e itself; -EBADMSG with what is damaged; -EIO.
 */
int cow_walk(const struct cow_walk *w, uint64_t *ret_used_bytes, struct err *e);

/**
 * cow_check() - Is this a store that the kernel can take, with every chunk of disk and store used once at most?
 * @ret_used_bytes: as for cow_walk()
 * Return: 0; -EBADMSG with what is damaged; -ENOMEM; -EIO.
 */
int cow_check(int fd, uint64_t disk_bytes, uint64_t *ret_used_bytes, struct err *e);

/**
 * cow_clear_rest() - Clear what stands behind the end of the list in its metadata chunk
 * @fd: open for reading and writing, checked; nobody else may have it open
 *
 * The kernel writes a metadata chunk at once, but a disk may write its sectors in any order and lose power between: a
 * later part of the list is there, an earlier one is not. The list ends before the gap, and the kernel would take the
 * rest up when the list has grown to it, by when other changes lie in those places.
 * Return: 0; -EBADMSG; -ENOSPC; -EIO.
 */
int cow_clear_rest(int fd, struct err *e);

/**
 * cow_check_foreign() - cow_check() for a store that another host may have written, with malice
 *
 * Nothing may stand behind the end of the list either: the kernel would take it up as the list grows.
 */
int cow_check_foreign(int fd, uint64_t disk_bytes, uint64_t *ret_used_bytes, struct err *e);

#endif
