/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/dm.h - device-mapper devices by name; for storage/ only
 *
 * The prefix is dmdev_ because libdevmapper owns dm_.
 */
#ifndef SBXFS_STORAGE_DM_H
#define SBXFS_STORAGE_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	DMDEV_NAME_SIZE = 128,
	DMDEV_PARAMS_SIZE = 96, /* of one table line: two devices and words */
	DMDEV_TARGET_SIZE = 16,
};

struct dmdev_line {
	uint64_t start, sectors;
	const char *target;
	char params[DMDEV_PARAMS_SIZE];
};

struct dmdev_table {
	const struct dmdev_line *lines;
	size_t count;
	bool read_only;
};

enum dmdev_health {
	DMDEV_HEALTH_OK,       /* or the target has none to tell */
	DMDEV_HEALTH_OVERFLOW, /* the store is full: reads go on, writes fail */
	DMDEV_HEALTH_INVALID,  /* the store was given up */
};

struct dmdev_state {
	bool exists;
	bool live; /* has a table and is not suspended; what follows means something only when it exists */
	dev_t dev;
	int open_count;
	uint64_t sectors;                     /* that its table covers; of the first line only */
	char target[DMDEV_TARGET_SIZE];       /* of the first line */
	enum dmdev_health health;             /* of a snapshot, like the next two: */
	uint64_t used_sectors, total_sectors; /* of the store; both 0 unless the health is OK */
	char uuid[DMDEV_NAME_SIZE + 1];
};

/*
 * Calls that change something take the one lock round libdevmapper, and block: udev too is waited for where it
 * runs. dmdev_state() and dmdev_params() take microseconds and no lock.
 */

/**
 * dmdev_probe() - Can this machine make a device with this target?
 * @target: the kernel may load its module
 * @ret_version: major, minor, patch of the target
 * Return: 0; -ENOTSUP with what to do.
 */
int dmdev_probe(const char *target, unsigned ret_version[3], struct err *e);

/**
 * dmdev_create() - Make a device and start it
 * @name, @uuid: at most DMDEV_NAME_SIZE - 1 bytes of A-Z a-z 0-9 . _ -
 * Return: 0 and @ret_dev; -EBUSY the name or uuid is taken; another errno of the kernel; nothing is left on failure.
 */
int dmdev_create(const char *name, const char *uuid, const struct dmdev_table *table,
		 dev_t *ret_dev, struct err *e);

/* What the kernel knows of a name. Return: 0, also when it does not exist; -EIO. */
int dmdev_state(const char *name, struct dmdev_state *ret, struct err *e);

/**
 * dmdev_params() - What stands behind the target in the first line of a device's table
 * Return: 0; -ENXIO there is no such device; -EIO.
 */
int dmdev_params(const char *name, char *ret, size_t size, struct err *e);

/**
 * dmdev_swap() - Give a device another table while it is in use
 *
 * The old table's targets are gone when this returns. A table of the same length is the caller's care.
 * Return: 0; an errno of the kernel: the old table is in force still, or the device suspended; the call can be repeated.
 */
int dmdev_swap(const char *name, const struct dmdev_table *table, struct err *e);

/**
 * dmdev_remove() - Have a device removed as soon as nobody has it open
 *
 * Returns at once; the kernel does the work in the background where the device's node can be opened.
 * Return: 0, also when there is none; -EIO.
 */
int dmdev_remove(const char *name, struct err *e);

/**
 * dmdev_list() - The names of all devices that begin with a prefix
 * @ret_names: vector and strings in one allocation, NULL-terminated; free() it
 */
int dmdev_list(const char *prefix, char ***ret_names, struct err *e);

#endif
