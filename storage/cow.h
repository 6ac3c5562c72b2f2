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
};

/**
 * cow_size_bytes() - Length of a store that holds a disk rewritten from end to end, with its metadata
 * Return: a multiple of 1 MiB.
 */
uint64_t cow_size_bytes(uint64_t disk_bytes);

/* Fill @chunk with the header of a store that holds no change. */
void cow_header_init(unsigned char chunk[COW_CHUNK_BYTES]);

/**
 * cow_check() - Is this a store that the kernel can take, with changes only within the disk?
 * @fd:         open for reading; borrowed
 * @disk_bytes: of the disk over which it lies
 * Context: reads the header and all metadata in use, 4 KiB for each MiB changed.
 * Return: 0; -EBADMSG with what is damaged; -EIO.
 */
int cow_check(int fd, uint64_t disk_bytes, struct err *e);

#endif
