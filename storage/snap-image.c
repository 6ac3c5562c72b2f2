// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/snap-image.c - the "dm" store: copies of the data, and the disk as one plain image
 *
 * How it works
 * All of it works on the store's own file, never through the device: the list of changes says what to read,
 * where the device would have to be read from end to end. Changes that follow each other in the store and on the
 * disk, as those of a guest that writes a file do, are moved together; a run ends at the next metadata chunk
 * at the latest, so at 1 MiB. What the guest discarded is a hole in the store and becomes one in the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/snap.h"

enum { DATA_MODE = 0600 };

/* Is the template's image the one that the data was made over? */
static int base_check(const struct volume_spec *s, int fd, struct err *e)
{
	AUTO_FD base_fd = -1;
	uint64_t base_bytes = 0;
	int r = store_open_base(s, &base_fd, &base_bytes, e);

	return r < 0 ? r : cow_check_base(fd, base_bytes, e);
}

/* Open the data for reading and check all of it. */
static int data_check(const struct volume_spec *s, int *ret_fd, uint64_t *ret_used, struct err *e)
{
	AUTO_FD fd = openat(s->dir_fd, SNAP_DATA_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open the disk's data %s/%s", s->dir,
			       SNAP_DATA_NAME);
	r = cow_check(fd, s->size_bytes, ret_used, e);
	if (r < 0)
		return err_wrap(e, "%s/%s", s->dir, SNAP_DATA_NAME);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int snap_copy(const struct volume_spec *s, int to_fd, const struct deadline *d, struct err *e)
{
	AUTO_FD from = -1;
	AUTO_FD to = -1;
	uint64_t used = 0;
	int r;

	r = data_check(s, &from, &used, e);
	if (r == 0)
		r = store_copy_file(s, SNAP_DATA_NAME, to_fd, d, e);
	if (r < 0)
		return r;
	to = openat(to_fd, SNAP_DATA_NAME, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	/* The room ahead is no part of the data. */
	if (to < 0 || ftruncate(to, (off_t)used) < 0 || fsync(to) < 0)
		return err_sys(e, errno, "cannot trim the copy of %s/%s", s->dir, SNAP_DATA_NAME);
	return 0;
}

/* Neighbouring changes that wait to be moved together. */
struct run {
	int from, to;
	const struct deadline *d;
	struct err *e;
	unsigned char *buffer; /* of COW_AREA_ENTRIES chunks; borrowed */
	uint64_t disk_chunk, store_chunk;
	unsigned count;
};

static int run_move(struct run *run)
{
	size_t len = (size_t)run->count * COW_CHUNK_BYTES;
	ssize_t n;

	if (deadline_cancelled(run->d))
		return err_set(run->e, ECANCELED, "cancelled while the disk was written");
	n = pread(run->from, run->buffer, len, (off_t)(run->store_chunk * COW_CHUNK_BYTES));
	if (n < 0)
		return err_sys(run->e, errno, "cannot read the copy-on-write store");
	if ((size_t)n != len)
		return err_set(run->e, EBADMSG,
			       "the copy-on-write store became shorter while it was read");
	return store_lay(run->to, run->disk_chunk * COW_CHUNK_BYTES, run->buffer, len, run->e);
}

static int run_add(uint64_t disk_chunk, uint64_t store_chunk, void *arg)
{
	struct run *run = arg;
	int r = 0;

	if (run->count && run->count < COW_AREA_ENTRIES &&
	    disk_chunk == run->disk_chunk + run->count &&
	    store_chunk == run->store_chunk + run->count) {
		run->count++;
		return 0;
	}
	if (run->count)
		r = run_move(run);
	run->disk_chunk = disk_chunk;
	run->store_chunk = store_chunk;
	run->count = 1;
	return r;
}

int snap_flatten(const struct volume_spec *s, int out_fd, const struct deadline *d, struct err *e)
{
	AUTO_FREE unsigned char *buffer = malloc((size_t)COW_AREA_ENTRIES * COW_CHUNK_BYTES);
	struct run run = {.to = out_fd, .d = d, .e = e, .buffer = buffer};
	struct cow_walk walk = {.disk_bytes = s->size_bytes, .visit = run_add, .arg = &run};
	AUTO_FD fd = -1;
	int r;

	if (!buffer)
		return err_set(e, ENOMEM, "no memory to write the disk");
	r = data_check(s, &fd, NULL, e);
	if (r < 0)
		return r;
	run.from = walk.fd = fd;
	r = base_check(s, fd, e);
	if (r == 0)
		r = store_lay_base(s, out_fd, d, e);
	if (r == 0)
		r = cow_walk(&walk, NULL, e);
	if (r == 0 && run.count)
		r = run_move(&run);
	return r;
}

/* Only a file of our own may be there: no link to another's, no device. */
static int foreign_open(const struct volume_spec *s, int *ret_fd, struct err *e)
{
	AUTO_FD fd =
		openat(s->dir_fd, SNAP_DATA_NAME, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t most = cow_size_bytes(s->size_bytes);
	struct stat st;

	if (fd < 0)
		return err_sys(e, errno == ELOOP ? EBADMSG : errno,
			       "cannot open the disk's data %s/%s", s->dir, SNAP_DATA_NAME);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot measure %s/%s", s->dir, SNAP_DATA_NAME);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(e, EBADMSG, "%s/%s is not a plain file with one name", s->dir,
			       SNAP_DATA_NAME);
	if ((uint64_t)st.st_size > most)
		return err_set(e, EBADMSG,
			       "%s/%s has %lld bytes, more than the %llu that a disk of %llu needs",
			       s->dir, SNAP_DATA_NAME, (long long)st.st_size,
			       (unsigned long long)most, (unsigned long long)s->size_bytes);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int snap_adopt_data(const struct volume_spec *s, struct err *e)
{
	AUTO_FD fd = -1;
	uint64_t used;
	int r;

	r = foreign_open(s, &fd, e);
	if (r < 0)
		return r;
	r = cow_check_foreign(fd, s->size_bytes, &used, e);
	if (r == 0)
		r = base_check(s, fd, e);
	if (r < 0)
		return err_wrap(e, "%s/%s", s->dir, SNAP_DATA_NAME);
	if (ftruncate(fd, (off_t)used) < 0 || fchmod(fd, DATA_MODE) < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "cannot write %s/%s to disk", s->dir, SNAP_DATA_NAME);
	return file_sync_dir(s->dir_fd, e);
}

const char *snap_data_name(int dir_fd)
{
	struct stat st;

	return fstatat(dir_fd, SNAP_DATA_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 ? SNAP_DATA_NAME
									      : NULL;
}
