// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/file.c - the "file" store: a reflink, a qcow2 overlay or a copy of the template's image
 *
 * How it works
 * The data is one file, made in the first way that works: disk.raw as a reflink of the image (xfs, btrfs),
 * disk.qcow2 as an overlay over it, disk.raw as a sparse copy (an image that an overlay cannot name, or a
 * disk beyond 16 TiB). Nothing is attached in the kernel: up() checks and locks, and the VMM opens
 * the file itself. The daemon's lock goes with the daemon; after a crash the VMM's own image locks, which
 * are asked too, keep a second one out.
 * used_bytes of a reflink counts the blocks shared with the image as well: st_blocks knows no sharing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "storage/qcow2.h"
#include "storage/store.h"

enum {
	DATA_MODE = 0600,
	MIB = 1024 * 1024,
	PROBE_BYTES = 4096,
	HEAD_START_BYTES = 16 * MIB, /* what a guest writes until it is looked at again */
};

static const char raw_name[] = "disk.raw", qcow2_name[] = "disk.qcow2", temp_name[] = "disk.new";

/* Two unnamed files on the file system, one cloned from the other. */
static bool reflinks_work(const char *dir)
{
	static const char page[PROBE_BYTES];
	AUTO_FD from = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	AUTO_FD to = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return from >= 0 && to >= 0 && file_write_all(from, page, sizeof(page)) == 0 &&
	       ioctl(to, FICLONE, from) == 0;
}

static int file_probe(const char *state_dir, char *why, size_t why_size, struct err *e)
{
	struct stat st;

	if (stat(state_dir, &st) < 0)
		return err_sys(e, ENOTSUP, "cannot look at %s", state_dir);
	(void)snprintf(
		why, why_size, "%s",
		reflinks_work(state_dir)
			? "reflinks of templates"
			: "qcow2 overlays (the file system has no reflinks)"); /* text only */
	return 0;
}

/* Which of its two names the data has. Return: NULL when there is none. */
static const char *data_find(int dir_fd, enum volume_format *ret_format)
{
	struct stat st;

	*ret_format = VOLUME_RAW;
	if (fstatat(dir_fd, raw_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return raw_name;
	*ret_format = VOLUME_QCOW2;
	if (fstatat(dir_fd, qcow2_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return qcow2_name;
	return NULL;
}

/* Fill the open, empty temporary in the first way that works. Return: 0 and the final name. */
static int data_make(const struct volume_spec *s, int base_fd, int fd, const struct deadline *d,
		     const char **ret_name, struct err *e)
{
	int r;

	*ret_name = raw_name;
	if (ioctl(fd, FICLONE, base_fd) < 0) {
		r = qcow2_create(fd, s->base, s->size_bytes, e);
		if (r != -ENAMETOOLONG && r != -EFBIG) {
			*ret_name = qcow2_name;
			return r;
		}
		r = file_copy(base_fd, fd, d->cancel_fd, e);
		if (r < 0)
			return err_wrap(e, "cannot copy %s", s->base);
	}
	if (ftruncate(fd, (off_t)s->size_bytes) < 0)
		return err_sys(e, errno, "cannot size %s/%s", s->dir, temp_name);
	return 0;
}

static int check_raw(const struct volume_spec *s, int fd, bool grow, struct err *e)
{
	AUTO_FD base_fd = -1;
	uint64_t base_bytes;
	struct stat st;
	int r;

	r = store_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot measure %s/%s", s->dir, raw_name);
	if (st.st_size % MIB || (uint64_t)st.st_size < base_bytes)
		return err_set(e, EBADMSG, "%s/%s is cut off: %lld bytes; restore a snapshot",
			       s->dir, raw_name, (long long)st.st_size);
	if ((uint64_t)st.st_size > s->size_bytes)
		return err_set(e, EBADMSG, "%s/%s has %lld bytes, more than the disk's %llu",
			       s->dir, raw_name, (long long)st.st_size,
			       (unsigned long long)s->size_bytes);
	if (grow && (uint64_t)st.st_size < s->size_bytes &&
	    (ftruncate(fd, (off_t)s->size_bytes) < 0 || fsync(fd) < 0))
		return err_sys(e, errno, "cannot enlarge %s/%s", s->dir, raw_name);
	return 0;
}

static int check_qcow2(const struct volume_spec *s, int fd, bool grow, struct err *e)
{
	AUTO_FD base_fd = -1;
	uint64_t bytes, base_bytes;
	int r;

	r = store_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = qcow2_check(fd, s->base, &bytes, e);
	if (r < 0)
		return err_wrap(e, "%s/%s", s->dir, qcow2_name);
	if (bytes > s->size_bytes)
		return err_set(e, EBADMSG, "%s/%s is of a disk of %llu bytes, more than %llu",
			       s->dir, qcow2_name, (unsigned long long)bytes,
			       (unsigned long long)s->size_bytes);
	return grow && bytes < s->size_bytes ? qcow2_grow(fd, s->size_bytes, e) : 0;
}

static int check_data(const struct volume_spec *s, enum volume_format format, int fd, bool grow,
		      struct err *e)
{
	return format == VOLUME_RAW ? check_raw(s, fd, grow, e) : check_qcow2(s, fd, grow, e);
}

static int file_create(const struct volume_spec *s, const struct deadline *d, struct err *e)
{
	enum volume_format format;
	const char *name = data_find(s->dir_fd, &format);
	AUTO_FD base_fd = -1;
	AUTO_FD fd = -1;
	uint64_t base_bytes;
	int r;

	if (name) {
		fd = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, errno, "cannot open %s/%s", s->dir, name);
		return check_data(s, format, fd, false, e);
	}
	r = store_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = store_begin(s, temp_name, &fd, e);
	if (r < 0)
		return r;
	r = data_make(s, base_fd, fd, d, &name, e);
	if (r < 0) {
		store_abort(s, temp_name);
		return r;
	}
	return store_commit(s, fd, temp_name, name, e);
}

static int file_up(const struct volume_spec *s, const struct deadline *d, struct volume **ret,
		   struct err *e)
{
	enum volume_format format;
	const char *name = data_find(s->dir_fd, &format);
	struct volume *v;
	int r;

	(void)d; /* nothing here takes long */
	if (!name)
		return err_set(e, ENOENT, "%s holds no disk data", s->dir);
	v = store_volume_new(format);
	if (!v)
		return err_set(e, ENOMEM, "no memory for a volume");
	r = store_lock(s, name, &v->data_fd, e);
	if (r == 0)
		r = check_data(s, format, v->data_fd, true, e);
	if (r == 0 &&
	    snprintf(v->path, sizeof(v->path), "%s/%s", s->dir, name) >= (int)sizeof(v->path))
		r = err_set(e, ENAMETOOLONG, "%s/%s: the path is too long", s->dir, name);
	if (r < 0) {
		store_volume_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

static int file_down(const struct volume_spec *s, struct volume *v, const struct deadline *d,
		     struct err *e)
{
	enum volume_format format;
	const char *name = data_find(s->dir_fd, &format);
	AUTO_LOCK fd = -1;
	int r;

	(void)d; /* nothing here takes long */
	if (v) {
		store_unlock(&v->data_fd);
		v->data_fd = -1;
	}
	/* Whoever still has it locked, a VMM for one, has it attached. */
	r = name ? store_lock(s, name, &fd, e) : 0;
	if (r < 0 && r != -ENOENT)
		return r;
	store_volume_free(v);
	return 0;
}

static int file_destroy(const struct volume_spec *s, struct err *e)
{
	enum volume_format format;
	const char *name;
	int r = 0;

	store_abort(s, temp_name);
	while (r == 0 && (name = data_find(s->dir_fd, &format))) {
		AUTO_LOCK fd = -1;

		r = store_lock(s, name, &fd, e);
		if (r == 0)
			r = store_unlink(s, name, e);
	}
	return r;
}

/* There is nothing in the kernel that could be missing; the data is what counts. */
static bool file_alive(const struct volume_spec *s)
{
	enum volume_format format;
	const char *name = data_find(s->dir_fd, &format);
	AUTO_FD fd = name ? openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;

	return fd >= 0 && check_data(s, format, fd, false, NULL) == 0;
}

/* A file that was cut off behind our back; what a VMM has open of it can no longer be the whole disk. */
static bool data_is_cut(const struct volume_spec *s, enum volume_format format, uint64_t length)
{
	struct stat st;

	if (format == VOLUME_QCOW2)
		return length < QCOW2_MIN_BYTES;
	return length % MIB ||
	       (s->base && stat(s->base, &st) == 0 && length < (uint64_t)st.st_size);
}

static int file_usage(const struct volume_spec *s, struct volume_usage *ret)
{
	enum volume_format format;
	const char *name = data_find(s->dir_fd, &format);
	uint64_t length;
	int r;

	if (!name)
		return -ENOENT;
	r = store_measure(s, name, &ret->used_bytes, &length);
	if (r < 0)
		return r;
	ret->total_bytes = s->size_bytes;
	ret->health = data_is_cut(s, format, length) ? VOLUME_BROKEN : VOLUME_WELL;
	return 0;
}

/*
 * There is nothing to allocate ahead: a guest that finds no room is stopped with its write pending, nothing is
 * damaged, and the write is done when the guest goes on. So only the host's room is asked for.
 */
static int file_grow(const struct volume_spec *s, uint64_t reserve_bytes, const struct deadline *d,
		     struct err *e)
{
	struct volume_usage usage;
	struct statvfs fs;
	uint64_t room;

	(void)d; /* nothing here takes long */
	if (file_usage(s, &usage) < 0)
		return err_set(e, EBADMSG, "the disk's data in %s has gone; restore a snapshot",
			       s->dir);
	if (usage.health == VOLUME_BROKEN)
		return err_set(e, EBADMSG, "the disk's data in %s is cut off; restore a snapshot",
			       s->dir);
	if (fstatvfs(s->dir_fd, &fs) < 0)
		return err_sys(e, errno, "cannot ask for the room in %s", s->dir);
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (room < HEAD_START_BYTES || room - HEAD_START_BYTES < reserve_bytes)
		return err_set(e, ENOSPC,
			       "%s has %llu MiB free, and %llu MiB have to stay free; make room",
			       s->dir, (unsigned long long)(room / MIB),
			       (unsigned long long)((reserve_bytes + HEAD_START_BYTES) / MIB));
	return 0;
}

/* Open the data to read it all. Return: 0 with its name; -ENOENT; -EBADMSG; …. */
static int data_open(const struct volume_spec *s, const char **ret_name, int *ret_fd, struct err *e)
{
	enum volume_format format;
	const char *name = data_find(s->dir_fd, &format);
	AUTO_FD fd = -1;
	int r;

	if (!name)
		return err_set(e, ENOENT, "%s holds no disk data", s->dir);
	fd = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->dir, name);
	r = check_data(s, format, fd, false, e);
	if (r < 0)
		return r;
	*ret_name = name;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int file_copy_data(const struct volume_spec *s, int to_fd, const struct deadline *d,
			  struct err *e)
{
	const char *name = NULL;
	AUTO_FD fd = -1;
	int r = data_open(s, &name, &fd, e);

	if (r < 0)
		return r;
	if (name == qcow2_name) {
		r = qcow2_lay(fd, -1, d, e); /* a copy of damage is of no use */
		if (r < 0)
			return err_wrap(e, "%s/%s", s->dir, name);
	}
	return store_copy_file(s, name, to_fd, d, e);
}

static int file_flatten(const struct volume_spec *s, int out_fd, const struct deadline *d,
			struct err *e)
{
	const char *name = NULL;
	AUTO_FD fd = -1;
	int r = data_open(s, &name, &fd, e);

	if (r < 0)
		return r;
	if (name == raw_name) {
		r = file_copy(fd, out_fd, d->cancel_fd, e);
		if (r == 0 && ftruncate(out_fd, (off_t)s->size_bytes) < 0)
			r = err_sys(e, errno, "cannot size the image");
	} else {
		r = store_lay_base(s, out_fd, d, e);
		if (r == 0)
			r = qcow2_lay(fd, out_fd, d, e);
	}
	return r < 0 ? err_wrap(e, "cannot flatten %s/%s", s->dir, name) : 0;
}

static int adopt_qcow2(const struct volume_spec *s, int fd, struct err *e)
{
	AUTO_FD base_fd = -1;
	uint64_t bytes, base_bytes;
	int r;

	r = store_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = qcow2_verify(fd, &bytes, e);
	if (r < 0)
		return err_wrap(e, "%s/%s", s->dir, qcow2_name);
	if (bytes < base_bytes || bytes > s->size_bytes)
		return err_set(e, EBADMSG,
			       "%s/%s is of a disk of %llu bytes; the template's image has %llu, "
			       "the sandbox's disk %llu",
			       s->dir, qcow2_name, (unsigned long long)bytes,
			       (unsigned long long)base_bytes, (unsigned long long)s->size_bytes);
	return qcow2_rebase(fd, s->base, e);
}

/* Only a file of our own may be there: no link to another's, no device; and one only. */
static int foreign_check(const struct volume_spec *s, const char *name, struct err *e)
{
	struct stat st;

	if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "cannot look at %s/%s", s->dir, name);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(e, EBADMSG, "%s/%s is not a plain file with one name", s->dir, name);
	if (name == raw_name && faccessat(s->dir_fd, qcow2_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, EBADMSG, "%s holds both %s and %s", s->dir, raw_name, qcow2_name);
	return 0;
}

static int file_adopt_data(const struct volume_spec *s, struct err *e)
{
	enum volume_format format;
	const char *name = data_find(s->dir_fd, &format);
	AUTO_LOCK fd = -1;
	int r;

	if (!name)
		return err_set(e, EBADMSG, "%s holds no %s or %s", s->dir, raw_name, qcow2_name);
	r = foreign_check(s, name, e);
	if (r == 0)
		r = store_lock(s, name, &fd, e);
	if (r < 0)
		return r;
	if (format == VOLUME_RAW)
		r = check_raw(s, fd, false, e);
	else
		r = adopt_qcow2(s, fd, e);
	if (r < 0)
		return r;
	if (fchmod(fd, DATA_MODE) < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "cannot write %s/%s to disk", s->dir, name);
	return file_sync_dir(s->dir_fd, e);
}

static const char *file_data_name(int dir_fd)
{
	enum volume_format format;

	return data_find(dir_fd, &format);
}

/* Locks go with their processes: nothing can be left. */
static int file_sweep(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
		      struct err *e)
{
	(void)instance;
	(void)wanted;
	(void)arg;
	(void)e;
	return 0;
}

const struct volume_driver store_file = {
	.name = "file",
	.probe = file_probe,
	.create = file_create,
	.destroy = file_destroy,
	.up = file_up,
	.down = file_down,
	.alive = file_alive,
	.usage = file_usage,
	.grow = file_grow,
	.copy = file_copy_data,
	.flatten = file_flatten,
	.adopt_data = file_adopt_data,
	.data_name = file_data_name,
	.sweep = file_sweep,
};
