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
 * The data is as long as what has been allocated of it, a part in use and some room ahead: see snap-room.c. It
 * can overflow, which is mended (snap-mend.c); what destroys it is a host file system without room for
 * what the kernel believes to be there.
 * The lock on `cow` is taken on the open file that the loop device keeps: it is held exactly as long
 * as the device lives, through a crash of the daemon too, and its release proves that all is gone.
 * The loop device uses direct I/O where the file system can; over a disk of 4096-byte sectors it stays
 * buffered, since the guest's disk keeps 512-byte sectors.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "storage/snap.h"

enum { NODE_MODE = 0600 };

static const char temp_name[] = "cow.new", node_name[] = "disk.dev";

struct snap_names snap_names_of(const char *instance, uint32_t serial)
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

int snap_open_base(const struct volume_spec *s, int *ret_fd, uint64_t *ret_bytes, struct err *e)
{
	int r = store_open_base(s, ret_fd, ret_bytes, e);

	if (r < 0)
		return r;
	if (*ret_bytes && *ret_bytes % SECTOR_BYTES == 0)
		return 0;
	fd_close(steal_fd(ret_fd));
	return err_set(e, EINVAL,
		       "the template's image %s has %llu bytes, no multiple of %d; pad it with "
		       "`truncate -s %%%d`",
		       s->base, (unsigned long long)*ret_bytes, SECTOR_BYTES, SECTOR_BYTES);
}

/* Check data that is there. Return: 0; -ENOENT; -EBADMSG. */
static int check_data(const struct volume_spec *s, struct err *e)
{
	AUTO_FD fd = openat(s->dir_fd, SNAP_DATA_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->dir, SNAP_DATA_NAME);
	return cow_check(fd, s->size_bytes, NULL, e);
}

static int snap_create(const struct volume_spec *s, const struct deadline *d, struct err *e)
{
	unsigned char start[2 * COW_CHUNK_BYTES] = {0}; /* the header, and metadata of no change */
	AUTO_FD base_fd = -1;
	AUTO_FD fd = -1;
	uint64_t base_bytes;
	int r;

	(void)d; /* nothing here takes long */
	r = check_data(s, e);
	if (r != -ENOENT)
		return r;
	r = snap_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = store_begin(s, temp_name, &fd, e);
	if (r < 0)
		return r;
	cow_header_init(start);
	cow_header_note(start, base_bytes);
	r = file_write_all(fd, start, COW_CHUNK_BYTES);
	if (r == 0)
		r = fault_point("cow-header", NULL, e);
	if (r == 0)
		r = file_write_all(fd, start + COW_CHUNK_BYTES, COW_CHUNK_BYTES);
	if (r < 0) {
		store_abort(s, temp_name);
		return err_sys(e, -r, "cannot write %s/%s", s->dir, temp_name);
	}
	return store_commit(s, fd, temp_name, SNAP_DATA_NAME, e);
}

/* Lock the data, check it, and give it room ahead. */
static int data_open(const struct volume_spec *s, uint64_t base_bytes, int *ret_fd, struct err *e)
{
	AUTO_FD fd = -1;
	uint64_t used = 0;
	int r;

	r = store_lock(s, SNAP_DATA_NAME, &fd, e);
	if (r < 0)
		return r;
	r = cow_check(fd, s->size_bytes, &used, e);
	if (r == 0)
		r = cow_check_base(fd, base_bytes, e);
	if (r == 0)
		r = fault_point("cow-clear", NULL, e);
	if (r == 0)
		r = cow_clear_rest(fd, e);
	if (r < 0)
		return err_wrap(e, "%s/%s", s->dir, SNAP_DATA_NAME);
	r = snap_room_begin(s, fd, used, e);
	if (r < 0)
		return r;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int snap_base_get(const struct volume_spec *s, int base_fd, struct loop_base **ret, struct err *e)
{
	char label[SNAP_LABEL_SIZE];

	(void)snprintf(label, sizeof(label), "sbxfs-%s-base", s->instance); /* cannot be cut */
	return loop_base_get(base_fd, label, ret, e);
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
	char label[SNAP_LABEL_SIZE];
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

void snap_line(struct dmdev_line *ret, uint64_t sectors, dev_t origin, dev_t cow)
{
	*ret = (struct dmdev_line){.sectors = sectors, .target = "snapshot"};
	/* Cannot be cut: four numbers and words. */
	(void)snprintf(ret->params, sizeof(ret->params), "%u:%u %u:%u PO %d 1 discard_zeroes_cow",
		       major(origin), minor(origin), major(cow), minor(cow), COW_CHUNK_SECTORS);
}

int snap_devices_of(const char *name, struct snap_devices *ret, struct err *e)
{
	unsigned a = 0, b = 0, c = 0, d = 0;
	char params[DMDEV_PARAMS_SIZE];
	int r = dmdev_params(name, params, sizeof(params), e);

	if (r < 0)
		return r;
	/* Written by the kernel. NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(params, "%u:%u %u:%u", &a, &b, &c, &d) < 2)
		return err_set(e, EIO, "the table of device %s is not ours: %s", name, params);
	ret->origin = makedev(a, b);
	ret->cow = makedev(c, d);
	return 0;
}

static int disk_up(const struct volume_spec *s, const struct snap_names *n, dev_t origin, dev_t cow,
		   dev_t *ret, struct err *e)
{
	struct dmdev_line line;
	struct dmdev_table table = {.lines = &line, .count = 1};

	snap_line(&line, s->size_bytes / SECTOR_BYTES, origin, cow);
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
	uint64_t base_bytes;
	int r;

	r = snap_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	r = data_open(s, base_bytes, &data_fd, e);
	if (r < 0)
		return r;
	r = snap_base_get(s, base_fd, &v->base, e);
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

static int snap_down(const struct volume_spec *s, struct volume *v, const struct deadline *d,
		     struct err *e)
{
	AUTO_LOCK fd = -1;
	struct snap_names n;
	int r;

	n = snap_names_of(s->instance, s->serial);
	r = snap_devices_down(&n, d, e);
	if (r < 0)
		return r;
	if (unlinkat(s->dir_fd, node_name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "cannot remove %s/%s", s->dir, node_name);
	if (v)
		fd_close(steal_fd(&v->loop_fd));
	r = snap_wait_unlocked(s, d, &fd, e);
	if (r < 0)
		return r;
	if (fd >= 0)
		snap_room_end(s, fd);
	store_volume_free(v);
	return 0;
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
	n = snap_names_of(s->instance, s->serial);
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
		(void)snap_devices_down(&n, d, NULL); /* the first failure is the one to report */
	store_volume_free(v);
	return r;
}

static int snap_destroy(const struct volume_spec *s, struct err *e)
{
	AUTO_LOCK fd = -1;
	int r;

	store_abort(s, temp_name);
	r = store_lock(s, SNAP_DATA_NAME, &fd, e);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	return store_unlink(s, SNAP_DATA_NAME, e);
}

static bool snap_alive(const struct volume_spec *s)
{
	struct dmdev_state state;
	struct snap_names n;

	n = snap_names_of(s->instance, s->serial);
	return dmdev_state(n.disk, &state, NULL) == 0 && state.exists && state.live &&
	       state.health != DMDEV_HEALTH_INVALID && !strcmp(state.uuid, n.disk_uuid);
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
	.grow = snap_grow,
	.copy = snap_copy,
	.flatten = snap_flatten,
	.adopt_data = snap_adopt_data,
	.data_name = snap_data_name,
	.sweep = snap_sweep,
};
