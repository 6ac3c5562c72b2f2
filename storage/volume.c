// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/volume.c - the list of stores, and what they share: durable data files and the attach lock
 *
 * How it works
 * Data comes into being under a temporary name, is made durable, and only then gets its final name: a
 * crash leaves whole data or a temporary that the next create removes.
 * "Attached" is a flock on the data file. It belongs to the open file, not to the process: where a
 * loop device was given that open file, the lock lives as long as the loop device, whatever becomes
 * of the daemon.
 */
#include "storage/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "storage/store.h"

enum {
	DATA_MODE = 0600,
	STAT_BLOCK_BYTES = 512, /* unit of st_blocks */
};

const struct volume_driver *const volume_drivers[] = {&store_dm, &store_file, NULL};

const struct volume_driver *volume_driver_named(const char *name)
{
	for (int i = 0; volume_drivers[i]; i++)
		if (strcmp(volume_drivers[i]->name, name) == 0)
			return volume_drivers[i];
	return NULL;
}

const char *volume_path(const struct volume *v)
{
	return v->path;
}

enum volume_format volume_format(const struct volume *v)
{
	return v->format;
}

struct volume *store_volume_new(enum volume_format format)
{
	struct volume *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->format = format;
	v->data_fd = -1;
	v->loop_fd = -1;
	return v;
}

void store_volume_free(struct volume *v)
{
	if (!v)
		return;
	store_unlock(&v->data_fd);
	fd_close(v->loop_fd);
	loop_base_put(v->base);
	loop_base_put(v->zero);
	free(v);
}

void store_abort(const struct volume_spec *s, const char *temp)
{
	/* What cannot be removed now is removed by the next store_begin(). */
	(void)unlinkat(s->dir_fd, temp, 0);
}

int store_begin(const struct volume_spec *s, const char *temp, int *ret_fd, struct err *e)
{
	int fd;

	if (unlinkat(s->dir_fd, temp, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "cannot remove the leftover %s/%s", s->dir, temp);
	fd = openat(s->dir_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, DATA_MODE);
	if (fd < 0)
		return err_sys(e, errno, "cannot create %s/%s", s->dir, temp);
	*ret_fd = fd;
	return 0;
}

int store_commit(const struct volume_spec *s, int fd, const char *temp, const char *name,
		 struct err *e)
{
	int r = fault_point("store-link", NULL, e);

	if (r == 0 && fsync(fd) < 0)
		r = err_sys(e, errno, "cannot write %s/%s to disk", s->dir, temp);
	if (r < 0) {
		store_abort(s, temp);
		return r;
	}
	/* A link never replaces; some file systems lack RENAME_NOREPLACE. */
	if (linkat(s->dir_fd, temp, s->dir_fd, name, 0) < 0) {
		r = err_sys(e, errno, "cannot give %s/%s its name", s->dir, name);
		store_abort(s, temp);
		return r;
	}
	r = fault_point("store-linked", NULL, e);
	store_abort(s, temp);
	if (r == 0)
		r = file_sync_dir(s->dir_fd, e);
	if (r < 0)
		(void)unlinkat(s->dir_fd, name, 0); /* the first failure is what counts */
	return r;
}

/* VMMs lock the image that they have open, with locks of the fcntl kind. */
static int check_other_locks(const struct volume_spec *s, const char *name, int fd, struct err *e)
{
	struct flock probe = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_GETLK, &probe) < 0)
		return err_sys(e, errno, "cannot ask for locks on %s/%s", s->dir, name);
	if (probe.l_type != F_UNLCK)
		return err_set(e, EBUSY,
			       "%s/%s is in use by another process; end the VMM that has it open",
			       s->dir, name);
	return 0;
}

int store_lock(const struct volume_spec *s, const char *name, int *ret_fd, struct err *e)
{
	AUTO_FD fd = openat(s->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open the disk's data %s/%s", s->dir, name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_sys(e, errno, "cannot lock %s/%s", s->dir, name);
		return err_set(e, EBUSY, "the disk's data %s/%s is attached already", s->dir, name);
	}
	r = check_other_locks(s, name, fd, e);
	if (r < 0) {
		(void)flock(fd, LOCK_UN); /* cannot fail for a file that is open */
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

void store_unlock(const int *fd)
{
	if (*fd >= 0)
		(void)flock(*fd, LOCK_UN); /* cannot fail for a file that is open */
	fd_close(*fd);
}

int store_unlink(const struct volume_spec *s, const char *name, struct err *e)
{
	int r = fault_point("store-unlink", NULL, e);

	if (r < 0)
		return r;
	if (unlinkat(s->dir_fd, name, 0) < 0) {
		if (errno == ENOENT)
			return 0;
		return err_sys(e, errno, "cannot remove %s/%s", s->dir, name);
	}
	return file_sync_dir(s->dir_fd, e);
}

int store_open_base(const struct volume_spec *s, int *ret_fd, uint64_t *ret_bytes, struct err *e)
{
	AUTO_FD fd = open(s->base, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(e, errno, "cannot open the template's image %s", s->base);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot measure the template's image %s", s->base);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "the template's image %s is not a regular file", s->base);
	if ((uint64_t)st.st_size > s->size_bytes)
		return err_set(
			e, EINVAL,
			"a disk of %llu bytes is smaller than the template's image %s (%llu)",
			(unsigned long long)s->size_bytes, s->base, (unsigned long long)st.st_size);
	*ret_bytes = (uint64_t)st.st_size;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int store_measure(const struct volume_spec *s, const char *name, uint64_t *ret_allocated,
		  uint64_t *ret_length)
{
	struct stat st;

	if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret_allocated = (uint64_t)st.st_blocks * STAT_BLOCK_BYTES;
	*ret_length = (uint64_t)st.st_size;
	return 0;
}
