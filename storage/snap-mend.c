// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/snap-mend.c - the "dm" store: a disk whose store overflowed, back to life under its VMM
 *
 * How it works
 * A store that has overflowed refuses writes for as long as its target lives, however long the file has become,
 * and a new snapshot table takes that over from the old one. So the old target has to go first:
 *     make the file and its loop device longer
 *     put in a table that fails all I/O: the old target is destroyed, its exceptions are on disk
 *     put in the snapshot again: it reads them
 * The VMM, which has stopped on the error, has the device open all the time and does nothing meanwhile.
 * Loop devices go with their last user, which the target is: both are held open until the new table
 * has them.
 * A call that fails or dies on the way leaves the table that fails I/O, perhaps with the next one waiting. The next
 * call sees that and takes everything from its names: the device of the origin if the disk has one, the
 * loop devices by their files, or new ones if they have gone. A waiting table holds the data's store, and a
 * second one over it is refused: dmdev_swap() drops it first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "storage/snap.h"

/* What the new table stands on, held open until it does. */
struct parts {
	dev_t origin, cow;
	int origin_fd, cow_fd;  /* owned */
	struct loop_base *base; /* a counted reference, or NULL */
};

static void cleanup_parts(struct parts *p)
{
	fd_close(p->origin_fd);
	fd_close(p->cow_fd);
	loop_base_put(p->base);
}
#define AUTO_PARTS __attribute__((cleanup(cleanup_parts))) struct parts

static int parts_of_table(const struct snap_names *n, struct parts *p, struct err *e)
{
	struct snap_devices devices;
	int r = snap_devices_of(n->disk, &devices, e);

	if (r == 0)
		r = loop_open(devices.origin, &p->origin_fd, e);
	if (r == 0)
		r = loop_open(devices.cow, &p->cow_fd, e);
	if (r < 0)
		return r;
	p->origin = devices.origin;
	p->cow = devices.cow;
	return 0;
}

static int find_origin(const struct volume_spec *s, const struct snap_names *n, uint64_t bytes,
		       struct parts *p, struct err *e)
{
	struct dmdev_state state;
	AUTO_FD base_fd = -1;
	uint64_t base_bytes;
	int r;

	r = dmdev_state(n->origin, &state, e);
	if (r < 0)
		return r;
	if (state.exists && !strcmp(state.uuid, n->origin_uuid)) {
		p->origin = state.dev;
		return 0;
	}
	r = snap_open_base(s, &base_fd, &base_bytes, e);
	if (r < 0)
		return r;
	if (base_bytes != bytes)
		return err_set(
			e, EBADMSG,
			"the device %s is gone, or the image %s has changed its length; stop the "
			"sandbox and start it again",
			n->origin, s->base);
	r = snap_base_get(s, base_fd, &p->base, e);
	if (r == 0)
		p->origin = loop_base_dev(p->base);
	return r;
}

/* The data, open and locked for a new loop device. No VMM has ever had it open: only the lock itself counts. */
static int lock_again(const struct volume_spec *s, int *ret_fd, struct err *e)
{
	AUTO_FD fd = openat(s->dir_fd, SNAP_DATA_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->dir, SNAP_DATA_NAME);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, errno == EWOULDBLOCK ? EBUSY : errno,
			       "cannot lock %s/%s, which has no loop device", s->dir,
			       SNAP_DATA_NAME);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* The loop device of the data: the one that is left, or a new one. */
static int find_cow(const struct volume_spec *s, const struct snap_names *n, int fd,
		    struct parts *p, struct err *e)
{
	AUTO_FD own = -1;
	int r;

	if (loop_find(fd, n->disk, &p->cow_fd, &p->cow) == 0)
		return 0;
	r = lock_again(s, &own, e);
	if (r < 0)
		return r;
	return loop_attach(own, n->disk, LOOP_DIRECT, &p->cow_fd, &p->cow, e);
}

static int find_parts(const struct volume_spec *s, const struct snap_names *n, int fd,
		      const struct dmdev_state *state, struct parts *p, struct err *e)
{
	int r;

	if (!strcmp(state->target, "snapshot"))
		return parts_of_table(n, p, e);
	r = find_origin(s, n, state->sectors * SECTOR_BYTES, p, e);
	return r < 0 ? r : find_cow(s, n, fd, p, e);
}

/* The old target goes, unless it has already; then the snapshot comes again. */
static int swap(const struct snap_names *n, const struct dmdev_state *state, const struct parts *p,
		struct err *e)
{
	struct dmdev_line line = {.sectors = state->sectors, .target = "error"};
	struct dmdev_table table = {.lines = &line, .count = 1};
	int r = 0;

	if (!strcmp(state->target, "snapshot"))
		r = dmdev_swap(n->disk, &table, e);
	if (r < 0)
		return r;
	snap_line(&line, state->sectors, p->origin, p->cow);
	return dmdev_swap(n->disk, &table, e);
}

/* Is there now a snapshot that takes writes? */
static int check_mended(const struct snap_names *n, struct err *e)
{
	struct dmdev_state state;
	int r = dmdev_state(n->disk, &state, e);

	if (r < 0)
		return r;
	if (state.exists && state.live && state.health == DMDEV_HEALTH_OK && state.total_sectors)
		return 0;
	return err_set(e, EIO, "the device %s is not well after its store was enlarged", n->disk);
}

int snap_mend(const struct volume_spec *s, int fd, uint64_t reserve_bytes, struct err *e)
{
	struct snap_room room = {.spec = s, .fd = fd, .reserve_bytes = reserve_bytes};
	struct snap_names n = snap_names_of(s->instance, s->serial);
	AUTO_PARTS parts = {.origin_fd = -1, .cow_fd = -1};
	struct dmdev_state state;
	uint64_t length = 0;
	int r;

	r = dmdev_state(n.disk, &state, e);
	if (r < 0)
		return r;
	room.disk_bytes = state.sectors * SECTOR_BYTES;
	r = cow_check(fd, room.disk_bytes, &room.used_bytes, e);
	if (r < 0)
		return err_wrap(e, "%s/%s", s->dir, SNAP_DATA_NAME);
	r = find_parts(s, &n, fd, &state, &parts, e);
	if (r == 0 && !loop_is_over(parts.cow_fd, fd))
		r = snap_replaced(s, e);
	if (r == 0)
		r = snap_room_extend(&room, &length, e);
	if (r == -ENOSPC && length > room.used_bytes + SNAP_ROOM_LEAST)
		r = 0; /* a call before this one has given room, and then failed */
	if (r == 0)
		r = loop_enlarge(parts.cow_fd, e);
	if (r == 0)
		r = swap(&n, &state, &parts, e);
	return r < 0 ? r : check_mended(&n, e);
}
