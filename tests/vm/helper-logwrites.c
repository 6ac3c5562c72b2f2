/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/helper-logwrites.c - read a log of dm-log-writes and replay it as far as one wants
 *
 *   helper-logwrites list LOG                 a line for each entry: NUMBER FLAGS SECTOR SECTORS [MARK]
 *   helper-logwrites replay LOG IMAGE ORIGIN STORE NAME   commands from stdin, an answer for each: ok, or why not
 *
 *   to N          the first N entries are in IMAGE; never fewer than before
 *   begin DIR     a file system over IMAGE as it would be after a power cut now, mounted at DIR
 *   torn DIR M    the same, with a chance half of the entries behind the first N up to M on it already
 *   end DIR       unmounted again; IMAGE has not changed
 *   sum FILE      a number that tells whether its content is the same as another's
 *
 * How it works: the log is a row of sectors: a header, then for each entry one sector that describes it and its data.
 * The target puts writes there in the order in which they became durable, so each beginning of the log is a disk
 * after a crash. Between two flushes any of the writes may have become durable: that is what torn makes, by the
 * entries' numbers alone, so that it can be repeated. IMAGE is the file behind the device ORIGIN; what a mount
 * writes goes to a transient snapshot NAME over it, whose store is the device STORE. Where there is no device-mapper
 * ORIGIN and STORE are -, and what is mounted is a copy named NAME.
 * FLAGS: f flush, u FUA, d discard, m mark, t metadata; - for none.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/parse.h"
#include "storage/dm.h"
#include "storage/loop.h"

#define LOG_MAGIC UINT64_C(0x6a736677736872)

enum {
	LOG_VERSION = 1,
	FLAG_FLUSH = 1,
	FLAG_FUA = 2,
	FLAG_DISCARD = 4,
	FLAG_MARK = 8,
	FLAG_METADATA = 16,
	SECTOR = 512,
	MARK_SIZE = 256,
	PIECE = 1 << 20,
	END_MS = 20000,
	CHUNK_SECTORS = 8, /* of the snapshot: one page */
};

/* On disk, all little-endian. */
struct log_header {
	uint64_t magic, version, entries;
	uint32_t sector_bytes;
} __attribute__((packed));

struct log_entry {
	uint64_t sector, sectors, flags, data_len;
};

struct log {
	int fd;
	uint64_t entries, next; /* how many there are; the number of the one at @at */
	off_t at;
	uint32_t sector_bytes; /* what sectors are counted in, and the room of a description */
};

struct replay {
	struct log log;
	int image;
	dev_t origin, store; /* 0: copies are mounted */
	int loop;            /* of such a copy */
	const char *name;
	char node[32];
};

static int log_open(const char *path, struct log *ret)
{
	struct log_header h;

	*ret = (struct log){.fd = -1};
	ret->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ret->fd < 0 || pread(ret->fd, &h, sizeof(h), 0) != sizeof(h))
		return -EIO;
	if (le64toh(h.magic) != LOG_MAGIC || le64toh(h.version) != LOG_VERSION)
		return -EBADMSG;
	ret->entries = le64toh(h.entries);
	ret->sector_bytes = le32toh(h.sector_bytes);
	ret->at = ret->sector_bytes;
	return ret->sector_bytes >= SECTOR ? 0 : -EBADMSG;
}

/* The entry at the place where the log is read; @mark: MARK_SIZE bytes. Return: 0; -EIO. */
static int log_look(const struct log *l, struct log_entry *ret, char *mark)
{
	struct log_entry raw;
	ssize_t n;

	if (pread(l->fd, &raw, sizeof(raw), l->at) != sizeof(raw))
		return -EIO;
	ret->sector = le64toh(raw.sector);
	ret->sectors = le64toh(raw.sectors);
	ret->flags = le64toh(raw.flags);
	ret->data_len = le64toh(raw.data_len);
	mark[0] = '\0';
	if (!(ret->flags & FLAG_MARK))
		return 0;
	if (ret->data_len >= MARK_SIZE)
		return -EIO;
	n = pread(l->fd, mark, ret->data_len, l->at + (off_t)sizeof(raw));
	mark[n < 0 ? 0 : n] = '\0';
	mark[strcspn(mark, "\n")] = '\0';
	return n < 0 ? -EIO : 0;
}

static uint64_t data_bytes(const struct log *l, const struct log_entry *entry)
{
	return entry->flags & FLAG_DISCARD ? 0 : entry->sectors * l->sector_bytes;
}

static void log_skip(struct log *l, const struct log_entry *entry)
{
	l->at += (off_t)(l->sector_bytes + data_bytes(l, entry));
	l->next++;
}

static int run_list(const char *path)
{
	static const char letters[] = "fudmt";
	struct log l = {.fd = -1};
	int r = log_open(path, &l);

	while (r == 0 && l.next < l.entries) {
		char mark[MARK_SIZE], flags[sizeof(letters)];
		struct log_entry entry;
		int n = 0;

		r = log_look(&l, &entry, mark);
		if (r < 0)
			break;
		for (int bit = 0; letters[bit]; bit++)
			if (entry.flags & 1U << bit)
				flags[n++] = letters[bit];
		flags[n] = '\0';
		printf("%llu %s %llu %llu %s\n", (unsigned long long)l.next, n ? flags : "-",
		       (unsigned long long)entry.sector, (unsigned long long)entry.sectors, mark);
		log_skip(&l, &entry);
	}
	if (r < 0)
		(void)fprintf(stderr, "%s: entry %llu: %s\n", path, (unsigned long long)l.next,
			      strerrorname_np(-r));
	return r < 0;
}

/* Put the data of the entry at hand onto a file or a device. */
static int apply(const struct log *l, const struct log_entry *entry, int to)
{
	static char piece[PIECE];
	off_t from = l->at + l->sector_bytes, at = (off_t)(entry->sector * l->sector_bytes);
	uint64_t left = data_bytes(l, entry);

	if (entry->flags & FLAG_DISCARD) /* what is read afterwards is anybody's guess: zeroes */
		return fallocate(to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
				 (off_t)(entry->sectors * l->sector_bytes)) < 0
			       ? -errno
			       : 0;
	while (left > 0) {
		size_t n = left < PIECE ? left : PIECE;

		if (pread(l->fd, piece, n, from) != (ssize_t)n)
			return -EIO;
		if (pwrite(to, piece, n, at) != (ssize_t)n)
			return errno ? -errno : -EIO;
		from += (off_t)n;
		at += (off_t)n;
		left -= n;
	}
	return 0;
}

static int replay_to(struct replay *p, uint64_t n)
{
	char mark[MARK_SIZE];
	struct log_entry entry;
	int r = n < p->log.next || n > p->log.entries ? -EINVAL : 0;

	while (r == 0 && p->log.next < n) {
		r = log_look(&p->log, &entry, mark);
		if (r == 0)
			r = apply(&p->log, &entry, p->image);
		if (r == 0)
			log_skip(&p->log, &entry);
	}
	return r;
}

/* Half of them, as their numbers say. */
static bool is_chosen(uint64_t number, uint64_t seed)
{
	uint64_t x = (number + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed;

	x = (x ^ x >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
	return x >> 63;
}

static int tear(const struct replay *p, uint64_t until)
{
	AUTO_FD fd = open(p->node, O_RDWR | O_CLOEXEC);
	struct log l = p->log;
	struct log_entry entry;
	char mark[MARK_SIZE];
	int r = fd < 0 ? -errno : 0;

	while (r == 0 && l.next < until && l.next < l.entries) {
		r = log_look(&l, &entry, mark);
		if (r == 0 && entry.flags & (FLAG_FLUSH | FLAG_FUA))
			break; /* what was asked for before it is on the disk by then */
		if (r == 0 && is_chosen(l.next, p->log.next))
			r = apply(&l, &entry, fd);
		if (r == 0)
			log_skip(&l, &entry);
	}
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

static int snapshot_begin(const struct replay *p, dev_t *ret, struct err *e)
{
	struct dmdev_line line = {.target = "snapshot"};
	const struct dmdev_table table = {.lines = &line, .count = 1};
	struct stat st;

	if (fstat(p->image, &st) < 0)
		return -errno;
	line.sectors = (uint64_t)st.st_size / SECTOR;
	(void)snprintf(line.params, sizeof(line.params), "%u:%u %u:%u N %d", major(p->origin),
		       minor(p->origin), major(p->store), minor(p->store),
		       CHUNK_SECTORS); /* fits */
	return dmdev_create(p->name, p->name, &table, ret, e);
}

static int copy_begin(struct replay *p, dev_t *ret, struct err *e)
{
	AUTO_FD fd = open(p->name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : file_copy(p->image, fd, -1, e);

	return r < 0 ? r : loop_attach(fd, "sbxtest", LOOP_DIRECT, &p->loop, ret, e);
}

static int snapshot_end(const struct replay *p, struct err *e)
{
	int64_t end = clock_ms() + END_MS;
	struct dmdev_state state;
	int r = dmdev_remove(p->name, e);

	while (r == 0) {
		r = dmdev_state(p->name, &state, e);
		if (r < 0 || !state.exists)
			break;
		if (clock_ms() > end)
			return err_set(e, EBUSY, "the device does not go");
		(void)poll(NULL, 0, 1); /* a pause; its result says nothing */
	}
	return r;
}

static int disk_end(struct replay *p, struct err *e)
{
	if (p->origin)
		return snapshot_end(p, e);
	fd_close(steal_fd(&p->loop)); /* the device goes with it */
	return unlink(p->name) < 0 ? -errno : 0;
}

/* @until: 0: nothing torn. */
static int replay_begin(struct replay *p, const char *dir, uint64_t until, struct err *e)
{
	dev_t dev = 0;
	int r = p->origin ? snapshot_begin(p, &dev, e) : copy_begin(p, &dev, e);

	if (r < 0)
		return r;
	(void)snprintf(p->node, sizeof(p->node), "/dev/%s%u", p->origin ? "dm-" : "loop",
		       minor(dev)); /* fits */
	r = until ? tear(p, until) : 0;
	if (r == 0 && mount(p->node, dir, "ext4", MS_NOATIME, "noauto_da_alloc") < 0)
		r = err_sys(e, errno, "cannot mount it");
	if (r < 0)
		(void)disk_end(p, NULL); /* the failure before is what counts */
	return r;
}

static int replay_end(struct replay *p, const char *dir, struct err *e)
{
	return umount2(dir, 0) < 0 ? err_sys(e, errno, "cannot unmount it") : disk_end(p, e);
}

/* FNV-1a over the words of what is not a hole, and over where that is. */
static int sum_file(const char *path, uint64_t *ret)
{
	static uint64_t piece[PIECE / sizeof(uint64_t)];
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	off_t at = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);

		while (at < end) {
			memset(piece, 0, sizeof(piece));
			n = pread(fd, piece, end - at < PIECE ? (size_t)(end - at) : PIECE, at);
			if (n <= 0)
				return -EIO;
			for (ssize_t i = 0; i < (n + 7) / 8; i++) {
				/* Zeroes count as a hole does. */
				if (piece[i])
					sum = (sum ^ piece[i] ^ (uint64_t)(at / 8 + i) << 32) *
					      UINT64_C(0x100000001b3);
			}
			at += n;
		}
	}
	*ret = sum;
	return errno == ENXIO ? 0 : -errno;
}

static int command(struct replay *p, char *line, struct err *e)
{
	AUTO_FREE char **words = NULL;
	uint64_t number = 0;
	int count = 0, r;

	r = words_split(line, &words, &count, e);
	if (r < 0)
		return r;
	if (count > 1 && strcmp(words[0], "to") == 0) {
		r = parse_u64(words[1], 0, UINT64_MAX, &number);
		return r < 0 ? r : replay_to(p, number);
	}
	if (count > 2 && strcmp(words[0], "torn") == 0) {
		r = parse_u64(words[2], 1, UINT64_MAX, &number);
		return r < 0 ? r : replay_begin(p, words[1], number, e);
	}
	if (count > 1 && strcmp(words[0], "begin") == 0)
		return replay_begin(p, words[1], 0, e);
	if (count > 1 && strcmp(words[0], "end") == 0)
		return replay_end(p, words[1], e);
	if (count > 1 && strcmp(words[0], "sum") == 0) {
		r = sum_file(words[1], &number);
		return r < 0 ? r : err_set(e, 0, "%llx", (unsigned long long)number);
	}
	return -EINVAL;
}

static int device_of(const char *path, dev_t *ret)
{
	struct stat st;

	if (strcmp(path, "-") == 0)
		return 0;
	if (stat(path, &st) < 0)
		return -errno;
	*ret = st.st_rdev;
	return S_ISBLK(st.st_mode) ? 0 : -ENOTBLK;
}

static int run_replay(char **args)
{
	struct replay p = {.log.fd = -1, .name = args[4], .loop = -1};
	AUTO_FREE char *line = NULL;
	size_t room = 0;
	int r = log_open(args[0], &p.log);

	p.image = open(args[1], O_RDWR | O_CLOEXEC);
	if (r == 0 && p.image < 0)
		r = -errno;
	if (r == 0)
		r = device_of(args[2], &p.origin);
	if (r == 0)
		r = device_of(args[3], &p.store);
	if (r < 0) {
		(void)fprintf(stderr, "helper-logwrites: %s\n", strerrorname_np(-r));
		return 1;
	}
	while (getline(&line, &room, stdin) > 0) {
		struct err e = {0};

		line[strcspn(line, "\n")] = '\0';
		r = command(&p, line, &e);
		printf("%s%s%s\n", r < 0 ? strerrorname_np(-r) : "ok", e.text[0] ? " " : "",
		       e.text);
		(void)fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "list") == 0)
		return run_list(argv[2]);
	if (argc == 7 && strcmp(argv[1], "replay") == 0)
		return run_replay(argv + 2);
	(void)fprintf(stderr,
		      "usage: helper-logwrites list LOG | replay LOG IMAGE ORIGIN STORE NAME\n");
	return 2;
}
