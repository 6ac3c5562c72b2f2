/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/warm.h - first starts that go on from a template's memory rather than boot, and how that memory is made
 *
 * A version's image of memory is made behind its first ordinary start: a hidden sandbox of the daemon's own is booted by the ordinary
 * steps, made small, stopped and saved, and destroyed. It has its serial, its promises and its record, which says from
 * the beginning that it is gone: what a crash leaves of it goes as that of any sandbox whose rmdir a crash cut short.
 * There is one at a time, it begins while nothing starts or resumes, and gives way to whoever lacks what it holds.
 */
#ifndef SBXFS_OPS_WARM_H
#define SBXFS_OPS_WARM_H

#include <stdbool.h>

#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"
#include "storage/volume.h"

struct template_version;

/* ---- a start ------------------------------------------------------------------------------------------------ */

enum {
	WARM_BOOT = 1, /* of warm_start(): nothing has come of it, boot */
};

/**
 * warm_start() - The way up of a first start, if its version has memory that fits
 * @s: with the turn, at LEVEL_DEFINED, pinned
 * Return: 0 it runs; WARM_BOOT: all is as before; negative errno: cancelled, too late, or the undoing failed (then s->level is above
 *         LEVEL_DEFINED).
 */
int warm_start(struct sbx *s, const struct deadline *d, struct err *e);

/* The step data of such a start: the data as they were when the memory was saved. As create(). */
int warm_data(struct sbx *s, const struct volume_spec *spec, const struct deadline *d,
	      struct err *e);

/* ---- making one --------------------------------------------------------------------------------------------- */

/* A first start has booted: its version may need an image. With the turn; does not wait. */
void warm_want(struct sbx *s);

/* A state has changed: while something starts or resumes no image is begun. Does not wait. */
void warm_note(enum sbx_state from, enum sbx_state to);

/**
 * warm_yield() - Somebody lacks memory or disk: give up what is being made
 * Context: waits until it is gone, a few seconds at most; not by the hidden sandbox itself.
 * Return: whether there was anything, so that it is worth trying again.
 */
bool warm_yield(void);

/* The VMM of a hidden sandbox has been started. */
void warm_be_nice(pid_t pid);

/* A template is being removed: no image of it is made any more. Return: 0; -ETIMEDOUT it does not end. */
int warm_forget(const char *template_name);

/* Is one being made of the template's current version, or about to? */
bool warm_is_making(const char *template_name);

/* settings may be others: sandboxes that are kept ready are made, or destroyed when too many. Context: waits for their teardown. */
void warm_heed(void);

/* No more are made; what is being made is undone. Before sandboxes are brought down. */
void warm_stop(void);

#endif
