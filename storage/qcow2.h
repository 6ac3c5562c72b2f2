/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/qcow2.h - overlays in QEMU's qcow2 format, written and read in process; for storage/ only */
#ifndef SBXFS_STORAGE_QCOW2_H
#define SBXFS_STORAGE_QCOW2_H

#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"

enum { QCOW2_MIN_BYTES = 4 << 17 }; /* no overlay is shorter */

/**
 * qcow2_create() - Write an empty overlay over a raw image
 * @fd:         open for writing, empty; not fsynced here; borrowed
 * @base:       absolute path of the image
 * @disk_bytes: that the guest sees, a multiple of 1 MiB
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

/**
 * qcow2_lay() - Lay the overlay's changes over a raw image that holds the base already
 * @fd:     open for reading; nobody writes to it meanwhile; borrowed
 * @out_fd: as long as the disk, open for reading and writing; -1: only check the tables that lead to the content
 * @d:      NULL: nothing calls it off
 *
 * Context: trusts nothing in the file; memory and time are bounded by its length and what is allocated of it.
 * Return: 0; -EBADMSG with what is wrong; -ENOSPC; -ECANCELED; -ENOMEM; -EIO.
 */
int qcow2_lay(int fd, int out_fd, const struct deadline *d, struct err *e);

/**
 * qcow2_verify() - Check an overlay from elsewhere in full, before a VMM writes to it
 *
 * As qcow2_lay() does, and that nothing is at two places at once, tables included, and that what is in use
 * is counted as in use, so that the VMM puts nothing else there.
 * Return: as qcow2_lay().
 */
int qcow2_verify(int fd, uint64_t *ret_disk_bytes, struct err *e);

/**
 * qcow2_rebase() - Give an overlay that qcow2_verify() found good a header of our own, over this base
 * @fd: open for reading and writing; nobody else has it open; borrowed
 * Return: 0, durably; -ENAMETOOLONG; -EBADMSG; -ENOSPC, -EIO.
 */
int qcow2_rebase(int fd, const char *base, struct err *e);

#endif
