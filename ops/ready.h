/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/ready.h - waiting for the guest's agent and handing it what it needs */
#ifndef SBXFS_OPS_READY_H
#define SBXFS_OPS_READY_H

#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

/**
 * ready_wait() - Wait until the agent answers, then give it token, clock, names and environment
 * @s: with the turn, its VM running
 *
 * Return: 0; -ETIMEDOUT no answer; -EIO the VM ended, or somebody else was first with a token; -ECANCELED.
 */
int ready_wait(struct sbx *s, const struct deadline *d, struct err *e);

/**
 * ready_resumed() - As ready_wait() for a guest that goes on from saved memory (s->memory, which still says how it was saved)
 * @s: with the turn, its VM thawed
 *
 * A guest of foreign memory gets a new token, name and machine id. The record knows the new token (s->token) before the guest
 * does, and s->memory.token stays: until this has returned 0 the guest may obey either. So memory that is saved anew after a failure
 * keeps foreign and token of the old, and the call can be repeated on it.
 * Return: as ready_wait(); -EIO also when the record cannot be written.
 */
int ready_resumed(struct sbx *s, const struct deadline *d, struct err *e);

/* As ready_wait() for a guest whose agent answered an earlier daemon: it has the token already. */
int ready_again(struct sbx *s, const struct deadline *d, struct err *e);

/* Append the last @lines lines that the guest wrote to its console since this start. */
void ready_console_tail(struct sbx *s, unsigned lines, struct buf *b);

#endif
