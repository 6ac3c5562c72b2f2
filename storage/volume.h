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

struct volume_usage {
	uint64_t used_bytes;  /* allocated on the host's disk for this sandbox's changes */
	uint64_t total_bytes; /* that the data can grow to */
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

	/* What the changes take; works attached or not. Return: 0; -ENOENT. */
	int (*usage)(const struct volume_spec *s, struct volume_usage *ret);

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

#endif
