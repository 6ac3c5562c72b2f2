/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/serial.h - numbers that are never used twice in one state directory */
#ifndef SBXFS_OPS_SERIAL_H
#define SBXFS_OPS_SERIAL_H

#include <stdint.h>

#include "base/err.h"

/* At start. Return: 0; -EBADMSG the counter's file is damaged; -EIO. */
int serial_init(struct err *e);

/* This one is in use: later ones are higher. At start, should the counter's file have been lost. */
void serial_seen(uint32_t serial);

/* The next one, for a sandbox or a template. Return: 0; -ENOSPC, -EIO when no more could be set aside. */
int serial_take(uint32_t *ret_serial, struct err *e);

/* The number of this daemon's first event: no earlier one's had so high a one. At start. Return: 0; -EBADMSG; -EIO, -ENOSPC: @ret_first
 * is set, and the next daemon may begin there too. */
int serial_of_events(uint64_t *ret_first, struct err *e);

#endif
