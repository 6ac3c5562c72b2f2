/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/snap.h - the parts of the "dm" store; for storage/snap*.c only */
#ifndef SBXFS_STORAGE_SNAP_H
#define SBXFS_STORAGE_SNAP_H

#include "storage/cow.h"
#include "storage/dm.h"
#include "storage/store.h"

enum {
	SECTOR_BYTES = 512,
	SNAP_LABEL_SIZE = 32,
	SNAP_ROOM_LEAST = 8 << 20, /* bytes; with less ahead, having no more to give is an error */
};

/* The file of the changes, in the sandbox's directory. */
#define SNAP_DATA_NAME "cow"

/* The kernel's names of one sandbox's devices. */
struct snap_names {
	char disk[DMDEV_NAME_SIZE], disk_uuid[DMDEV_NAME_SIZE];
	char origin[DMDEV_NAME_SIZE], origin_uuid[DMDEV_NAME_SIZE];
};

struct snap_names snap_names_of(const char *instance, uint32_t serial);

/* Open the image and see that the kernel can use all of it. Return: 0; -ENOENT, -EINVAL. */
int snap_open_base(const struct volume_spec *s, int *ret_fd, uint64_t *ret_bytes, struct err *e);

/* The image's shared loop device, for a file that snap_open_base() opened. */
int snap_base_get(const struct volume_spec *s, int base_fd, struct loop_base **ret, struct err *e);

/* The one line of the disk's table. */
void snap_line(struct dmdev_line *ret, uint64_t sectors, dev_t origin, dev_t cow);

/* The first two devices that a table names; of a disk the image, or what lies over it, and the data. */
struct snap_devices {
	dev_t origin, cow;
};

/* From the table of device @name. Return: 0; -ENXIO there is no such device; -EIO. */
int snap_devices_of(const char *name, struct snap_devices *ret, struct err *e);

/* ---- snap-down.c ---- */

/* Remove both devices of a sandbox, however much of them is there, and wait for their end. */
int snap_devices_down(const struct snap_names *n, const struct deadline *d, struct err *e);

/**
 * snap_wait_unlocked() - Wait for the end of the loop device over the data
 * @ret_fd: the data, open for reading and writing and locked; -1 when there is none
 * Return: 0; -EBUSY; -EIO.
 */
int snap_wait_unlocked(const struct volume_spec *s, const struct deadline *d, int *ret_fd,
		       struct err *e);

int snap_sweep(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
	       struct err *e);

/* ---- snap-room.c ---- */

/* Give a store that nobody uses its room ahead. Return: 0; -ENOSPC, with the length that it had in use. */
int snap_room_begin(const struct volume_spec *s, int fd, uint64_t used_bytes, struct err *e);

/* Take the room ahead back. What cannot be is left: it costs room only. */
void snap_room_end(const struct volume_spec *s, int fd);

/**
 * snap_room_extend() - Make the data of a sandbox in use longer, with blocks of its own
 * @disk_bytes: of the device
 * @used_bytes: of the store
 * @ret_length: that it has now
 * Return: 0, also when it was long enough; -ENOSPC nothing can be given; -EIO.
 */
struct snap_room {
	const struct volume_spec *spec;
	int fd;
	uint64_t disk_bytes, used_bytes, reserve_bytes;
};
int snap_room_extend(const struct snap_room *room, uint64_t *ret_length, struct err *e);

/* Say that the data's name leads to another file than the attached one. Return: -EBADMSG. */
int snap_replaced(const struct volume_spec *s, struct err *e);

int snap_usage(const struct volume_spec *s, struct volume_usage *ret);
int snap_grow(const struct volume_spec *s, uint64_t reserve_bytes, const struct deadline *d,
	      struct err *e);

/* ---- snap-mend.c ---- */

/**
 * snap_mend() - Bring a disk whose store overflowed back to life, while a VMM has it open
 * @fd: the data, open for reading and writing
 * Return: 0; -ENOSPC nothing changed; -EBADMSG; -EIO: the disk fails all I/O until a later call succeeds.
 */
int snap_mend(const struct volume_spec *s, int fd, uint64_t reserve_bytes, struct err *e);

/* ---- snap-image.c ---- */

int snap_copy(const struct volume_spec *s, int to_fd, const struct deadline *d, struct err *e);
int snap_flatten(const struct volume_spec *s, int out_fd, const struct deadline *d, struct err *e);
int snap_adopt_data(const struct volume_spec *s, struct err *e);
const char *snap_data_name(int dir_fd);

#endif
