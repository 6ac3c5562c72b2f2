/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/nested.h - running a sandbox's command from inside another job, and waiting for it */
#ifndef SBXFS_OPS_NESTED_H
#define SBXFS_OPS_NESTED_H

#include "base/err.h"
#include "ops/sbx.h"
#include "ops/verbs.h"

/**
 * nested_run() - Run one line on a sandbox with its turn, on behalf of a call
 * @c: whose writer, output and cancellation count
 * Context: a worker that has not the turn of @s.
 * Return: what the verb returned, @e filled on failure.
 */
int nested_run(struct sbx *s, const char *text, struct verb_call *c, struct err *e);

/**
 * nested_all() - Run one line on every sandbox, side by side, and wait for all
 * @states: only on those in one of them
 * @fine:   a failure that leaves a sandbox in one of these is none
 * Return: 0; the first failure by serial.
 */
int nested_all(const char *text, unsigned states, unsigned fine, struct err *e);

/**
 * nested_turn() - Run a function with the turn of another object's lane, and wait for it
 * @run: gets a deadline of the same time that is over when the job is cancelled
 * Context: a worker that has not that turn; what has it never waits for a job of the caller's kind.
 * Return: what @run returned, @e filled on failure; -ENOENT the object is going away; -ECANCELED; -ETIMEDOUT before its turn.
 */
int nested_turn(struct lane *l, int (*run)(void *arg, const struct deadline *d, struct err *e),
		void *arg, const struct deadline *d, struct err *e);

/* One of several lanes whose turn is wanted. */
struct nested_turn {
	struct lane *lane;
	void *arg;  /* for its run() */
	int result; /* what that returned, or why it did not begin */
	struct err err;
};

/**
 * nested_turns() - As nested_turn() on each of several lanes, side by side, and wait for all
 *
 * When one fails the others are cancelled.
 * Return: 0 when all did; else the failure that was first in the list and not a consequence of another's.
 */
int nested_turns(struct nested_turn *wanted, unsigned count,
		 int (*run)(void *arg, const struct deadline *d, struct err *e),
		 const struct deadline *d, struct err *e);

#endif
