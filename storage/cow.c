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
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

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

/*
 * Ours, in the header's chunk behind what the kernel reads. The kernel writes that chunk only when it gives the
 * store up. Changes are nothing without the image that they were made over: one that was cut off must not pass.
 */
struct cow_note {
	unsigned char magic[8];
	uint64_t base_bytes; /* little-endian */
};
static const unsigned char note_magic[8] = {'s', 'b', 'x', 'f', 's', 0, 0, 1};
enum { NOTE_AT = 512 };

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

uint64_t cow_length(uint64_t disk_bytes, uint64_t used_bytes, uint64_t ahead_bytes)
{
	uint64_t most = cow_size_bytes(disk_bytes);
	uint64_t chunks = chunks_of(used_bytes + ahead_bytes);

	/* The chunk after the last one is a metadata chunk: full areas are only found out when it is written. */
	if (chunks % COW_GROUP_CHUNKS == 1)
		chunks++;
	if (chunks * COW_CHUNK_BYTES <= most)
		return chunks * COW_CHUNK_BYTES;
	return most > used_bytes ? most : chunks_of(used_bytes) * COW_CHUNK_BYTES;
}

uint64_t cow_last_area(uint64_t used_bytes)
{
	return COW_CHUNK_BYTES +
	       (used_bytes - 2 * (uint64_t)COW_CHUNK_BYTES) / COW_AREA_STEP * COW_AREA_STEP;
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

void cow_header_note(unsigned char chunk[COW_CHUNK_BYTES], uint64_t base_bytes)
{
	struct cow_note note = {.base_bytes = htole64(base_bytes)};

	memcpy(note.magic, note_magic, sizeof(note.magic));
	memcpy(chunk + NOTE_AT, &note, sizeof(note));
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

int cow_check_base(int fd, uint64_t base_bytes, struct err *e)
{
	unsigned char chunk[COW_CHUNK_BYTES];
	struct cow_note note;
	int r = chunk_read(fd, 0, chunk, e);

	if (r < 0)
		return r;
	memcpy(&note, chunk + NOTE_AT, sizeof(note));
	if (memcmp(note.magic, note_magic, sizeof(note_magic)) != 0 ||
	    le64toh(note.base_bytes) == base_bytes)
		return 0;
	return err_set(e, EBADMSG,
		       "the changes were made over an image of %llu bytes, and the template's has "
		       "%llu now: it was cut off or replaced; put the right one back",
		       (unsigned long long)le64toh(note.base_bytes),
		       (unsigned long long)base_bytes);
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

static int header_read(int fd, struct err *e)
{
	unsigned char chunk[COW_CHUNK_BYTES];
	struct cow_header header;
	int r = chunk_read(fd, 0, chunk, e);

	if (r < 0)
		return r;
	memcpy(&header, chunk, sizeof(header));
	return header_check(&header, e);
}

/* One area. Return: the number of its entries in use; a negative errno, or what visit() returned if negative. */
static int area_walk(const struct cow_walk *w, const struct cow_entry *area, uint64_t store_chunks,
		     uint64_t *last, struct err *e)
{
	unsigned i;
	int r;

	for (i = 0; i < COW_AREA_ENTRIES && area[i].store_chunk; i++) {
		uint64_t to = le64toh(area[i].store_chunk);

		r = entry_check(&area[i], chunks_of(w->disk_bytes), store_chunks, e);
		if (r < 0)
			return r;
		if (to > *last)
			*last = to;
		r = w->visit ? w->visit(le64toh(area[i].disk_chunk), to, w->arg) : 0;
		if (r < 0)
			return r;
	}
	return (int)i;
}

int cow_walk(const struct cow_walk *w, uint64_t *ret_used_bytes, struct err *e)
{
	struct cow_entry area[COW_AREA_ENTRIES];
	uint64_t at = 1, last = 1;
	struct stat st;
	int r;

	if (fstat(w->fd, &st) < 0)
		return err_sys(e, errno, "cannot measure the copy-on-write store");
	r = header_read(w->fd, e);
	if (r < 0)
		return r;
	for (;; at += COW_GROUP_CHUNKS) {
		r = chunk_read(w->fd, at, area, e);
		if (r == 0)
			r = area_walk(w, area, (uint64_t)st.st_size / COW_CHUNK_BYTES, &last, e);
		if (r < 0)
			return r;
		if (r < COW_AREA_ENTRIES)
			break;
	}
	if (last < at)
		last = at;
	if (ret_used_bytes)
		*ret_used_bytes = (last + 1) * COW_CHUNK_BYTES;
	return 0;
}

/* What has been seen of the chunks of disk and store: a bit for each. */
struct seen {
	unsigned char *disk, *store;
	struct err *e;
};

/* Return: whether the bit was set before. */
static bool bit_set(unsigned char *bits, uint64_t n)
{
	unsigned char mask = (unsigned char)(1u << (n % 8));
	bool before = bits[n / 8] & mask;

	bits[n / 8] |= mask;
	return before;
}

static int see(uint64_t disk_chunk, uint64_t store_chunk, void *arg)
{
	struct seen *seen = arg;

	if (bit_set(seen->disk, disk_chunk))
		return err_set(seen->e, EBADMSG,
			       "the copy-on-write store is damaged: it has chunk %llu of the disk "
			       "twice; restore a snapshot",
			       (unsigned long long)disk_chunk);
	if (bit_set(seen->store, store_chunk))
		return err_set(seen->e, EBADMSG,
			       "the copy-on-write store is damaged: its chunk %llu is used twice; "
			       "restore a snapshot",
			       (unsigned long long)store_chunk);
	return 0;
}

int cow_check(int fd, uint64_t disk_bytes, uint64_t *ret_used_bytes, struct err *e)
{
	AUTO_FREE unsigned char *disk = calloc(1, chunks_of(disk_bytes) / 8 + 1);
	AUTO_FREE unsigned char *store = NULL;
	struct seen seen = {.disk = disk, .e = e};
	struct cow_walk walk = {.fd = fd, .disk_bytes = disk_bytes, .visit = see, .arg = &seen};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot measure the copy-on-write store");
	store = calloc(1, chunks_of((uint64_t)st.st_size) / 8 + 1);
	if (!disk || !store)
		return err_set(e, ENOMEM, "no memory to check the copy-on-write store");
	seen.store = store;
	return cow_walk(&walk, ret_used_bytes, e);
}

/* Bytes that must be zeroes in a chunk. */
static int zero_check(int fd, uint64_t chunk, size_t from, size_t to, struct err *e)
{
	unsigned char bytes[COW_CHUNK_BYTES];
	int r = chunk_read(fd, chunk, bytes, e);

	if (r < 0)
		return r;
	for (size_t i = from; i < to; i++) {
		if (bytes[i])
			return err_set(e, EBADMSG,
				       "the copy-on-write store has something at byte %zu of chunk "
				       "%llu, where it has to be empty",
				       i, (unsigned long long)chunk);
	}
	return 0;
}

/* Find the metadata chunk with the end of the list, and the bytes of it that are in use. */
static int list_end(int fd, uint64_t *ret_chunk, size_t *ret_used, struct err *e)
{
	struct cow_entry area[COW_AREA_ENTRIES];
	unsigned used;
	int r;

	for (uint64_t at = 1;; at += COW_GROUP_CHUNKS) {
		r = chunk_read(fd, at, area, e);
		if (r < 0)
			return r;
		for (used = 0; used < COW_AREA_ENTRIES && area[used].store_chunk; used++)
			;
		*ret_chunk = at;
		*ret_used = used * sizeof(area[0]);
		if (used < COW_AREA_ENTRIES)
			return 0;
	}
}

int cow_clear_rest(int fd, struct err *e)
{
	static const unsigned char zeroes[COW_CHUNK_BYTES];
	uint64_t chunk = 0;
	size_t used = 0;
	ssize_t n;
	int r;

	r = list_end(fd, &chunk, &used, e);
	if (r < 0 || zero_check(fd, chunk, used, COW_CHUNK_BYTES, NULL) == 0)
		return r;
	n = pwrite(fd, zeroes, COW_CHUNK_BYTES - used, (off_t)(chunk * COW_CHUNK_BYTES + used));
	if (n != (ssize_t)(COW_CHUNK_BYTES - used))
		return err_sys(e, n < 0 ? errno : EIO, "cannot write the copy-on-write store");
	if (fsync(fd) < 0)
		return err_sys(e, errno, "cannot write the copy-on-write store to disk");
	return 0;
}

int cow_check_foreign(int fd, uint64_t disk_bytes, uint64_t *ret_used_bytes, struct err *e)
{
	uint64_t chunk = 0;
	size_t used = 0;
	int r;

	r = cow_check(fd, disk_bytes, ret_used_bytes, e);
	if (r == 0)
		r = zero_check(fd, 0, sizeof(struct cow_header), NOTE_AT, e);
	if (r == 0)
		r = zero_check(fd, 0, NOTE_AT + sizeof(struct cow_note), COW_CHUNK_BYTES, e);
	if (r == 0)
		r = list_end(fd, &chunk, &used, e);
	return r < 0 ? r : zero_check(fd, chunk, used, COW_CHUNK_BYTES, e);
}
