/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/policy.h - what a sandbox's settings have the daemon do by itself: restart, idle and age limits, health, autostart
 *
 * One thread knows when the next of these falls due and sleeps until then; what falls due becomes a job on the sandbox's lane, so one
 * that is slow delays no other. The job has the turn and looks again whether it still is due.
 */
#ifndef SBXFS_OPS_POLICY_H
#define SBXFS_OPS_POLICY_H

#include "base/err.h"
#include "ops/sbx.h"

struct verb_call;

/* Start the thread; after the records are loaded. Return: 0; negative errno. */
int policy_init(struct err *e);
void policy_stop(void); /* nothing falls due any more */

/* A setting, a state or a plan of it has changed: look again. Any thread, without locks; does not block. */
void policy_kick(struct sbx *s);

/* Queue the start of each sandbox that is to run since the daemon does: autostart=yes. Once, after recovery was queued. */
void policy_autostart(void);

/**
 * policy_ended() - It has ended by itself, and is down: plan its restart if it is to have one
 * @crashed: not because its guest wanted to
 * Context: with the turn.
 */
void policy_ended(struct sbx *s, bool crashed);

/* A job of one of these kinds has run: it may be queued again. Any thread. */
void policy_done(struct sbx *s, unsigned what);

/* Somebody decides about it: a restart that was planned is not to come. Any thread. */
void policy_forget_restart(struct sbx *s);

/* Would it? */
bool policy_wakes(struct sbx *s);

/**
 * policy_wake() - For a command that needs its guest: start or resume it if it rests and auto_resume=yes
 * @c: the command's call
 * Return: 0, also when there was nothing to do; what the start failed with.
 */
int policy_wake(struct verb_call *c, struct err *e);

#endif
