// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/qcow2.c - overlays in QEMU's qcow2 format, written in process: header and first tables
 *
 * How it works
 * Four clusters of 128 KiB: header with the backing file's name, refcount table, one refcount block, L1
 * table. L2 tables come with the guest's writes. Clusters are divided into 32 subclusters of 4 KiB
 * (extended L2), so that a first write of a guest's block neither reads the base nor grows the file by more.
 * The L1 table always has its whole cluster: growing the disk is a new number in the header.
 * Source: QEMU docs/interop/qcow2.txt.
 */
#include "storage/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "storage/qcow2-format.h"

enum {
	QCOW2_MAGIC = 0x514649fb, /* 'Q' 'F' 'I' 0xfb */
	QCOW2_VERSION = 3,
	INCOMPAT_DIRTY = 1 << 0,   /* the VMM died; it repairs refcounts when it opens the image */
	INCOMPAT_CORRUPT = 1 << 1, /* the VMM found damage; it refuses to write */
	INCOMPAT_EXTENDED_L2 = 1 << 4,
	REFCOUNT_ORDER = 4, /* 2^4 bits each */
	EXTENSION_END = 0,
	HEADER_MIN = 104,     /* bytes; QEMU writes these or 112 */
	BASE_NAME_MAX = 1023, /* bytes, by the format */
	HEAD_BYTES = 4096,    /* header, extensions and name, zero-filled */
};

enum { CLUSTER_HEADER, CLUSTER_REFCOUNT_TABLE, CLUSTER_REFCOUNT_BLOCK, CLUSTER_L1, CLUSTER_COUNT };
_Static_assert(CLUSTER_COUNT *QCOW2_CLUSTER_BYTES == QCOW2_MIN_BYTES, "what qcow2_create() writes");

static const uint32_t extension_backing_format = 0xe2792aca, extension_feature_names = 0x6803f857;
static const uint64_t disk_max_bytes = (uint64_t)QCOW2_L1_ENTRIES * qcow2_l2_disk_bytes;

/* With the extensions that we write. */
struct qcow2_header {
	uint32_t magic, version;
	uint64_t base_name_offset;
	uint32_t base_name_bytes, cluster_bits;
	uint64_t disk_bytes;
	uint32_t crypt_method, l1_entries;
	uint64_t l1_offset, refcount_table_offset;
	uint32_t refcount_table_clusters, snapshot_count;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order, header_bytes;
	uint8_t compression, padding[7];
	/* the extensions follow */
	uint32_t format_type, format_bytes;
	char format_name[8];
	uint32_t end_type, end_bytes;
};
_Static_assert(offsetof(struct qcow2_header, incompatible) == 72, "layout on disk");
_Static_assert(offsetof(struct qcow2_header, format_type) == 112, "layout on disk");
_Static_assert(sizeof(struct qcow2_header) == 136, "layout on disk");

static int put(int fd, const void *data, size_t len, uint64_t at, struct err *e)
{
	ssize_t n = pwrite(fd, data, len, (off_t)at);

	if (n == (ssize_t)len)
		return 0;
	return err_sys(e, n < 0 ? errno : ENOSPC, "cannot write the qcow2 overlay");
}

static void header_fill(struct qcow2_header *h, size_t base_len, uint64_t disk_bytes)
{
	*h = (struct qcow2_header){
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(QCOW2_VERSION),
		.base_name_offset = htobe64(sizeof(*h)),
		.base_name_bytes = htobe32((uint32_t)base_len),
		.cluster_bits = htobe32(QCOW2_CLUSTER_BITS),
		.disk_bytes = htobe64(disk_bytes),
		.l1_entries = htobe32(QCOW2_L1_ENTRIES),
		.l1_offset = htobe64((uint64_t)CLUSTER_L1 * QCOW2_CLUSTER_BYTES),
		.refcount_table_offset =
			htobe64((uint64_t)CLUSTER_REFCOUNT_TABLE * QCOW2_CLUSTER_BYTES),
		.refcount_table_clusters = htobe32(1),
		.incompatible = htobe64(INCOMPAT_EXTENDED_L2),
		.refcount_order = htobe32(REFCOUNT_ORDER),
		.header_bytes = htobe32(offsetof(struct qcow2_header, format_type)),
		.format_type = htobe32(extension_backing_format),
		.format_bytes = htobe32(3),
		.format_name = "raw",
		.end_type = htobe32(EXTENSION_END),
	};
}

/* Into a head of zeroes. */
static void head_fill(unsigned char head[HEAD_BYTES], const struct qcow2_header *h,
		      const char *base)
{
	memcpy(head, h, sizeof(*h));
	/* Its length stands in the header. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(head + sizeof(*h), base, strlen(base));
}

int qcow2_create(int fd, const char *base, uint64_t disk_bytes, struct err *e)
{
	uint64_t refcount_block_at =
		htobe64((uint64_t)CLUSTER_REFCOUNT_BLOCK * QCOW2_CLUSTER_BYTES);
	unsigned char head[HEAD_BYTES] = {0};
	uint16_t refcounts[CLUSTER_COUNT];
	size_t base_len = strlen(base);
	struct qcow2_header h;
	int r;

	if (base_len > BASE_NAME_MAX)
		return err_set(e, ENAMETOOLONG, "a qcow2 overlay cannot name %s: over %d bytes",
			       base, BASE_NAME_MAX);
	if (disk_bytes > disk_max_bytes)
		return err_set(e, EFBIG, "a qcow2 overlay cannot be larger than 16 TiB");
	header_fill(&h, base_len, disk_bytes);
	head_fill(head, &h, base);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		refcounts[i] = htobe16(1);

	if (ftruncate(fd, QCOW2_MIN_BYTES) < 0)
		return err_sys(e, errno, "cannot size the qcow2 overlay");
	r = put(fd, &refcount_block_at, sizeof(refcount_block_at),
		(uint64_t)CLUSTER_REFCOUNT_TABLE * QCOW2_CLUSTER_BYTES, e);
	if (r < 0)
		return r;
	r = put(fd, refcounts, sizeof(refcounts),
		(uint64_t)CLUSTER_REFCOUNT_BLOCK * QCOW2_CLUSTER_BYTES, e);
	if (r < 0)
		return r;
	return put(fd, head, sizeof(head), 0, e);
}

int qcow2_read(int fd, void *ret, size_t len, uint64_t at, struct err *e)
{
	char *p = ret;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "cannot read the disk's overlay");
		if (n == 0)
			return err_set(e, EBADMSG, "the disk's overlay is cut off at byte %llu",
				       (unsigned long long)at);
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int header_check(const struct qcow2_header *h, struct err *e)
{
	uint64_t features = be64toh(h->incompatible);

	if (be32toh(h->magic) != QCOW2_MAGIC || be32toh(h->version) != QCOW2_VERSION)
		return err_set(e, EBADMSG, "the disk's overlay has no qcow2 header");
	if (features & INCOMPAT_CORRUPT)
		return err_set(e, EBADMSG,
			       "the disk's overlay is marked corrupt; try `qemu-img check -r all`");
	if ((features & ~(uint64_t)INCOMPAT_DIRTY) != INCOMPAT_EXTENDED_L2 ||
	    be32toh(h->cluster_bits) != QCOW2_CLUSTER_BITS || h->crypt_method ||
	    h->snapshot_count || be32toh(h->refcount_order) != REFCOUNT_ORDER ||
	    be32toh(h->header_bytes) < HEADER_MIN ||
	    be32toh(h->header_bytes) > offsetof(struct qcow2_header, format_type) ||
	    (be32toh(h->header_bytes) > HEADER_MIN && h->compression))
		return err_set(e, EBADMSG,
			       "the disk's overlay has a layout that sbxfs does not write");
	if (be64toh(h->disk_bytes) % QCOW2_CLUSTER_BYTES || be64toh(h->disk_bytes) > disk_max_bytes)
		return err_set(e, EBADMSG, "the disk's overlay is of a disk of %llu bytes",
			       (unsigned long long)be64toh(h->disk_bytes));
	if (be32toh(h->l1_entries) != QCOW2_L1_ENTRIES ||
	    be64toh(h->l1_offset) % QCOW2_CLUSTER_BYTES || !h->l1_offset)
		return err_set(e, EBADMSG,
			       "the disk's overlay has an L1 table that sbxfs does not write");
	return 0;
}

/*
 * The base's format has to stand there: a VMM that guesses would follow what a guest wrote into its own base.
 * Of the rest only names for humans are allowed: others lead to further files or tables.
 */
static int extensions_check(const char head[HEAD_BYTES], size_t at, struct err *e)
{
	bool raw = false;

	while (at <= HEAD_BYTES - 2 * sizeof(uint32_t)) {
		uint32_t type, bytes;

		memcpy(&type, head + at, sizeof(type));
		memcpy(&bytes, head + at + sizeof(type), sizeof(bytes));
		type = be32toh(type);
		bytes = be32toh(bytes);
		at += sizeof(type) + sizeof(bytes);
		if (type == EXTENSION_END && raw)
			return 0;
		if (type == EXTENSION_END || bytes > HEAD_BYTES - at)
			break;
		if (type == extension_backing_format)
			raw = bytes == 3 && memcmp(head + at, "raw", 3) == 0;
		else if (type != extension_feature_names)
			break;
		at += ((size_t)bytes + 7) / 8 * 8;
	}
	return err_set(e, EBADMSG,
		       "the disk's overlay has header extensions that sbxfs does not "
		       "write, or does not say that its base is raw");
}

int qcow2_load(int fd, struct qcow2_image *ret, struct err *e)
{
	char head[HEAD_BYTES];
	struct qcow2_header h;
	uint64_t name_at;
	uint32_t name_bytes;
	off_t end;
	int r;

	r = qcow2_read(fd, head, sizeof(head), 0, e);
	if (r < 0)
		return r;
	memcpy(&h, head, sizeof(h));
	r = header_check(&h, e);
	if (r < 0)
		return r;
	r = extensions_check(head, be32toh(h.header_bytes), e);
	if (r < 0)
		return r;
	name_at = be64toh(h.base_name_offset);
	name_bytes = be32toh(h.base_name_bytes);
	if (name_bytes == 0 || name_bytes > BASE_NAME_MAX || name_at > sizeof(head) - name_bytes ||
	    memchr(head + name_at, '\0', name_bytes))
		return err_set(e, EBADMSG, "the disk's overlay names no base in its header");
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return err_sys(e, errno, "cannot measure the disk's overlay");
	*ret = (struct qcow2_image){
		.fd = fd,
		.file_bytes = (uint64_t)end,
		.disk_bytes = be64toh(h.disk_bytes),
		.l1_offset = be64toh(h.l1_offset),
		.refcount_table_offset = be64toh(h.refcount_table_offset),
		.refcount_table_clusters = be32toh(h.refcount_table_clusters),
		.dirty = be64toh(h.incompatible) & INCOMPAT_DIRTY,
	};
	memcpy(ret->base_name, head + name_at, name_bytes);
	if (ret->file_bytes < QCOW2_MIN_BYTES ||
	    ret->l1_offset > ret->file_bytes - QCOW2_CLUSTER_BYTES)
		return err_set(e, EBADMSG, "the disk's overlay is cut off before its tables");
	return 0;
}

int qcow2_check(int fd, const char *base, uint64_t *ret_disk_bytes, struct err *e)
{
	struct qcow2_image image = {0};
	int r = qcow2_load(fd, &image, e);

	if (r < 0)
		return r;
	if (strcmp(image.base_name, base) != 0)
		return err_set(e, EBADMSG, "the disk's overlay is not over %s", base);
	*ret_disk_bytes = image.disk_bytes;
	return 0;
}

int qcow2_rebase(int fd, const char *base, struct err *e)
{
	unsigned char head[HEAD_BYTES] = {0};
	size_t base_len = strlen(base);
	struct qcow2_image image = {0};
	struct qcow2_header h;
	int r;

	if (base_len > BASE_NAME_MAX)
		return err_set(e, ENAMETOOLONG, "a qcow2 overlay cannot name %s: over %d bytes",
			       base, BASE_NAME_MAX);
	r = qcow2_load(fd, &image, e);
	if (r < 0)
		return r;
	header_fill(&h, base_len, image.disk_bytes);
	h.l1_offset = htobe64(image.l1_offset);
	h.refcount_table_offset = htobe64(image.refcount_table_offset);
	h.refcount_table_clusters = htobe32(image.refcount_table_clusters);
	if (image.dirty)
		h.incompatible |= htobe64(INCOMPAT_DIRTY);
	head_fill(head, &h, base);
	r = put(fd, head, sizeof(head), 0, e);
	if (r < 0)
		return r;
	if (fsync(fd) < 0)
		return err_sys(e, errno, "cannot write the qcow2 overlay to disk");
	return 0;
}

int qcow2_grow(int fd, uint64_t disk_bytes, struct err *e)
{
	uint64_t value = htobe64(disk_bytes);
	int r;

	if (disk_bytes > disk_max_bytes)
		return err_set(e, EFBIG, "a qcow2 overlay cannot be larger than 16 TiB");
	r = put(fd, &value, sizeof(value), offsetof(struct qcow2_header, disk_bytes), e);
	if (r < 0)
		return r;
	if (fsync(fd) < 0)
		return err_sys(e, errno, "cannot write the qcow2 overlay to disk");
	return 0;
}
