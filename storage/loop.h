/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/loop.h - loop devices that go by themselves with their last user; for storage/ only */
#ifndef SBXFS_STORAGE_LOOP_H
#define SBXFS_STORAGE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum loop_mode { LOOP_READ_ONLY, LOOP_DIRECT };

/**
 * loop_attach() - Put a loop device over a file
 * @file_fd:   open for reading, and for writing too if wanted; the loop device keeps its open file, lock included
 * @label:     shown by LOOP_GET_STATUS64; cut at 63 bytes
 * @mode:      LOOP_READ_ONLY, or LOOP_DIRECT: writable, with direct I/O where the file system can
 * @ret_fd:    the device, open: it is freed when this and all other users are closed
 * @ret_dev:   its number
 * Return: 0; -ENOTSUP without loop devices; -EIO, …
 */
int loop_attach(int file_fd, const char *label, enum loop_mode mode, int *ret_fd, dev_t *ret_dev,
		struct err *e);

/**
 * loop_find() - The writable device over a file that loop_attach() made, in this process or an earlier one
 * @ret_fd, @ret_dev: as for loop_attach()
 * Return: 0; -ENOENT there is none.
 */
int loop_find(int file_fd, const char *label, int *ret_fd, dev_t *ret_dev);

/* Open a block device by its number: a loop device stays for as long. Return: 0; -ENODEV; -EIO, …. */
int loop_open(dev_t dev, int *ret_fd, struct err *e);

/* Make an open device as long as its file has become. */
int loop_enlarge(int fd, struct err *e);

bool loop_is_over(int fd, int file_fd); /* is this file what the device shows? */

/* A template's image as a read-only loop device, shared by all that need it. */
struct loop_base;

/**
 * loop_base_get() - The shared device of an image: this process's, one left by an earlier process, or a new one
 * @file_fd:  the image, open for reading; borrowed
 * @label:    marks the devices that may be shared
 * @ret:      a reference, given back with loop_base_put()
 */
int loop_base_get(int file_fd, const char *label, struct loop_base **ret, struct err *e);

/* The same for a device that is all zeroes, LOOP_ZERO_BYTES long; shared within this process. */
int loop_zero_get(const char *label, struct loop_base **ret, struct err *e);

void loop_base_put(struct loop_base *b); /* takes NULL */

static const uint64_t LOOP_ZERO_BYTES = UINT64_C(1) << 44; /* 16 TiB, a hole */

dev_t loop_base_dev(const struct loop_base *b);

#endif
