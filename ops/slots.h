/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots.h - who has which network slot: those of sandboxes, ready ones that nobody has yet, and those on their way down
 *
 * How it works: an index is taken before anything of the slot is made, and free again once its teardown was verified. A slot has a
 * serial of its own, so what is in the kernel and has a serial that is not in this table is nobody's. One thread makes slots
 * before they are asked for (settings.slots_ready) and takes those back that were released: one is made as good as
 * new and ready once more, the others go down, and what will not go stays dirty and is tried again, ever less often.
 */
#ifndef SBXFS_OPS_SLOTS_H
#define SBXFS_OPS_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"
#include "net/slot.h"

enum {
	SLOTS_MAX = 65536,
};

struct slots_counts {
	uint32_t used;  /* that sandboxes have, or that are being made for one */
	uint32_t ready; /* made, and nobody's */
	uint32_t dirty; /* released, and not down or ready again yet */
	uint32_t total;
};

/*
 * Once: how many there are, SLOTS_MAX at most. @first: the first to take, modulo that; daemons that begin at
 * different ones do not try for the same addresses.
 */
void slots_init(uint32_t count, uint32_t first);

/* Take a free index, the one after the last taken, so that an index rests before it comes again. Return: 0; -ENOSPC. */
int slots_take(uint32_t serial, uint32_t *ret_index, struct err *e);

/* Take this one, in recovery. Return: 0; -EALREADY it is this very slot that has it; -EBUSY another, or there is no such index. */
int slots_take_this(uint32_t index, uint32_t serial);

/* Give one back: only after its teardown was verified. */
void slots_put(uint32_t index);

void slots_count(struct slots_counts *ret);

/* Start the thread: with the driver chosen, after what earlier slots there are has been taken. Return: 0; -ENOMEM, -EAGAIN, …. */
int slots_start(struct err *e);

/**
 * slots_stop() - Take down what is ready and what was released, and end the thread
 *
 * Nobody gets or releases a slot any more. Takes 20 seconds at most beside what is under way, which may take 15; what would not go by then
 * is logged, and is the next start's.
 */
void slots_stop(void);

/**
 * slots_get() - A slot as up() leaves it: a ready one at once, otherwise one is made
 *
 * What fails for a moment is tried again: another index when one is still in the kernel's hands, twice with a pause for what may
 * pass (-EIO, -EAGAIN, -ENOBUFS, …). When all are in use but some are on their way down those are waited for.
 * Owner:  @ret is the caller's until slots_release(); a failed call leaves nothing.
 * Return: 0; -ENOSPC; -ECANCELED, -ETIMEDOUT by @d; what the driver says.
 */
int slots_get(const struct deadline *d, struct slot *ret, struct err *e);

/**
 * slots_release() - Give a slot back, whole or half, from slots_get() or with only index and serial known
 * @s: its VM has ended; it and its descriptors are the thread's, and it is none afterwards
 * Context: does not block.
 */
void slots_release(struct slot *s);

/* No slot: what a sandbox without one has. */
void slots_none(struct slot *s);

/* What is dirty is tried again now rather than later. */
void slots_retry(void);

/* settings.slots_ready may be another: ready ones that are too many go, and those that lack are made, by the thread. Does not block. */
void slots_heed(void);

/**
 * slots_sweep() - Remove from the kernel what bears our names and is no slot of this table
 * Context: beside all others; blocks as long as the driver's sweep().
 * Return: number removed; negative errno.
 */
int slots_sweep(struct err *e);

#endif
