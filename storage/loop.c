// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/loop.c - loop devices that go by themselves with their last user
 *
 * How it works
 * Every device is set up with autoclear: the kernel frees it when nobody has it open, neither a
 * descriptor of ours nor a device-mapper table. So a crash leaks none, and nothing here detaches.
 * Until a table has opened a device, the descriptor must be held.
 * A template's device is shared: within this process by a counted list, with what an earlier process left
 * (its tables still hold the device) by finding it again in sysfs. The text in sysfs can be stale, so
 * the device is opened and asked for the device and inode number of its file; once open it cannot change.
 * The device of zeroes is a loop device too, over a hole in memory: the zero target of device-mapper keeps
 * a disk above it from taking discards before Linux 6.6, and is one more module.
 */
#include "storage/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"

enum {
	LOOP_TRIES = 64, /* others may take the free device that we were told of */
	SECTOR_BYTES = 512,
};

struct loop_base {
	struct loop_base *next;
	dev_t file_dev;
	ino_t file_ino;
	off_t file_size;
	int fd;    /* owned */
	dev_t dev; /* of the loop device */
	unsigned refs;
};

static pthread_mutex_t base_lock = PTHREAD_MUTEX_INITIALIZER;
static struct loop_base *bases; /* owned; guarded by base_lock */
static int zero_file = -1;      /* owned, kept for ever; guarded by base_lock */

static int device_open(int index, int flags)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/dev/loop%d", index); /* cannot be cut: 9 + 11 digits */
	return open(path, flags | O_CLOEXEC | O_NOFOLLOW);
}

/* One try on the device that is free just now. Return: 0; -EBUSY: taken meanwhile, try again. */
static int attach_once(int control, const struct loop_config *config, int flags, int *ret_fd,
		       struct err *e)
{
	int index = ioctl(control, LOOP_CTL_GET_FREE);

	if (index < 0)
		return err_sys(e, errno, "no free loop device");
	AUTO_FD fd = device_open(index, flags);
	if (fd < 0)
		return err_sys(e, errno, "cannot open /dev/loop%d", index);
	if (ioctl(fd, LOOP_CONFIGURE, config) < 0) {
		if (errno == EBUSY)
			return -EBUSY;
		return err_sys(e, errno, "cannot set up /dev/loop%d", index);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int loop_attach(int file_fd, const char *label, enum loop_mode mode, int *ret_fd, dev_t *ret_dev,
		struct err *e)
{
	bool writable = mode == LOOP_DIRECT;
	struct loop_config config = {
		.fd = (unsigned)file_fd,
		.info.lo_flags =
			LO_FLAGS_AUTOCLEAR | (writable ? LO_FLAGS_DIRECT_IO : LO_FLAGS_READ_ONLY),
	};
	AUTO_FD control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct stat st;
	int r;

	if (control < 0)
		return err_sys(e, errno == ENOENT ? ENOTSUP : errno,
			       "cannot open /dev/loop-control (modprobe loop)");
	r = fault_point("loop-attach", NULL, e);
	if (r < 0)
		return r;
	r = -EBUSY;
	(void)snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%s",
		       label); /* only a label */
	for (int i = 0; r == -EBUSY && i < LOOP_TRIES; i++)
		r = attach_once(control, &config, writable ? O_RDWR : O_RDONLY, ret_fd, e);
	if (r == -EBUSY)
		return err_set(e, EBUSY,
			       "others took every free loop device first, %d times; try again",
			       LOOP_TRIES);
	if (r < 0)
		return r;
	r = fault_point("loop-attached", NULL, e);
	if (r == 0 && fstat(*ret_fd, &st) < 0)
		r = err_sys(e, errno, "cannot ask for a loop device's number");
	if (r < 0) {
		fd_close(steal_fd(ret_fd));
		return r;
	}
	*ret_dev = st.st_rdev;
	return 0;
}

/* Is the open device what loop_attach() would make for this file? The length of one that grows may differ. */
static bool device_matches(int fd, const struct loop_base *want, const char *label,
			   enum loop_mode mode)
{
	bool read_only = mode == LOOP_READ_ONLY;
	struct loop_info64 info;
	uint64_t bytes;

	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return false;
	return info.lo_device == want->file_dev && info.lo_inode == want->file_ino &&
	       !info.lo_offset && !info.lo_sizelimit && (info.lo_flags & LO_FLAGS_AUTOCLEAR) &&
	       !(info.lo_flags & LO_FLAGS_READ_ONLY) == !read_only &&
	       (!read_only || bytes / SECTOR_BYTES == (uint64_t)want->file_size / SECTOR_BYTES) &&
	       strncmp((const char *)info.lo_file_name, label, LO_NAME_SIZE - 1) == 0;
}

/* Does sysfs say that loop device @name is over the image? Only a hint, but a cheap one. */
static bool device_is_likely(const char *name, const struct loop_base *want)
{
	char path[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", name) >=
	    (int)sizeof(path))
		return false;
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	path[strcspn(path, "\n")] = '\0';
	return !stat(path, &st) && st.st_dev == want->file_dev && st.st_ino == want->file_ino;
}

/* Return: a descriptor of a device left by an earlier process; -1 when there is none. */
static int device_find(const struct loop_base *want, const char *label, enum loop_mode mode)
{
	AUTO_DIR dir = opendir("/sys/block");
	const struct dirent *entry;
	int index;

	/* The stream is our own. */
	while (dir && (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe) */
		char *end;

		if (strncmp(entry->d_name, "loop", 4) != 0 ||
		    !device_is_likely(entry->d_name, want))
			continue;
		index = (int)strtol(entry->d_name + 4, &end, 10);
		if (*end)
			continue;
		AUTO_FD fd = device_open(index, O_RDONLY);
		if (fd >= 0 && device_matches(fd, want, label, mode))
			return steal_fd(&fd);
	}
	return -1;
}

int loop_find(int file_fd, const char *label, int *ret_fd, dev_t *ret_dev)
{
	struct loop_base want = {0};
	struct stat st;

	if (fstat(file_fd, &st) < 0)
		return -errno;
	want.file_dev = st.st_dev;
	want.file_ino = st.st_ino;
	AUTO_FD fd = device_find(&want, label, LOOP_DIRECT);
	if (fd < 0)
		return -ENOENT;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_dev = st.st_rdev;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int loop_open(dev_t dev, int *ret_fd, struct err *e)
{
	char path[64], target[PATH_MAX];
	const char *name;
	struct stat st;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return err_set(e, ENODEV, "there is no block device %u:%u any more", major(dev),
			       minor(dev));
	target[n] = '\0';
	name = strrchr(target, '/');
	(void)snprintf(path, sizeof(path), "/dev%s",
		       name ? name : "/"); /* one of the kernel's, short */
	AUTO_FD fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (!S_ISBLK(st.st_mode) || st.st_rdev != dev)
		return err_set(e, ENODEV, "%s is not block device %u:%u", path, major(dev),
			       minor(dev));
	*ret_fd = steal_fd(&fd);
	return 0;
}

int loop_enlarge(int fd, struct err *e)
{
	int r = fault_point("loop-enlarge", NULL, e);

	if (r < 0)
		return r;
	if (ioctl(fd, LOOP_SET_CAPACITY, 0) < 0)
		return err_sys(e, errno, "cannot enlarge a loop device");
	return 0;
}

bool loop_is_over(int fd, int file_fd)
{
	struct loop_info64 info;
	struct stat st;

	return fstat(file_fd, &st) == 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
	       info.lo_device == st.st_dev && info.lo_inode == st.st_ino;
}

/* Find or make the device of a new list entry. */
static int base_open(struct loop_base *b, int file_fd, const char *label, struct err *e)
{
	struct stat st;

	b->fd = device_find(b, label, LOOP_READ_ONLY);
	if (b->fd < 0)
		return loop_attach(file_fd, label, LOOP_READ_ONLY, &b->fd, &b->dev, e);
	if (fstat(b->fd, &st) < 0)
		return err_sys(e, errno, "cannot ask for a loop device's number");
	b->dev = st.st_rdev;
	return 0;
}

/* Under base_lock. */
static int base_get(int file_fd, const char *label, struct loop_base **ret, struct err *e)
{
	AUTO_FREE struct loop_base *fresh = NULL;
	struct loop_base *b;
	struct stat st;
	int r;

	if (fstat(file_fd, &st) < 0)
		return err_sys(e, errno, "cannot measure the template's image");
	for (b = bases; b; b = b->next) {
		if (b->file_dev != st.st_dev || b->file_ino != st.st_ino ||
		    b->file_size != st.st_size)
			continue;
		b->refs++;
		*ret = b;
		return 0;
	}
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return err_set(e, ENOMEM, "no memory for a template's loop device");
	fresh->fd = -1;
	fresh->file_dev = st.st_dev;
	fresh->file_ino = st.st_ino;
	fresh->file_size = st.st_size;
	fresh->refs = 1;
	r = base_open(fresh, file_fd, label, e);
	if (r < 0) {
		fd_close(fresh->fd);
		return r;
	}
	fresh->next = bases;
	bases = fresh;
	*ret = steal_ptr(&fresh); /* NOLINT(clang-analyzer-unix.Malloc): the list owns it */
	return 0;
}

int loop_base_get(int file_fd, const char *label, struct loop_base **ret, struct err *e)
{
	int r;

	pthread_mutex_lock(&base_lock);
	r = base_get(file_fd, label, ret, e);
	pthread_mutex_unlock(&base_lock);
	return r;
}

/* A hole of a file, in memory: reading it takes none. Under base_lock. */
static int zero_open(struct err *e)
{
	AUTO_FD fd = -1;

	if (zero_file >= 0)
		return 0;
	fd = memfd_create("sbxfs-zero", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)LOOP_ZERO_BYTES) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(e, errno, "cannot make a file of zeroes in memory");
	zero_file = steal_fd(&fd);
	return 0;
}

int loop_zero_get(const char *label, struct loop_base **ret, struct err *e)
{
	int r;

	pthread_mutex_lock(&base_lock);
	r = zero_open(e);
	if (r == 0)
		r = base_get(zero_file, label, ret, e);
	pthread_mutex_unlock(&base_lock);
	return r;
}

void loop_base_put(struct loop_base *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&base_lock);
	if (--b->refs == 0) {
		struct loop_base **at;

		for (at = &bases; *at != b; at = &(*at)->next)
			;
		*at = b->next;
		fd_close(b->fd);
		free(b);
	}
	pthread_mutex_unlock(&base_lock);
}

dev_t loop_base_dev(const struct loop_base *b)
{
	return b->dev;
}
