/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/lifecycle.h - what changes a sandbox's state: start, stop, kill, freeze, thaw, destroy, a VM that ended
 *
 * All but the last three are called with the turn.
 */
#ifndef SBXFS_OPS_LIFECYCLE_H
#define SBXFS_OPS_LIFECYCLE_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

enum {
	LIFECYCLE_STOP_MS = 10000,   /* until a guest that will not shut down is ended by force */
	LIFECYCLE_PAUSE_MS = 300000, /* for a pause of which nobody says how long it may take */
};

/**
 * lifecycle_settle() - What an earlier teardown left of one in error is taken down to its data: nothing runs then
 * Return: 0, also when nothing was left; -EIO its record cannot be read; the step that will not go.
 */
int lifecycle_settle(struct sbx *s, struct err *e);

/* The lasting state that its level, and saved memory, stand for when nothing runs. */
enum sbx_state lifecycle_resting_state(const struct sbx *s);

/**
 * lifecycle_down() - Take down everything but the data
 * @reason: why it ended, for status
 * @rest:   SBX_PAUSED: what is saved of its memory stays if it fits the disk; SBX_STOPPED: it is given up; SBX_ERROR:
 *          likewise, and that is its state
 * Return: 0; the step that will not go, and the state is error; its record cannot be saved, and its memory stays.
 */
int lifecycle_down(struct sbx *s, const char *reason, enum sbx_state rest, struct err *e);

/**
 * lifecycle_start() - From created, stopped or error to running; undone on any failure
 * @d:   when to give up
 * @out: on a failure after the VM was started: the last console lines
 * Return: 0; -ENOENT template; -ENOMEM; -ENOSPC; -ENOTSUP; -ETIMEDOUT; -EIO; -ECANCELED.
 */
int lifecycle_start(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e);

/* Ask the guest to shut down until @d, then end it by force; disk kept. */
int lifecycle_stop(struct sbx *s, const struct deadline *d, struct err *e);

/* End it at once; disk kept. */
int lifecycle_kill(struct sbx *s, struct err *e);

int lifecycle_freeze(struct sbx *s, const struct deadline *d, struct err *e);
int lifecycle_thaw(struct sbx *s, const struct deadline *d, struct err *e);

/* Everything it has, for ever; then it is in no list any more. On a failure: state error, to be tried again. */
int lifecycle_destroy(struct sbx *s, struct err *e);

/* The VMM's process has ended: queue what is to be done about it. Any thread. */
void lifecycle_vm_ended(struct sbx *s);

/* Queue the teardown of a sandbox whose name is free already. Any thread. */
int lifecycle_destroy_later(struct sbx *s, struct err *e);

/* recover.c: queue the taking up of what an earlier daemon left running, or its undoing if it is not whole. Any thread. */
int lifecycle_recover_later(struct sbx *s, struct err *e);

/* recover.c: wait until that has been done, if it was queued. Return: 0; -ETIMEDOUT; -ECANCELED, …: what cancelled @d. */
int lifecycle_recover_wait(struct sbx *s, const struct deadline *d, struct err *e);

#endif
