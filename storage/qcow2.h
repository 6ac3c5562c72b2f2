/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/qcow2.h - overlays in QEMU's qcow2 format, written in process; for storage/ only */
#ifndef SBXFS_STORAGE_QCOW2_H
#define SBXFS_STORAGE_QCOW2_H

#include <stdint.h>

#include "base/err.h"

/**
 * qcow2_create() - Write an empty overlay over a raw image
 * @fd:         open for writing, empty; not fsynced here; borrowed
 * @base:       absolute path of the image
 * @disk_bytes: that the guest sees, a multiple of 512
 * Return: 0; -ENAMETOOLONG, -EFBIG what the format cannot say; -ENOSPC, -EIO.
 */
int qcow2_create(int fd, const char *base, uint64_t disk_bytes, struct err *e);

/**
 * qcow2_check() - Is this an overlay as qcow2_create() wrote it, over this base?
 * @ret_disk_bytes: the disk that it describes
 * Context: reads the header only.
 * Return: 0; -EBADMSG with what differs; -EIO.
 */
int qcow2_check(int fd, const char *base, uint64_t *ret_disk_bytes, struct err *e);

/* Make the disk larger. Context: nobody may have the image open. Return: 0, durably; -EFBIG; -EIO. */
int qcow2_grow(int fd, uint64_t disk_bytes, struct err *e);

#endif
