/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/serial.h - numbers that are never used twice in one state directory */
#ifndef SBXFS_OPS_SERIAL_H
#define SBXFS_OPS_SERIAL_H

#include <stdint.h>

#include "base/err.h"
#include "ops/event-log.h"

/* At start. Return: 0; -EBADMSG the counter's file is damaged; -EIO. */
int serial_init(struct err *e);

/* This one is in use: later ones are higher. At start, should the counter's file have been lost. */
void serial_seen(uint32_t serial);

/* The next one, for a sandbox or a template. Return: 0; -ENOSPC, -EIO when no more could be set aside. */
int serial_take(uint32_t *ret_serial, struct err *e);

/**
 * serial_of_events() - The number of this daemon's first event: no earlier one's had so high a one
 * @known: what the log of events knows: with its word for it numbers go on, else they jump
 * Context: at start.
 * Return: 0; -EBADMSG; -EIO, -ENOSPC: @ret_first is set, and the next daemon may begin there too.
 */
int serial_of_events(const struct event_log_numbers *known, uint64_t *ret_first, struct err *e);

/* A file of the state directory with one number. Return: 0 and @ret; -ENOENT there is none, and @ret is left; -EBADMSG; -EIO. */
int serial_file_read(const char *file, uint64_t max, uint64_t *ret, struct err *e);

/* The same, durably. Return: 0; as file_replace(). */
int serial_file_write(const char *file, uint64_t n, struct err *e);

#endif
