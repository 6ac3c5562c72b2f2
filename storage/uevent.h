/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/uevent.h - waiting until devices come or go; for storage/ only */
#ifndef SBXFS_STORAGE_UEVENT_H
#define SBXFS_STORAGE_UEVENT_H

#include "base/deadline.h"

/* Kernel messages about devices from now on. Return: a descriptor to close, -1 where there are none. */
int uevent_open(void);

/**
 * uevent_wait() - Sleep until a device came or went somewhere, but not long
 * @fd: from uevent_open(), also -1
 *
 * The caller asks again for what it waits for: the last steps of a removal come shortly after its message,
 * so a call ends after UEVENT_RECHECK_MS in any case.
 * Return: 0; -ETIMEDOUT when @d is over; -ECANCELED.
 */
int uevent_wait(int fd, const struct deadline *d);

enum { UEVENT_RECHECK_MS = 10 };

#endif
