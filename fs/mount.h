/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/mount.h - the mount point: what is there, and how it is mounted */
#ifndef SBXFS_FS_MOUNT_H
#define SBXFS_FS_MOUNT_H

#include "base/buf.h"
#include "base/err.h"

/**
 * mount_prepare() - Make sure that @path can be mounted on
 * @ret_path: its absolute path without links; the caller frees it
 *
 * A mount that a killed daemon left there is removed first.
 * Return: 0; -EBUSY a live sbxfs is there; -ENOENT, -ENOTDIR, …
 */
int mount_prepare(const char *path, char **ret_path, struct err *e);

/* The options for libfuse: the user's, then those that always hold. */
void mount_options(const char *wanted, struct buf *b);

/* The mount of a daemon that is to be taken over. Return: 0 and @ret_path, absolute, which the caller frees; -ENOENT there is none. */
int mount_find(const char *path, char **ret_path, struct err *e);

/* Take the mount away, whoever made it. Return: 0; negative errno. */
int mount_remove(const char *path, struct err *e);

#endif
