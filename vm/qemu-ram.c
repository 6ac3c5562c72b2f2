/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-ram.c - a guest's memory as a file: made, found again, saved and loaded
 *
 * How it works: guest memory is a memfd whose length is sealed; it lives as long as QEMU, and the kernel never writes it to
 * a disk. It is found again among the files that QEMU has open, since a daemon may have come after it.
 * Only what was ever touched is copied (SEEK_DATA), and of that only blocks that are not all zeroes are saved. They
 * are read rather than mapped: QEMU is not trusted, and a bad page of memory would end the daemon. What was written is
 * sent to the disk at once, so that the sync in the end has little left to wait for.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/qemu-private.h"

enum {
	LINK_SIZE = 320,
	SAVE_PIECE = 128 << 10, /* bytes read at once */
	LOAD_PIECE = 8 << 20,   /* bytes between two looks at the deadline */
	WRITE_BACK = 8 << 20,   /* bytes sent to the disk at once */
	SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
};

int qemu_ram_make(const struct vm_spec *spec, int *ret_fd, struct err *e)
{
	uint64_t bytes = spec->memory_mib << 20;
	AUTO_FD fd = memfd_create(spec->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(e, errno, "cannot make a memory file for the guest");
	if (spec->memory_mib > (uint64_t)INT64_MAX >> 20 || ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return err_sys(e, errno, "cannot size the guest's memory file to %llu MiB",
			       (unsigned long long)spec->memory_mib);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Is it one of ours, of the guest's size? What a name says is not believed. */
static bool is_ram(int fd, uint64_t bytes)
{
	struct stat st;

	return fcntl(fd, F_GET_SEALS) == SEALS && fstat(fd, &st) == 0 &&
	       (uint64_t)st.st_size == bytes;
}

int qemu_ram_open(const struct vm *vm, int *ret_fd, struct err *e)
{
	static const char prefix[] = "/memfd:";
	const struct dirent *entry;
	AUTO_DIR dir = NULL;
	char path[64], link[LINK_SIZE];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)vm->common.id.pid);
	r = file_open_list(AT_FDCWD, path, &dir, e);
	while (r == 0 &&
	       (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link));
		AUTO_FD fd = -1;

		if (n < (ssize_t)sizeof(prefix) || memcmp(link, prefix, sizeof(prefix) - 1) != 0)
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || !is_ram(fd, vm->common.memory_mib << 20))
			continue;
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	return r < 0 ? r : err_set(e, EIO, "the guest's memory is not among QEMU's files");
}

/* ---- both ways --------------------------------------------------------------------------------------- */

struct copy {
	int from, to;
	const struct deadline *d;
	char *piece;   /* SAVE_PIECE bytes; owned; NULL when loading */
	off_t written; /* up to here everything has been sent to the disk */
};

static int check_time(const struct deadline *d)
{
	if (deadline_cancelled(d))
		return -ECANCELED;
	return deadline_left_ms(d) == 0 ? -ETIMEDOUT : 0;
}

/* Save up to @len bytes at @at. Return: bytes done; negative errno. */
static ssize_t save_some(struct copy *c, off_t at, size_t len)
{
	ssize_t n = pread(c->from, c->piece, len < SAVE_PIECE ? len : SAVE_PIECE, at);
	int r;

	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	r = file_write_sparse(c->to, c->piece, (size_t)n, at);
	if (r == 0 && at + n - c->written >= WRITE_BACK) {
		(void)sync_file_range(c->to, c->written, at + n - c->written,
				      SYNC_FILE_RANGE_WRITE); /* fsync() tells of errors */
		c->written = at + n;
	}
	return r < 0 ? r : n;
}

/* The same from a file into memory. */
static ssize_t load_some(struct copy *c, off_t at, size_t len)
{
	ssize_t n;

	if (lseek(c->to, at, SEEK_SET) < 0)
		return -errno;
	n = sendfile(c->to, c->from, &at, len < LOAD_PIECE ? len : LOAD_PIECE);
	if (n == 0)
		return -EBADMSG; /* it became shorter */
	return n < 0 ? -errno : n;
}

static int copy_extent(struct copy *c, off_t at, off_t end)
{
	while (at < end) {
		ssize_t n = check_time(c->d);

		if (n == 0)
			n = c->piece ? save_some(c, at, (size_t)(end - at))
				     : load_some(c, at, (size_t)(end - at));
		if (n < 0 && n != -EINTR)
			return (int)n;
		at += n > 0 ? n : 0;
	}
	return 0;
}

static int copy_data(struct copy *c)
{
	off_t size = lseek(c->from, 0, SEEK_END), end = 0;
	int r = size < 0 ? -errno : 0;

	while (r == 0 && end < size) {
		off_t at = lseek(c->from, end, SEEK_DATA);

		if (at < 0 && errno == ENXIO) /* nothing but a hole is left */
			break;
		end = at < 0 ? -1 : lseek(c->from, at, SEEK_HOLE);
		r = end < 0 ? -errno : copy_extent(c, at, end < size ? end : size);
	}
	return r;
}

static int copy_result(int r, const char *what, struct err *e)
{
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "cancelled while %s the guest's memory", what);
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "%s the guest's memory took too long", what);
	return r < 0 ? err_sys(e, -r, "%s the guest's memory failed", what) : 0;
}

int qemu_ram_save(int ram, int dirfd, const struct deadline *d, struct err *e)
{
	AUTO_FREE char *piece = malloc(SAVE_PIECE);
	AUTO_FD to =
		openat(dirfd, QEMU_SAVED_MEMORY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct copy c = {.from = ram, .to = to, .d = d, .piece = piece};
	struct stat st;
	int r = 0;

	if (to < 0)
		return err_sys(e, errno, "cannot make a file for the guest's memory");
	if (!piece)
		return err_set(e, ENOMEM, "no memory to save a guest's");
	if (fstat(ram, &st) < 0 || ftruncate(to, st.st_size) < 0)
		r = -errno;
	if (r == 0)
		r = copy_data(&c);
	if (r == 0 && fsync(to) < 0)
		r = -errno;
	return copy_result(r, "saving", e);
}

int qemu_ram_load(int dirfd, int ram, const struct deadline *d, struct err *e)
{
	AUTO_FD from = openat(dirfd, QEMU_SAVED_MEMORY, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct copy c = {.from = from, .to = ram, .d = d};

	if (from < 0)
		return err_sys(e, errno, "cannot open the saved memory");
	return copy_result(copy_data(&c), "loading", e);
}
