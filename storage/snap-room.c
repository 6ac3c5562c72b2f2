// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/snap-room.c - the "dm" store: room ahead of the guest
 *
 * How it works
 * A write to the store that the host's file system cannot take makes the kernel give the store up, for good. A
 * store that has come to its end only refuses to grow: nothing is lost. So the data's length is what has been
 * allocated of it: its used part and a head start. The kernel's status says how much of it is used; when
 * the head start shrinks, blocks are allocated behind the end first, and then the file, its loop device
 * and so the store become longer, while the guest runs.
 * The head start grows with what the guest has written so far. Nothing is given that would leave less than the
 * reserve free on the file system. Where a file system cannot allocate ahead, only the length is given.
 * down() takes the head start back.
 * What a guest discards is a hole; writing there again allocates. If that fails the guest sees an I/O error of a
 * chunk that the store knows: the store is not given up for it.
 * One caller at a time grows a sandbox: they take turns by a lock of the fcntl kind on the data, which
 * goes with the call. The lock that says "attached" is of the other kind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "storage/snap.h"

#define MIB   UINT64_C(1048576)
#define AHEAD (64 * MIB)          /* the least head start */
#define MOST  (UINT64_C(1) << 30) /* and the greatest */

enum {
	AHEAD_PART = 8,         /* of what is used: the head start of a guest that writes much */
	STAT_BLOCK_BYTES = 512, /* unit of st_blocks */
};

static uint64_t head_start(uint64_t used_bytes)
{
	uint64_t part = used_bytes / AHEAD_PART;

	if (part < AHEAD)
		return AHEAD;
	return part < MOST ? part : MOST;
}

/* Give back what lies behind a length; what cannot be given back costs room only. */
static void give_back(int fd, uint64_t length)
{
	int r = ftruncate(fd, (off_t)length);

	(void)r;
}

/* Return: 0, also where the file system cannot do it; a negative errno. */
static int take_blocks(int fd, uint64_t at, uint64_t len)
{
	return fallocate(fd, 0, (off_t)at, (off_t)len) < 0 && errno != EOPNOTSUPP ? -errno : 0;
}

/*
 * The metadata chunks that are written next: a copy made by other means may have left holes for their zeroes, and
 * they are what must not fail. The last one holds the end of the list, or the one before it does.
 */
static int take_metadata(int fd, uint64_t used_bytes)
{
	uint64_t last = cow_last_area(used_bytes);
	uint64_t before = last > COW_AREA_STEP ? last - COW_AREA_STEP : last;
	int r = take_blocks(fd, last, COW_CHUNK_BYTES);

	return r < 0 ? r : take_blocks(fd, before, COW_CHUNK_BYTES);
}

int snap_room_begin(const struct volume_spec *s, int fd, uint64_t used_bytes, struct err *e)
{
	uint64_t want = cow_length(s->size_bytes, used_bytes, AHEAD);
	int r;

	/* Longer than that it is when a daemon has ended with its host. */
	if (ftruncate(fd, (off_t)used_bytes) < 0)
		return err_sys(e, errno, "cannot trim %s/%s", s->dir, SNAP_DATA_NAME);
	r = fault_point("cow-trimmed", NULL, NULL);
	if (r == 0)
		r = take_metadata(fd, used_bytes);
	if (r == 0 && want > used_bytes)
		r = take_blocks(fd, used_bytes, want - used_bytes);
	/* Where blocks cannot be taken ahead the length alone counts. */
	if (r == 0 && ftruncate(fd, (off_t)want) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	give_back(fd, used_bytes);
	return err_sys(e, -r, "no room for the first %llu MiB ahead of the guest in %s/%s",
		       (unsigned long long)((want - used_bytes) / MIB), s->dir, SNAP_DATA_NAME);
}

void snap_room_end(const struct volume_spec *s, int fd)
{
	struct cow_walk walk = {.fd = fd, .disk_bytes = s->size_bytes};
	struct stat st;
	uint64_t used;

	if (fault_point("cow-room-end", NULL, NULL) == 0 && cow_walk(&walk, &used, NULL) == 0 &&
	    fstat(fd, &st) == 0 && (uint64_t)st.st_size > used)
		give_back(fd, used);
}

/* Bytes that are free on the file system. */
static int room_free(const struct snap_room *room, uint64_t *ret, struct err *e)
{
	struct statvfs fs;

	if (fstatvfs(room->fd, &fs) < 0)
		return err_sys(e, errno, "cannot measure the file system of %s", room->spec->dir);
	*ret = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

static int no_room(const struct snap_room *room, const char *what, struct err *e)
{
	return err_set(
		e, ENOSPC,
		"no room left for the disk: %s/%s cannot %s, %llu MiB are to stay free; free "
		"some or add to its file system",
		room->spec->dir, SNAP_DATA_NAME, what,
		(unsigned long long)(room->reserve_bytes / MIB));
}

/* A guest that writes where it has discarded needs a block. On a file system without any its write fails. */
static int check_holes(const struct snap_room *room, const struct stat *st, struct err *e)
{
	uint64_t free_bytes = 0;
	int r;

	if (st->st_blocks * STAT_BLOCK_BYTES >= st->st_size)
		return 0;
	r = room_free(room, &free_bytes, e);
	if (r < 0 || free_bytes >= MIB)
		return r;
	return no_room(room, "take back what the guest has discarded", e);
}

/* Allocate up to @want behind the end @now, or less when there is less. Return: 0 and the length that there is; -EIO, …. */
static int allocate(const struct snap_room *room, uint64_t now, uint64_t want, uint64_t *ret_length)
{
	uint64_t add = want - now;

	for (*ret_length = now; add; add = add / 2 / MIB * MIB) {
		uint64_t length = cow_length(room->disk_bytes, now, add);

		if (fallocate(room->fd, FALLOC_FL_KEEP_SIZE, (off_t)now, (off_t)(length - now)) ==
			    0 ||
		    errno == EOPNOTSUPP) {
			*ret_length = length;
			return 0;
		}
		if (errno != ENOSPC && errno != EDQUOT)
			return -errno;
		/* Some of it may have been allocated. Within the length nothing changes. */
		if (ftruncate(room->fd, (off_t)now) < 0)
			return -errno;
	}
	return 0;
}

int snap_room_extend(const struct snap_room *room, uint64_t *ret_length, struct err *e)
{
	uint64_t want =
		cow_length(room->disk_bytes, room->used_bytes, head_start(room->used_bytes));
	uint64_t now, free_bytes = 0;
	struct stat st;
	int r;

	if (fstat(room->fd, &st) < 0)
		return err_sys(e, errno, "cannot measure %s/%s", room->spec->dir, SNAP_DATA_NAME);
	*ret_length = now = (uint64_t)st.st_size;
	if (now >= want)
		return 0;
	r = room_free(room, &free_bytes, e);
	if (r < 0)
		return r;
	free_bytes -= free_bytes < room->reserve_bytes ? free_bytes : room->reserve_bytes;
	if (want - now > free_bytes)
		want = now + free_bytes / MIB * MIB;
	r = allocate(room, now, want, ret_length);
	if (r == 0)
		r = fault_point("cow-grow", NULL, NULL);
	if (r == 0 && *ret_length > now && ftruncate(room->fd, (off_t)*ret_length) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, -r, "cannot enlarge %s/%s", room->spec->dir, SNAP_DATA_NAME);
	if (*ret_length > now)
		return 0;
	return no_room(room, "become larger", e);
}

/* The file that has the data's name is not the one that is attached. */
int snap_replaced(const struct volume_spec *s, struct err *e)
{
	return err_set(e, EBADMSG,
		       "the file %s/%s was replaced while the disk was attached; its changes are "
		       "lost when the sandbox stops",
		       s->dir, SNAP_DATA_NAME);
}

/* The loop device of the data, as the disk's table names it. */
static int open_loop(const struct volume_spec *s, const struct snap_names *n, int fd, int *ret,
		     struct err *e)
{
	struct snap_devices devices;
	int r = snap_devices_of(n->disk, &devices, e);

	if (r == 0)
		r = loop_open(devices.cow, ret, e);
	if (r < 0 || loop_is_over(*ret, fd))
		return r;
	fd_close(steal_fd(ret));
	return snap_replaced(s, e);
}

/* The store is well: see that it has its head start. */
static int keep_room(const struct snap_room *room, const struct snap_names *n, uint64_t total_bytes,
		     struct err *e)
{
	uint64_t ahead = head_start(room->used_bytes), length = 0;
	AUTO_FD loop = -1;
	struct stat st;
	int r;

	if (fstat(room->fd, &st) < 0)
		return err_sys(e, errno, "cannot measure %s/%s", room->spec->dir, SNAP_DATA_NAME);
	/* Not for every chunk: in pieces of a quarter. A length of its own tells of another file, or of a crash. */
	if ((uint64_t)st.st_size == total_bytes &&
	    (total_bytes - room->used_bytes > ahead - ahead / 4 ||
	     total_bytes >= cow_size_bytes(room->disk_bytes)))
		return check_holes(room, &st, e);
	r = open_loop(room->spec, n, room->fd, &loop, e);
	if (r < 0)
		return r;
	r = snap_room_extend(room, &length, e);
	if (r == -ENOSPC && total_bytes - room->used_bytes >= SNAP_ROOM_LEAST)
		return 0;
	if (r < 0)
		return r;
	return length > total_bytes ? loop_enlarge(loop, e) : 0;
}

/* Open the data, and wait until no other call grows it. */
static int take_turn(const struct volume_spec *s, int *ret_fd, struct err *e)
{
	struct flock turn = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	AUTO_FD fd = openat(s->dir_fd, SNAP_DATA_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(
			e, errno == ENOENT ? EBADMSG : errno,
			"the disk's data %s/%s is gone; its changes are lost when the sandbox stops",
			s->dir, SNAP_DATA_NAME);
	while (fcntl(fd, F_OFD_SETLKW, &turn) < 0) {
		if (errno != EINTR)
			return err_sys(e, errno, "cannot lock %s/%s", s->dir, SNAP_DATA_NAME);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* What has gone from an image in use reads as an error: its loop device keeps the length that it had. */
static int check_image(const struct volume_spec *s, const struct snap_names *n, uint64_t disk_bytes,
		       struct err *e)
{
	struct dmdev_state origin;
	struct stat st;
	uint64_t bytes;
	int r = dmdev_state(n->origin, &origin, e);

	if (r < 0)
		return r;
	bytes = origin.exists ? origin.sectors * SECTOR_BYTES
			      : disk_bytes; /* the first line is the image */
	if (stat(s->base, &st) < 0 || (uint64_t)st.st_size >= bytes)
		return 0; /* one that has lost its name can be read still */
	return err_set(
		e, EBADMSG,
		"the template's image %s was cut off while it was in use; put the whole file back",
		s->base);
}

int snap_grow(const struct volume_spec *s, uint64_t reserve_bytes, const struct deadline *d,
	      struct err *e)
{
	struct snap_room room = {.spec = s, .reserve_bytes = reserve_bytes};
	struct snap_names n = snap_names_of(s->instance, s->serial);
	struct dmdev_state state = {0};
	AUTO_FD turn = -1;
	int r;

	(void)d; /* all that waits here is the disk */
	r = take_turn(s, &turn, e);
	if (r == 0)
		r = dmdev_state(n.disk, &state, e);
	if (r < 0)
		return r;
	if (!state.exists)
		return err_set(e, EIO, "the device %s is not there", n.disk);
	if (state.health == DMDEV_HEALTH_INVALID)
		return err_set(
			e, EBADMSG,
			"the kernel has given the copy-on-write store of %s up: an I/O error below "
			"it (dmesg says which); roll back to a snapshot",
			n.disk);
	if (state.health == DMDEV_HEALTH_OVERFLOW || strcmp(state.target, "snapshot") != 0)
		return snap_mend(s, turn, reserve_bytes, e);
	room.fd = turn;
	room.disk_bytes = state.sectors * SECTOR_BYTES;
	room.used_bytes = state.used_sectors * SECTOR_BYTES;
	r = keep_room(&room, &n, state.total_sectors * SECTOR_BYTES, e);
	return r < 0 ? r : check_image(s, &n, room.disk_bytes, e);
}

static enum volume_health health_of(const struct dmdev_state *state)
{
	if (!state->exists)
		return VOLUME_WELL;
	if (state->health == DMDEV_HEALTH_INVALID)
		return VOLUME_BROKEN;
	/* Another target than ours stands there in the middle of mending. */
	if (state->health == DMDEV_HEALTH_OVERFLOW || strcmp(state->target, "snapshot") != 0)
		return VOLUME_FULL;
	return VOLUME_WELL;
}

int snap_usage(const struct volume_spec *s, struct volume_usage *ret)
{
	struct snap_names n = snap_names_of(s->instance, s->serial);
	struct dmdev_state state;
	uint64_t ahead = 0;
	struct stat st;

	if (dmdev_state(n.disk, &state, NULL) < 0)
		state.exists = false; /* no device-mapper: nothing is attached */
	*ret = (struct volume_usage){.health = health_of(&state)};
	if (fstatat(s->dir_fd, SNAP_DATA_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (!state.exists)
			return -errno;
		ret->health = VOLUME_BROKEN;
		return 0;
	}
	ret->used_bytes = (uint64_t)st.st_blocks * STAT_BLOCK_BYTES;
	ret->total_bytes = s->size_bytes ? cow_size_bytes(s->size_bytes) : (uint64_t)st.st_size;
	if (state.exists && state.total_sectors)
		ahead = (state.total_sectors - state.used_sectors) * SECTOR_BYTES;
	ret->used_bytes -= ahead < ret->used_bytes ? ahead : ret->used_bytes;
	return 0;
}
