/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/pause.h - memory saved and gone on with: pause and resume
 *
 * The way down: connections drained, the guest made small, vCPUs stopped, memory and devices saved to memory.N, the record names it (from
 * here on it is paused), VM, network and disk taken down. What fails before the record: it goes on as it was. What fails
 * after: state error, data and memory kept, resume and start both possible.
 * The way up is that of a start, but for the step vm, which loads, and the step agent, which brings clock, random numbers
 * and names up to date; then the record names no memory any more.
 */
#ifndef SBXFS_OPS_PAUSE_H
#define SBXFS_OPS_PAUSE_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

/**
 * pause_down() - From running or frozen to paused
 * @s:   with the turn
 * @out: what the guest would not do beforehand
 * Return: 0; -ENOSPC, -ENOTSUP, -ETIMEDOUT, -ECANCELED, -EIO: it goes on as it was, unless the state is error now.
 */
int pause_down(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e);

/**
 * pause_up() - From saved memory (s->memory) to running
 * @s:   with the turn; paused, or in error with saved memory
 * @out: console lines of a guest that did not answer
 * Return: 0; -EINVAL it has no memory that fits; -ENOTSUP it is not for this host's VMM; -ENOMEM, -ENOSPC, -ETIMEDOUT, -EIO, -ECANCELED.
 *         A failure leaves it as it was. If its guest had begun to write by then, its memory has been saved anew.
 */
int pause_up(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e);

/* To running: pause_up() if it is paused, else lifecycle_start(). */
int pause_up_or_start(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e);

/**
 * pause_again() - A resume has failed after its guest had begun to write: save its memory anew, best effort
 * @s: with the turn, its VM open
 * Return: s->memory is what fits its disk now, durably; or it is the old, and memory_judge() tells whether that still does.
 */
void pause_again(struct sbx *s);

/* An earlier daemon died while it paused this one, which goes on: connections and memory are given back. With the turn. */
void pause_let_on(struct sbx *s);

#endif
