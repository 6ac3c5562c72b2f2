// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/snap.c - the "dm" store: a dm-snapshot over the template's image, changes in a sparse file
 *
 * How it works
 * The template's image is one read-only loop device for all its sandboxes. A sandbox has the file `cow`,
 * a loop device over it, and a device sbxfs-INSTANCE-SERIAL with the table
 *     0 SECTORS snapshot ORIGIN COW PO 8 1 discard_zeroes_cow
 * PO: a full store makes writes fail but keeps its data (P would lose all of it). discard_zeroes_cow: what a
 * guest discards is given back to the host's file system.
 * A disk larger than the image gets an origin of its own, …-origin: the image, then zeroes. So the
 * guest sees a device of the full size; growing the file system in it is the guest's business.
 * The store's file is long enough for every block of the disk and the metadata: it cannot overflow, only
 * the host's file system can. It becomes longer at the next up() when the disk did.
 * The lock on `cow` is taken on the open file that the loop device keeps: it is held exactly as long
 * as the device lives, through a crash of the daemon too, and its release proves that all is gone.
 * The loop device uses direct I/O where the file system can; over a disk of 4096-byte sectors it stays
 * buffered, since the guest's disk keeps 512-byte sectors.
 * down() marks the devices for removal, which happens in a kernel worker, and waits for uevents until
 * names, block devices and the lock are gone. If a VMM still holds the device it goes when that ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "storage/cow.h"
#include "storage/dm.h"
#include "storage/loop.h"
#include "storage/store.h"
#include "storage/uevent.h"

enum {
	SECTOR_BYTES = 512,
	NODE_MODE = 0600,
	LABEL_SIZE = 32,
};

static const char cow_name[] = "cow", cow_temp[] = "cow.new", node_name[] = "disk.dev";

/* The kernel's names of one sandbox's devices. */
struct snap_names {
	char disk[DMDEV_NAME_SIZE], disk_uuid[DMDEV_NAME_SIZE];
	char origin[DMDEV_NAME_SIZE], origin_uuid[DMDEV_NAME_SIZE];
};

static struct snap_names names_of(const char *instance, uint32_t serial)
{
	struct snap_names n = {0};

	/* None can be cut: 4 characters and 10 digits at most. */
	(void)snprintf(n.disk, sizeof(n.disk), "sbxfs-%s-%u", instance, serial);
	(void)snprintf(n.disk_uuid, sizeof(n.disk_uuid), "SBXFS-%s-%u", instance, serial);
	(void)snprintf(n.origin, sizeof(n.origin), "sbxfs-%s-%u-origin", instance, serial);
	(void)snprintf(n.origin_uuid, sizeof(n.origin_uuid), "SBXFS-%s-%u-origin", instance,
		       serial);
	return n;
}

static int snap_probe(const char *state_dir, char *why, size_t why_size, struct err *e)
{
	unsigned v[3];
	int r;

	(void)state_dir; /* loop devices work over any file system */
	r = dmdev_probe("snapshot", v, e);
	if (r < 0)
		return r;
	if (access("/dev/loop-control", R_OK | W_OK) < 0)
		return err_set(e, ENOTSUP, "no loop devices: /dev/loop-control: %s; modprobe loop",
			       strerrordesc_np(errno));
	(void)snprintf(why, why_size, "dm-snapshot %u.%u.%u", v[0], v[1], v[2]); /* text only */
	return 0;
}

static int check_spec(const struct volume_spec *s, int *ret_base_fd, uint64_t *ret_bytes,
		      struct err *e)
{
	int r = store_open_base(s, ret_base_fd, ret_bytes, e);

	if (r < 0)
		return r;
	if (*ret_bytes && *ret_bytes % SECTOR_BYTES == 0)
		return 0;
	fd_close(steal_fd(ret_base_fd));
	return err_set(e, EINVAL,
		       "the template's image %s has %llu bytes, no multiple of %d; pad it with "
		       "`truncate -s %%%d`",
		       s->base, (unsigned long long)*ret_bytes, SECTOR_BYTES, SECTOR_BYTES);
}

/* Check data that is there. Return: 0; -ENOENT; -EBADMSG. */
static int check_data(const struct volume_spec *s, struct err *e)
{
	AUTO_FD fd = openat(s->dir_fd, cow_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->dir, cow_name);
	return cow_check(fd, s->size_bytes, e);
}

static int snap_create(const struct volume_spec *s, const struct deadline *d, struct err *e)
{
	unsigned char header[COW_CHUNK_BYTES];
	AUTO_FD base_fd = -1;
	AUTO_FD fd = -1;
	uint64_t base_bytes;
	int r;

	(void)d; /* nothing here takes long */
	r = check_data(s, e);
	if (r != -ENOENT)
		return r;
	r = check_spec(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = store_begin(s, cow_temp, &fd, e);
	if (r < 0)
		return r;
	cow_header_init(header);
	if (ftruncate(fd, (off_t)cow_size_bytes(s->size_bytes)) < 0)
		r = -errno;
	else
		r = file_write_all(fd, header, sizeof(header));
	if (r < 0) {
		store_abort(s, cow_temp);
		return err_sys(e, -r, "cannot write %s/%s", s->dir, cow_temp);
	}
	return store_commit(s, fd, cow_temp, cow_name, e);
}

/* Lock the data, check it, and give it the length that the disk needs. */
static int data_open(const struct volume_spec *s, int *ret_fd, struct err *e)
{
	AUTO_FD fd = -1;
	struct stat st;
	off_t want = (off_t)cow_size_bytes(s->size_bytes);
	int r;

	r = store_lock(s, cow_name, &fd, e);
	if (r < 0)
		return r;
	r = cow_check(fd, s->size_bytes, e);
	if (r < 0)
		return err_wrap(e, "%s/%s", s->dir, cow_name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot measure %s/%s", s->dir, cow_name);
	if (st.st_size < want && (ftruncate(fd, want) < 0 || fsync(fd) < 0))
		return err_sys(e, errno, "cannot enlarge %s/%s", s->dir, cow_name);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Where the snapshot lies over more than the image: the image, then zeroes. */
static int origin_up(const struct volume_spec *s, const struct snap_names *n, struct volume *v,
		     uint64_t base_sectors, dev_t *ret, struct err *e)
{
	uint64_t sectors = s->size_bytes / SECTOR_BYTES;
	struct dmdev_line lines[] = {
		{.start = 0, .sectors = base_sectors, .target = "linear"},
		{.start = base_sectors, .sectors = sectors - base_sectors, .target = "linear"},
	};
	struct dmdev_table table = {.lines = lines, .count = 2, .read_only = true};
	char label[LABEL_SIZE];
	dev_t dev;
	int r;

	if (s->size_bytes > LOOP_ZERO_BYTES)
		return err_set(e, EFBIG, "a disk cannot be larger than 16 TiB");
	(void)snprintf(label, sizeof(label), "sbxfs-%s-zero", s->instance); /* cannot be cut */
	r = loop_zero_get(label, &v->zero, e);
	if (r < 0)
		return r;
	/* Two numbers and an offset each: cannot be cut. */
	dev = loop_base_dev(v->base);
	(void)snprintf(lines[0].params, DMDEV_PARAMS_SIZE, "%u:%u 0", major(dev), minor(dev));
	dev = loop_base_dev(v->zero);
	(void)snprintf(lines[1].params, DMDEV_PARAMS_SIZE, "%u:%u 0", major(dev), minor(dev));
	return dmdev_create(n->origin, n->origin_uuid, &table, ret, e);
}

static int disk_up(const struct volume_spec *s, const struct snap_names *n, dev_t origin, dev_t cow,
		   dev_t *ret, struct err *e)
{
	struct dmdev_line line = {.sectors = s->size_bytes / SECTOR_BYTES, .target = "snapshot"};
	struct dmdev_table table = {.lines = &line, .count = 1};

	/* Cannot be cut: four numbers and words. */
	(void)snprintf(line.params, sizeof(line.params), "%u:%u %u:%u PO %d 1 discard_zeroes_cow",
		       major(origin), minor(origin), major(cow), minor(cow), COW_CHUNK_SECTORS);
	return dmdev_create(n->disk, n->disk_uuid, &table, ret, e);
}

/* devtmpfs has a node for every block device; where it is not mounted the sandbox's directory gets one. */
static int node_find(const struct volume_spec *s, dev_t dev, struct volume *v, struct err *e)
{
	struct stat st;

	(void)snprintf(v->path, sizeof(v->path), "/dev/dm-%u", minor(dev)); /* cannot be cut */
	if (stat(v->path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev)
		return 0;
	if (snprintf(v->path, sizeof(v->path), "%s/%s", s->dir, node_name) >= (int)sizeof(v->path))
		return err_set(e, ENAMETOOLONG, "%s/%s: the path is too long", s->dir, node_name);
	if (unlinkat(s->dir_fd, node_name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "cannot remove the old %s", v->path);
	if (mknodat(s->dir_fd, node_name, S_IFBLK | NODE_MODE, dev) < 0)
		return err_sys(e, errno, "cannot make the device node %s", v->path);
	return 0;
}

/* Everything in the kernel, bottom up. What is made before a failure is left to the caller's down. */
static int attach(const struct volume_spec *s, const struct snap_names *n, struct volume *v,
		  struct err *e)
{
	AUTO_FD data_fd = -1;
	AUTO_FD base_fd = -1;
	dev_t cow, origin, disk;
	char label[LABEL_SIZE];
	uint64_t base_bytes;
	int r;

	r = check_spec(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = data_open(s, &data_fd, e);
	if (r < 0)
		return r;
	(void)snprintf(label, sizeof(label), "sbxfs-%s-base", s->instance); /* cannot be cut */
	r = loop_base_get(base_fd, label, &v->base, e);
	if (r < 0)
		return r;
	r = loop_attach(data_fd, n->disk, LOOP_DIRECT, &v->loop_fd, &cow, e);
	if (r < 0)
		return r;
	origin = loop_base_dev(v->base);
	if (s->size_bytes > base_bytes)
		r = origin_up(s, n, v, base_bytes / SECTOR_BYTES, &origin, e);
	if (r < 0)
		return r;
	r = disk_up(s, n, origin, cow, &disk, e);
	if (r < 0)
		return r;
	return node_find(s, disk, v, e);
}

/*
 * Is the block device of a removed name still there? Its number may be another's by now; while it is being taken
 * down its name cannot be read.
 */
static bool block_device_exists(dev_t dev, const char *name)
{
	char path[64], text[DMDEV_NAME_SIZE];
	ssize_t n;

	if (!dev)
		return false;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (access(path, F_OK) < 0)
		return false;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/name", major(dev), minor(dev));
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return true;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, name);
}

/* Wait for the end of a removed device, known by its name and by its number before. */
static int wait_gone(const char *name, dev_t dev, int uevents, const struct deadline *d,
		     struct err *e)
{
	struct dmdev_state state;
	int r;

	for (;;) {
		r = dmdev_state(name, &state, e);
		if (r < 0)
			return r;
		if (!state.exists && !block_device_exists(dev, name))
			return 0;
		r = uevent_wait(uevents, d);
		if (r == -ETIMEDOUT)
			return err_set(e, EBUSY,
				       "the device %s is in use (opened %d times); end what "
				       "has it open, it goes by itself then",
				       name, state.open_count);
		if (r < 0)
			return err_sys(e, -r, "waiting for the end of device %s", name);
	}
}

/* Remove both devices of a sandbox, however much of them is there. */
static int devices_down(const struct snap_names *n, const struct deadline *d, struct err *e)
{
	struct deadline limit = deadline_within(d, STORE_WAIT_MS);
	struct dmdev_state disk, origin;
	AUTO_FD uevents = uevent_open(); /* before the removal: no event may be missed */
	int r;

	r = dmdev_state(n->disk, &disk, e);
	if (r == 0)
		r = dmdev_state(n->origin, &origin, e);
	if (r == 0)
		r = dmdev_remove(n->disk, e);
	if (r == 0)
		r = dmdev_remove(n->origin, e); /* goes with the disk above it */
	if (r == 0)
		r = wait_gone(n->disk, disk.dev, uevents, &limit, e);
	if (r == 0)
		r = wait_gone(n->origin, origin.dev, uevents, &limit, e);
	return r;
}

/* The lock on the data goes with its loop device: once it can be had, all is gone. */
static int wait_unlocked(const struct volume_spec *s, const struct deadline *d, struct err *e)
{
	struct deadline limit = deadline_within(d, STORE_WAIT_MS);
	AUTO_FD uevents = uevent_open();
	AUTO_LOCK fd = openat(s->dir_fd, cow_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0
				       : err_sys(e, errno, "cannot open %s/%s", s->dir, cow_name);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_sys(e, errno, "cannot lock %s/%s", s->dir, cow_name);
		r = uevent_wait(uevents, &limit);
		if (r == -ETIMEDOUT)
			return err_set(e, EBUSY, "%s/%s is in use by a loop device (losetup -a)",
				       s->dir, cow_name);
		if (r < 0)
			return err_sys(e, -r, "waiting for the end of the loop device of %s/%s",
				       s->dir, cow_name);
	}
	return 0;
}

static int snap_down(const struct volume_spec *s, struct volume *v, const struct deadline *d,
		     struct err *e)
{
	struct snap_names n;
	int r;

	n = names_of(s->instance, s->serial);
	r = devices_down(&n, d, e);
	if (r < 0)
		return r;
	if (unlinkat(s->dir_fd, node_name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "cannot remove %s/%s", s->dir, node_name);
	if (v)
		fd_close(steal_fd(&v->loop_fd));
	r = wait_unlocked(s, d, e);
	if (r == 0)
		store_volume_free(v);
	return r;
}

static int snap_up(const struct volume_spec *s, const struct deadline *d, struct volume **ret,
		   struct err *e)
{
	struct volume *v = store_volume_new(VOLUME_RAW);
	struct dmdev_state state;
	struct snap_names n;
	int r;

	if (!v)
		return err_set(e, ENOMEM, "no memory for a volume");
	n = names_of(s->instance, s->serial);
	r = dmdev_state(n.disk, &state, e);
	if (r == 0 && state.exists)
		r = err_set(e, EBUSY, "the device %s is attached already", n.disk);
	if (r < 0) {
		store_volume_free(v);
		return r;
	}
	r = attach(s, &n, v, e);
	if (r == 0) {
		*ret = v;
		return 0;
	}
	/* Only with our loop device in place can a device of these names be ours. */
	if (v->loop_fd >= 0)
		(void)devices_down(&n, d, NULL); /* the first failure is the one to report */
	store_volume_free(v);
	return r;
}

static int snap_destroy(const struct volume_spec *s, struct err *e)
{
	AUTO_LOCK fd = -1;
	int r;

	store_abort(s, cow_temp);
	r = store_lock(s, cow_name, &fd, e);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	return store_unlink(s, cow_name, e);
}

static bool snap_alive(const struct volume_spec *s)
{
	struct dmdev_state state;
	struct snap_names n;

	n = names_of(s->instance, s->serial);
	return dmdev_state(n.disk, &state, NULL) == 0 && state.exists && state.live &&
	       state.health != DMDEV_HEALTH_INVALID && !strcmp(state.uuid, n.disk_uuid);
}

static int snap_usage(const struct volume_spec *s, struct volume_usage *ret)
{
	return store_measure(s, cow_name, &ret->used_bytes, &ret->total_bytes);
}

/* Is this one of our devices, and whose? */
static bool device_is_ours(const char *name, const char *instance, uint32_t *ret_serial)
{
	char prefix[LABEL_SIZE], digits[16];
	struct dmdev_state state;
	struct snap_names n;
	uint64_t serial;
	size_t len;

	(void)snprintf(prefix, sizeof(prefix), "sbxfs-%s-", instance); /* cannot be cut */
	name += strlen(prefix);
	len = strspn(name, "0123456789");
	if (len >= sizeof(digits))
		return false;
	memcpy(digits, name, len);
	digits[len] = '\0';
	if (parse_u64(digits, 0, UINT32_MAX, &serial) < 0)
		return false;
	n = names_of(instance, (uint32_t)serial);
	name -= strlen(prefix);
	if (dmdev_state(name, &state, NULL) < 0 || !state.exists)
		return false;
	*ret_serial = (uint32_t)serial;
	return (!strcmp(name, n.disk) && !strcmp(state.uuid, n.disk_uuid)) ||
	       (!strcmp(name, n.origin) && !strcmp(state.uuid, n.origin_uuid));
}

static int snap_sweep(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
		      struct err *e)
{
	AUTO_FREE char **names = NULL;
	int removed = 0, first = 0, r;
	char prefix[LABEL_SIZE];
	uint32_t serial;

	(void)snprintf(prefix, sizeof(prefix), "sbxfs-%s-", instance); /* cannot be cut */
	r = dmdev_list(prefix, &names, e);
	if (r < 0)
		return r;
	for (char **name = names; *name; name++) {
		struct deadline limit = deadline_in(STORE_WAIT_MS, -1);
		struct snap_names n;

		/* A disk and its origin go together; the second name is gone by then. */
		if (!device_is_ours(*name, instance, &serial) || wanted(serial, arg))
			continue;
		n = names_of(instance, serial);
		r = devices_down(&n, &limit, first ? NULL : e);
		if (r < 0 && !first)
			first = r;
		removed += r == 0;
	}
	return first ? first : removed;
}

const struct volume_driver store_dm = {
	.name = "dm",
	.probe = snap_probe,
	.create = snap_create,
	.destroy = snap_destroy,
	.up = snap_up,
	.down = snap_down,
	.alive = snap_alive,
	.usage = snap_usage,
	.sweep = snap_sweep,
};
