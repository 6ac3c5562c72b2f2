/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/qcow2-format.h - the part of QEMU's qcow2 format that sbxfs writes and takes; for storage/qcow2*.c only
 *
 * Source: QEMU docs/interop/qcow2.txt. All numbers on disk are big-endian.
 */
#ifndef SBXFS_STORAGE_QCOW2_FORMAT_H
#define SBXFS_STORAGE_QCOW2_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	QCOW2_CLUSTER_BITS = 17,
	QCOW2_CLUSTER_BYTES = 1 << QCOW2_CLUSTER_BITS,
	QCOW2_SUBCLUSTERS = 32, /* in a cluster */
	QCOW2_SUBCLUSTER_BYTES = QCOW2_CLUSTER_BYTES / QCOW2_SUBCLUSTERS,
	QCOW2_L1_ENTRIES = QCOW2_CLUSTER_BYTES / 8, /* always a whole cluster, whatever the disk */
	QCOW2_L2_ENTRIES = QCOW2_CLUSTER_BYTES / 16,
	QCOW2_REFCOUNT_BLOCKS = QCOW2_CLUSTER_BYTES / 8, /* in the refcount table, one cluster */
	QCOW2_REFCOUNTS = QCOW2_CLUSTER_BYTES / 2,       /* in a refcount block */
};

/* What one L2 table describes: 1 GiB. */
static const uint64_t qcow2_l2_disk_bytes = (uint64_t)QCOW2_L2_ENTRIES * QCOW2_CLUSTER_BYTES;

struct qcow2_l2_entry {
	uint64_t cluster; /* of the file; 0: none */
	uint64_t
		subclusters; /* low half: has content here; high half: reads as zeroes; neither: the base's */
};
_Static_assert(sizeof(struct qcow2_l2_entry) * QCOW2_L2_ENTRIES == QCOW2_CLUSTER_BYTES,
	       "layout on disk");

/* An overlay whose header is good. */
struct qcow2_image {
	int fd; /* borrowed */
	uint64_t file_bytes, disk_bytes;
	uint64_t l1_offset, refcount_table_offset; /* the first is inside the file */
	uint32_t refcount_table_clusters;
	bool dirty;           /* the VMM died: refcounts may be wrong, and it repairs them */
	char base_name[1024]; /* NUL-terminated */
};

/**
 * qcow2_load() - Read the header, and refuse what sbxfs does not write: another layout, snapshots, encryption,
 *                a data file, a base that is not raw
 * Return: 0; -EBADMSG with what is wrong; -EIO.
 */
int qcow2_load(int fd, struct qcow2_image *ret, struct err *e);

/* Read @len bytes at @at. Return: 0; -EBADMSG the file ends before; -EIO. */
int qcow2_read(int fd, void *ret, size_t len, uint64_t at, struct err *e);

#endif
