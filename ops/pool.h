/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/pool.h - sandboxes that are ready before anybody asks: whole ones without a name, whose guest is loaded and stands
 *
 * How it works: one is a hidden sandbox of a version with memory, made by the ordinary steps up to its VM: its own serial, data, disk, network
 * slot and VMM, the guest loaded and its vCPUs never let on. Its record says that it is gone, so that what a crash leaves of it is removed.
 * A first start that could go on from the version's memory takes one over: data and console are given the sandbox's own
 * directory by a rename, and one write of the sandbox's journal says what it has now and under which serial that was made
 * (s->made_as; the slot has a serial of its own). That write is where it changes hands: before it everything is the hidden one's, after it the hidden one is a name
 * on disk and no more. Names in the kernel stay as they were made until the sandbox goes down to its data.
 *
 * They are made behind a start, by the thread of warm.c, for the version that was started last, and give way to whoever lacks
 * memory or disk. Memory and disk of each are promised as if it ran.
 */
#ifndef SBXFS_OPS_POOL_H
#define SBXFS_OPS_POOL_H

#include <stdbool.h>

#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

struct template_version;

/**
 * pool_take() - Have what a ready one has
 * @s: with the turn, at LEVEL_DEFINED; its version's memory fits it
 *
 * On success it is at LEVEL_VM with that memory (s->memory, s->warm): steps_up() lets it go on.
 * Return: 0; -ENOENT there is none; else it may hold something: steps_down() to LEVEL_DEFINED.
 */
int pool_take(struct sbx *s, const struct deadline *d, struct err *e);

/* Should there be more of this version? */
bool pool_lacks(const struct template_version *v);

/**
 * pool_add() - Make one more
 * @v: a version whose memory is ready
 * Context: the thread of warm.c; as long as a load takes.
 * Return: 0; negative errno, with nothing left.
 */
int pool_add(const struct template_version *v, const struct deadline *d, struct err *e);

/* Destroy those of a template, or all (NULL). Return: whether there were any. Context: waits for their teardown. */
bool pool_clear(const char *template_name);

/* settings may be others: those that are too many are destroyed. Context: waits for their teardown. */
void pool_trim(void);

/* How many are ready. */
unsigned pool_count(void);

#endif
