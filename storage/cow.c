// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/cow.c - the format of a dm-snapshot's copy-on-write store: size, header, check
 *
 * How it works
 * A persistent store is a row of chunks: the header, then groups of one metadata chunk and the 256 data
 * chunks that it describes. A metadata entry is two 64-bit numbers, the disk's chunk and where in the
 * store its new content lies; the first entry without a place in the store is the end of the list.
 * The kernel takes a first chunk of zeroes for a new store and silently starts from the template again.
 * So a new store gets its header here, and zeroes there always mean damage.
 */
#include "storage/cow.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	COW_MAGIC = 0x70416e53, /* 'S' 'n' 'A' 'p', little-endian */
	COW_VERSION = 1,
	COW_ALIGN_BYTES = 1024 * 1024,
	COW_GROUP_CHUNKS = COW_AREA_ENTRIES + 1,
};

/* All little-endian. The rest of the header's chunk is zero. */
struct cow_header {
	uint32_t magic;
	uint32_t valid; /* 0: the kernel gave the store up */
	uint32_t version;
	uint32_t chunk_sectors;
};
_Static_assert(sizeof(struct cow_header) == 16, "layout on disk");

struct cow_entry {
	uint64_t disk_chunk;
	uint64_t store_chunk; /* 0: end of the list */
};
_Static_assert(sizeof(struct cow_entry) * COW_AREA_ENTRIES == COW_CHUNK_BYTES, "layout on disk");

static uint64_t chunks_of(uint64_t bytes)
{
	return (bytes + COW_CHUNK_BYTES - 1) / COW_CHUNK_BYTES;
}

uint64_t cow_size_bytes(uint64_t disk_bytes)
{
	uint64_t data = chunks_of(disk_bytes);
	/* When an area is full the kernel clears the next one at once: there is always one more. */
	uint64_t areas = data / COW_AREA_ENTRIES + 1;
	uint64_t bytes = (1 + areas + data) * COW_CHUNK_BYTES;

	return (bytes + COW_ALIGN_BYTES - 1) / COW_ALIGN_BYTES * COW_ALIGN_BYTES + COW_ALIGN_BYTES;
}

void cow_header_init(unsigned char chunk[COW_CHUNK_BYTES])
{
	struct cow_header h = {
		.magic = htole32(COW_MAGIC),
		.valid = htole32(1),
		.version = htole32(COW_VERSION),
		.chunk_sectors = htole32(COW_CHUNK_SECTORS),
	};

	memset(chunk, 0, COW_CHUNK_BYTES);
	memcpy(chunk, &h, sizeof(h));
}

/* Return: 0; -EBADMSG when the chunk is not whole in the file; -EIO. */
static int chunk_read(int fd, uint64_t chunk, void *ret, struct err *e)
{
	ssize_t n = pread(fd, ret, COW_CHUNK_BYTES, (off_t)(chunk * COW_CHUNK_BYTES));

	if (n < 0)
		return err_sys(e, errno, "cannot read the copy-on-write store");
	if (n != COW_CHUNK_BYTES)
		return err_set(
			e, EBADMSG,
			"the copy-on-write store is cut off at chunk %llu; restore a snapshot",
			(unsigned long long)chunk);
	return 0;
}

static int header_check(const struct cow_header *h, struct err *e)
{
	if (!h->magic && !h->valid && !h->version && !h->chunk_sectors)
		return err_set(e, EBADMSG,
			       "the copy-on-write store begins with zeroes: its changes are lost");
	if (le32toh(h->magic) != COW_MAGIC)
		return err_set(e, EBADMSG, "the copy-on-write store does not begin with SnAp");
	if (le32toh(h->version) != COW_VERSION)
		return err_set(e, EBADMSG, "the copy-on-write store has version %u, not %d",
			       le32toh(h->version), COW_VERSION);
	if (le32toh(h->chunk_sectors) != COW_CHUNK_SECTORS)
		return err_set(e, EBADMSG,
			       "the copy-on-write store has chunks of %u sectors, not %d",
			       le32toh(h->chunk_sectors), COW_CHUNK_SECTORS);
	if (le32toh(h->valid) != 1)
		return err_set(
			e, EBADMSG,
			"the kernel marked the copy-on-write store invalid: a write to it had "
			"failed, most likely on a full host disk");
	return 0;
}

static int entry_check(const struct cow_entry *entry, uint64_t disk_chunks, uint64_t store_chunks,
		       struct err *e)
{
	uint64_t from = le64toh(entry->disk_chunk);
	uint64_t to = le64toh(entry->store_chunk);

	if (from >= disk_chunks)
		return err_set(
			e, EBADMSG,
			"the copy-on-write store has chunk %llu of a disk with %llu: it belongs "
			"to a larger disk or is damaged",
			(unsigned long long)from, (unsigned long long)disk_chunks);
	if (to >= store_chunks)
		return err_set(e, EBADMSG,
			       "the copy-on-write store is cut off: chunk %llu of %llu is in use",
			       (unsigned long long)to, (unsigned long long)store_chunks);
	if ((to - 1) % COW_GROUP_CHUNKS == 0)
		return err_set(
			e, EBADMSG,
			"the copy-on-write store is damaged: data where chunk %llu has metadata",
			(unsigned long long)to);
	return 0;
}

int cow_check(int fd, uint64_t disk_bytes, struct err *e)
{
	struct cow_entry area[COW_AREA_ENTRIES];
	struct cow_header header;
	uint64_t store_chunks;
	struct stat st;
	unsigned i;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot measure the copy-on-write store");
	store_chunks = (uint64_t)st.st_size / COW_CHUNK_BYTES;
	r = chunk_read(fd, 0, area, e);
	if (r < 0)
		return r;
	memcpy(&header, area, sizeof(header));
	r = header_check(&header, e);
	if (r < 0)
		return r;
	for (uint64_t at = 1;; at += COW_GROUP_CHUNKS) {
		r = chunk_read(fd, at, area, e);
		if (r < 0)
			return r;
		for (i = 0; i < COW_AREA_ENTRIES && area[i].store_chunk; i++) {
			r = entry_check(&area[i], chunks_of(disk_bytes), store_chunks, e);
			if (r < 0)
				return r;
		}
		if (i < COW_AREA_ENTRIES)
			return 0;
	}
}
