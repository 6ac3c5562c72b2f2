/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/volume.h - one face for every store: a template's image and a sandbox's own changes over it
 *
 * A volume has two lives. Its data (a copy-on-write file in the sandbox's directory) is made by create()
 * at the first start and removed by destroy() alone. While the VM exists it is also attached: up() turns
 * base and data into something that a VMM can open, down() takes that away and keeps the data.
 * Names in the kernel carry the instance and the serial, so that a sweep finds what is ours and only that.
 */
#ifndef SBXFS_STORAGE_VOLUME_H
#define SBXFS_STORAGE_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"

struct volume_spec {
	const char *instance; /* 4 characters a-z2-7 of this state directory */
	uint32_t serial;      /* of the sandbox */
	int dir_fd;       /* the sandbox's directory; the data's files are made here; borrowed */
	const char *dir;  /* its absolute path: for QEMU and for backing-file names */
	const char *base; /* absolute path of the template's root image; never written */
	uint64_t
		size_bytes; /* of the disk that the guest sees; at least the base's length, a multiple of 1 MiB */
};

enum volume_format { VOLUME_RAW, VOLUME_QCOW2 };

enum volume_health {
	VOLUME_WELL,   /* or not attached */
	VOLUME_FULL,   /* there is no room for what the guest writes; nothing is lost: grow() */
	VOLUME_BROKEN, /* the kernel has given the store up, or its file is gone */
};

struct volume_usage {
	uint64_t used_bytes;  /* allocated on the host's disk for this sandbox's changes */
	uint64_t total_bytes; /* that the data can grow to */
	enum volume_health health;
};

struct volume; /* an attached volume */

struct volume_driver {
	const char *name; /* "dm", "file" */

	/**
	 * probe() - Can this store work here?
	 * @state_dir: where sandboxes' directories lie
	 * @why:       one line for .status: what was found, such as "qcow2 overlays (no reflinks on ext4)"
	 * Return: 0; -ENOTSUP with what is missing.
	 */
	int (*probe)(const char *state_dir, char *why, size_t why_size, struct err *e);

	/**
	 * create() - Make the data, durably
	 * Return: 0, also when it is already there and whole; -ENOSPC; -EIO, with nothing left of a new one.
	 */
	int (*create)(const struct volume_spec *s, const struct deadline *d, struct err *e);

	/* Remove the data for ever. Return: 0, also when there is none; -EBUSY while attached. */
	int (*destroy)(const struct volume_spec *s, struct err *e);

	/**
	 * up() - Attach: the volume can be opened through volume_path()
	 * Context: blocks (the dm driver: under its one lock).
	 * Owner:  @ret is the caller's until down(); a failed call leaves nothing attached.
	 * Return: 0; -EBUSY data in use elsewhere; -EBADMSG data damaged (the reason says how); -ENOENT no data; -EIO.
	 */
	int (*up)(const struct volume_spec *s, const struct deadline *d, struct volume **ret,
		  struct err *e);

	/**
	 * down() - Detach, keep the data
	 * @v: from up(), freed when 0 is returned and else still the caller's, to try again with; NULL after a crash
	 *     of the daemon: found by its names
	 * Return: 0, also when nothing is attached; -EBUSY when something holds it.
	 */
	int (*down)(const struct volume_spec *s, struct volume *v, const struct deadline *d,
		    struct err *e);

	/* Is it attached, as up() left it? Asked in recovery. */
	bool (*alive)(const struct volume_spec *s);

	/**
	 * usage() - What the changes take, and whether the store is well; works attached or not
	 * @s: dir_fd, instance and serial are enough; size_bytes 0: total_bytes may be 0
	 * Context: any thread, microseconds: asked for every running sandbox several times a second.
	 * Return: 0; -ENOENT.
	 */
	int (*usage)(const struct volume_spec *s, struct volume_usage *ret);

	/**
	 * grow() - See that an attached volume has room ahead of its guest
	 * @reserve_bytes: what has to stay free on the host's file system
	 *
	 * Context: blocks for the disk; any thread that keeps down() away; needs no handle, works after a crash of the
	 *          daemon too. The guest may run, unless usage() says FULL: then its VMM must have stopped on that, the device is
	 *          mended, and the guest sees no error when it goes on.
	 * Return: 0, also when there was room enough; -ENOSPC the host has none, nothing changed; -EIO, -EBADMSG broken.
	 */
	int (*grow)(const struct volume_spec *s, uint64_t reserve_bytes, const struct deadline *d,
		    struct err *e);

	/**
	 * copy() - Copy the data, durably, as the data of another directory (a snapshot, or what a rollback puts in place)
	 * @to_fd: an empty directory; the data gets its usual names in it; borrowed
	 *
	 * Context: blocks; nobody may write meanwhile: not attached, or the VMM's vCPUs stopped and its disk flushed.
	 * Return: 0; -ENOENT no data; -ENOSPC; -ECANCELED; -EBADMSG damaged; -EIO. What is left in @to_fd is the caller's to remove.
	 */
	int (*copy)(const struct volume_spec *s, int to_fd, const struct deadline *d,
		    struct err *e);

	/**
	 * flatten() - Write the whole disk as a raw image: the base with the changes over it, holes kept
	 * @out_fd: open for reading and writing, empty; becomes size_bytes long; not synced here; borrowed
	 * Context: as copy(); reads the store's own file, not the device.
	 * Return: as copy().
	 */
	int (*flatten)(const struct volume_spec *s, int out_fd, const struct deadline *d,
		       struct err *e);

	/**
	 * adopt_data() - Make data that came from elsewhere (an import) this directory's, after checking all of it
	 *
	 * The spec's directory holds the one file that copy() would have made, perhaps written by another host: it names our
	 * base afterwards, and nothing in it leads out of the disk or to another file.
	 * Return: 0, durably; -EBADMSG with what is wrong with it.
	 */
	int (*adopt_data)(const struct volume_spec *s, struct err *e);

	/* The name of the one file that holds the data in a directory; NULL: there is none. Static. */
	const char *(*data_name)(int dir_fd);

	/**
	 * sweep() - Detach what bears this instance's name and whose serial is not wanted
	 * @wanted: asked for each; true: leave it alone
	 * Return: number removed, or a negative errno with the first failure.
	 */
	int (*sweep)(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
		     struct err *e);
};

/* What a VMM opens, and how. Borrowed, valid until down(). */
const char *volume_path(const struct volume *v);
enum volume_format volume_format(const struct volume *v);

/* All drivers, best first, NULL-terminated. */
extern const struct volume_driver *const volume_drivers[];

/* The driver of that name, as records have it; NULL: there is none. */
const struct volume_driver *volume_driver_named(const char *name);

#endif
