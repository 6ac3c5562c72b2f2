// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/qcow2-read.c - overlays in QEMU's qcow2 format, read without QEMU: laid over their base, or checked
 *
 * How it works
 * The L1 table, an L2 table for each GiB of the disk, and in an L2 entry for each of 32 subclusters: its content
 * is in the file, it is zeroes, or it is the base's. Nothing in the file is trusted: every offset is held
 * against the file's length, and a bitmap of the file's clusters sees to it that none is used twice. So the work
 * is bounded by the file, which a table that leads to itself, or a disk that is all one cluster, would undo.
 * Content in holes of the file is not read, and zeroes are laid in one piece over as many clusters as there are.
 * Refcounts do not matter for reading: only an overlay that a VMM is to write to has them checked.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "storage/qcow2-format.h"
#include "storage/qcow2.h"
#include "storage/store.h"

static const uint64_t offset_mask = 0x00fffffffffffe00, entry_copied = UINT64_C(1) << 63,
		      entry_compressed = UINT64_C(1) << 62;
/* What guests leave behind, unused clusters too, is never nearly as much. */
static const uint64_t file_spare_bytes = UINT64_C(1) << 30;

struct walk {
	struct qcow2_image image;
	const struct deadline *d;  /* NULL: none */
	int out_fd;                /* -1: only check */
	unsigned char *used;       /* owned; a bit for each cluster of the file */
	struct qcow2_l2_entry *l2; /* owned; one table */
	unsigned char *data;       /* owned; one cluster's content */
	uint64_t zero_at,
		zero_bytes; /* of the disk: to become a hole, as soon as it gets no longer */
	uint64_t hole_at, hole_end; /* of the file: known to be a hole */
};

static void walk_done(struct walk *w)
{
	free(w->used);
	free(w->l2);
	free(w->data);
}

static bool walk_is_used(const struct walk *w, uint64_t cluster)
{
	return w->used[cluster / 8] >> cluster % 8 & 1;
}

/* Note that a cluster of the file is in use, by one thing only. */
static int walk_claim(struct walk *w, uint64_t offset, const char *what, struct err *e)
{
	uint64_t cluster = offset / QCOW2_CLUSTER_BYTES;

	if (offset % QCOW2_CLUSTER_BYTES || offset >= w->image.file_bytes)
		return err_set(e, EBADMSG, "the disk's overlay has %s at byte %llu of %llu", what,
			       (unsigned long long)offset, (unsigned long long)w->image.file_bytes);
	if (walk_is_used(w, cluster))
		return err_set(e, EBADMSG,
			       "the disk's overlay has %s at byte %llu, where something else is",
			       what, (unsigned long long)offset);
	w->used[cluster / 8] |= (unsigned char)(1 << cluster % 8);
	return 0;
}

static int walk_init(struct walk *w, int fd, int out_fd, const struct deadline *d, struct err *e)
{
	int r;

	*w = (struct walk){.d = d, .out_fd = out_fd};
	r = qcow2_load(fd, &w->image, e);
	if (r < 0)
		return r;
	if (w->image.file_bytes > 2 * w->image.disk_bytes + file_spare_bytes)
		return err_set(e, EBADMSG,
			       "the disk's overlay is %llu bytes long, too many for a disk of %llu",
			       (unsigned long long)w->image.file_bytes,
			       (unsigned long long)w->image.disk_bytes);
	w->used = calloc(w->image.file_bytes / QCOW2_CLUSTER_BYTES / 8 + 1, 1);
	w->l2 = malloc(QCOW2_CLUSTER_BYTES);
	w->data = malloc(QCOW2_CLUSTER_BYTES);
	if (!w->used || !w->l2 || !w->data)
		return err_set(e, ENOMEM, "no memory to read the disk's overlay");
	r = walk_claim(w, 0, "its header", e);
	return r < 0 ? r : walk_claim(w, w->image.l1_offset, "its L1 table", e);
}

static int lay_zeroes(struct walk *w, uint64_t disk_at, uint64_t bytes, struct err *e)
{
	int r = 0;

	if (w->zero_bytes && w->zero_at + w->zero_bytes == disk_at) {
		w->zero_bytes += bytes;
		return 0;
	}
	if (w->zero_bytes)
		r = store_lay_zeroes(w->out_fd, w->zero_at, w->zero_bytes, e);
	w->zero_at = disk_at;
	w->zero_bytes = bytes;
	return r;
}

/* Is all of it in a hole of the file? Where the file system does not tell, it is not. */
static bool is_hole(struct walk *w, uint64_t offset, uint64_t bytes)
{
	off_t data;

	if (offset < w->hole_at || offset >= w->hole_end) {
		data = lseek(w->image.fd, (off_t)offset, SEEK_DATA);
		w->hole_at = offset;
		w->hole_end = data >= 0        ? (uint64_t)data
			      : errno == ENXIO ? w->image.file_bytes
					       : offset;
	}
	return offset + bytes <= w->hole_end;
}

static int lay_content(struct walk *w, uint64_t disk_at, uint64_t offset, size_t bytes,
		       struct err *e)
{
	int r;

	if (is_hole(w, offset, bytes))
		return lay_zeroes(w, disk_at, bytes, e);
	r = qcow2_read(w->image.fd, w->data, bytes, offset, e);
	return r < 0 ? r : store_lay(w->out_fd, disk_at, w->data, bytes, e);
}

/* What an entry says of its subcluster @i: 0 the base's, 1 content, 2 zeroes. */
static unsigned kind_of(uint64_t subclusters, unsigned i)
{
	return (unsigned)(subclusters >> i & 1) | (unsigned)(subclusters >> (i + 32) & 1) << 1;
}

static int cluster_lay(struct walk *w, uint64_t disk_at, uint64_t cluster, uint64_t subclusters,
		       struct err *e)
{
	int r = 0;

	for (unsigned i = 0, end; r == 0 && i < QCOW2_SUBCLUSTERS; i = end) {
		unsigned kind = kind_of(subclusters, i);
		uint64_t at = (uint64_t)i * QCOW2_SUBCLUSTER_BYTES;
		size_t bytes;

		end = i + 1;
		while (end < QCOW2_SUBCLUSTERS && kind_of(subclusters, end) == kind)
			end++;
		bytes = (size_t)(end - i) * QCOW2_SUBCLUSTER_BYTES;
		if (kind == 1)
			r = lay_content(w, disk_at + at, cluster + at, bytes, e);
		else if (kind == 2)
			r = lay_zeroes(w, disk_at + at, bytes, e);
	}
	return r;
}

/* The end of the last subcluster with content, from the cluster's begin. */
static uint64_t content_end(uint32_t allocated)
{
	return allocated ? (uint64_t)(32 - __builtin_clz(allocated)) * QCOW2_SUBCLUSTER_BYTES : 0;
}

static int entry_walk(struct walk *w, uint64_t disk_at, const struct qcow2_l2_entry *entry,
		      struct err *e)
{
	uint64_t subclusters = be64toh(entry->subclusters), word = be64toh(entry->cluster);
	uint64_t cluster = word & offset_mask;
	uint32_t allocated = (uint32_t)subclusters, zero = (uint32_t)(subclusters >> 32);
	int r;

	if (word & entry_compressed)
		return err_set(
			e, EBADMSG,
			"the disk's overlay has compressed content, at byte %llu of the disk",
			(unsigned long long)disk_at);
	if (word & ~(offset_mask | entry_copied) || allocated & zero || (allocated && !cluster) ||
	    disk_at >= w->image.disk_bytes)
		return err_set(e, EBADMSG,
			       "the disk's overlay has a damaged entry for byte %llu of the disk",
			       (unsigned long long)disk_at);
	if (cluster) {
		r = walk_claim(w, cluster, "content", e);
		if (r < 0)
			return r;
		if (content_end(allocated) > w->image.file_bytes - cluster)
			return err_set(e, EBADMSG, "the disk's overlay is cut off at byte %llu",
				       (unsigned long long)w->image.file_bytes);
	}
	return w->out_fd < 0 ? 0 : cluster_lay(w, disk_at, cluster, subclusters, e);
}

static int l2_walk(struct walk *w, uint64_t disk_at, uint64_t offset, struct err *e)
{
	int r = walk_claim(w, offset, "an L2 table", e);

	if (r == 0)
		r = qcow2_read(w->image.fd, w->l2, QCOW2_CLUSTER_BYTES, offset, e);
	for (unsigned i = 0; r == 0 && i < QCOW2_L2_ENTRIES; i++) {
		if (w->d && i % 64 == 0 && deadline_cancelled(w->d))
			return err_set(e, ECANCELED, "reading the disk's overlay was cancelled");
		if (w->l2[i].cluster || w->l2[i].subclusters)
			r = entry_walk(w, disk_at + (uint64_t)i * QCOW2_CLUSTER_BYTES, &w->l2[i],
				       e);
	}
	return r;
}

static int walk_run(struct walk *w, struct err *e)
{
	AUTO_FREE uint64_t *l1 = malloc(QCOW2_CLUSTER_BYTES);
	int r;

	if (!l1)
		return err_set(e, ENOMEM, "no memory to read the disk's overlay");
	r = qcow2_read(w->image.fd, l1, QCOW2_CLUSTER_BYTES, w->image.l1_offset, e);
	for (unsigned i = 0; r == 0 && i < QCOW2_L1_ENTRIES; i++) {
		uint64_t word = be64toh(l1[i]), disk_at = i * qcow2_l2_disk_bytes;

		if (!word)
			continue;
		if (word & ~(offset_mask | entry_copied) || disk_at >= w->image.disk_bytes)
			return err_set(e, EBADMSG,
				       "the disk's overlay has a damaged entry %u in its L1 table",
				       i);
		r = l2_walk(w, disk_at, word & offset_mask, e);
	}
	if (r == 0 && w->zero_bytes)
		r = store_lay_zeroes(w->out_fd, w->zero_at, w->zero_bytes, e);
	return r;
}

int qcow2_lay(int fd, int out_fd, const struct deadline *d, struct err *e)
{
	struct walk w;
	int r = walk_init(&w, fd, out_fd, d, e);

	if (r == 0)
		r = walk_run(&w, e);
	walk_done(&w);
	return r;
}

/* Read the refcount table; its cluster and the blocks that it names are in use. */
static int refcounts_claim(struct walk *w, uint64_t *ret_table, struct err *e)
{
	uint64_t at = w->image.refcount_table_offset;
	int r;

	if (w->image.refcount_table_clusters != 1)
		return err_set(e, EBADMSG, "the disk's overlay has a refcount table of %u clusters",
			       w->image.refcount_table_clusters);
	r = walk_claim(w, at, "its refcount table", e);
	if (r == 0)
		r = qcow2_read(w->image.fd, ret_table, QCOW2_CLUSTER_BYTES, at, e);
	for (unsigned i = 0; r == 0 && i < QCOW2_REFCOUNT_BLOCKS; i++)
		if (ret_table[i])
			r = walk_claim(w, be64toh(ret_table[i]), "a refcount block", e);
	return r;
}

/* Is each used cluster from @first on counted in this block? */
static int block_check(struct walk *w, uint64_t offset, uint64_t first, struct err *e)
{
	uint64_t clusters = (w->image.file_bytes + QCOW2_CLUSTER_BYTES - 1) / QCOW2_CLUSTER_BYTES;
	uint16_t *counts = (void *)w->data;
	int r = 0;

	if (offset)
		r = qcow2_read(w->image.fd, counts, QCOW2_CLUSTER_BYTES, offset, e);
	if (r < 0)
		return r;
	for (uint64_t c = first; c < clusters && c < first + QCOW2_REFCOUNTS; c++) {
		unsigned long long at = c * QCOW2_CLUSTER_BYTES;

		if (walk_is_used(w, c) && (!offset || !counts[c - first]))
			return err_set(e, EBADMSG,
				       "the disk's overlay counts byte %llu as free, and it is not",
				       at);
	}
	return 0;
}

static int refcounts_check(struct walk *w, const uint64_t *table, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < QCOW2_REFCOUNT_BLOCKS; i++) {
		uint64_t first = (uint64_t)i * QCOW2_REFCOUNTS;

		if (first * QCOW2_CLUSTER_BYTES >= w->image.file_bytes)
			break;
		r = block_check(w, be64toh(table[i]), first, e);
	}
	return r;
}

static int walk_verify(struct walk *w, struct err *e)
{
	AUTO_FREE uint64_t *table = calloc(QCOW2_REFCOUNT_BLOCKS, sizeof(*table));
	int r;

	if (!table)
		return err_set(e, ENOMEM, "no memory to read the disk's overlay");
	r = refcounts_claim(w, table, e);
	if (r == 0)
		r = walk_run(w, e);
	if (r < 0 || w->image.dirty)
		return r; /* the VMM counts anew when it opens one that is marked dirty */
	return refcounts_check(w, table, e);
}

int qcow2_verify(int fd, uint64_t *ret_disk_bytes, struct err *e)
{
	struct walk w;
	int r = walk_init(&w, fd, -1, NULL, e);

	if (r == 0)
		r = walk_verify(&w, e);
	if (r == 0)
		*ret_disk_bytes = w.image.disk_bytes;
	walk_done(&w);
	return r;
}
