/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots.h - which network slots are taken */
#ifndef SBXFS_OPS_SLOTS_H
#define SBXFS_OPS_SLOTS_H

#include <stdint.h>

#include "base/err.h"

enum {
	SLOTS_MAX = 65536,
};

/*
 * Once: how many there are, SLOTS_MAX at most. @first: the first to take, modulo that; daemons that begin at
 * different ones do not try for the same addresses.
 */
void slots_init(uint32_t count, uint32_t first);

/* Take a free one, the one after the last taken, so that an index rests before it comes again. Return: 0; -ENOSPC. */
int slots_take(uint32_t *ret_index, struct err *e);

/* Take this one, in recovery. Return: 0; -EBUSY. */
int slots_take_this(uint32_t index);

/* Give one back: only after its teardown was verified. */
void slots_put(uint32_t index);

uint32_t slots_used(void);
uint32_t slots_total(void);

#endif
