/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/steps.h - the steps from a record to a running guest, and the one walk up and down them
 *
 * The walk writes the level to the journal before a step runs, so each step's own down() covers a crash
 * inside its up(). Nothing but a step makes or removes anything outside this process.
 */
#ifndef SBXFS_OPS_STEPS_H
#define SBXFS_OPS_STEPS_H

#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

struct step {
	const char *name; /* written to logs and fault points: never renamed, never reused */
	int (*up)(struct sbx *s, const struct deadline *d, struct err *e);
	/* Gone already is success; safe after half an up(), and in a new process that has only the journal. */
	int (*down)(struct sbx *s, const struct deadline *d, struct err *e);
	/* Is what an earlier daemon left whole? Then it is taken up again. Asked in recovery only. */
	int (*adopt)(struct sbx *s, const struct deadline *d, struct err *e);
};

/* Levels: how many steps may hold something. */
enum {
	LEVEL_NONE = 0,
	LEVEL_DEFINED = 1, /* the record */
	LEVEL_DATA = 2,    /* and the disk's data */
	LEVEL_DISK = 3,    /* attached */
	LEVEL_NETWORK = 4,
	LEVEL_VM = 5,
	LEVEL_RUNNING = 6, /* and a guest agent that obeys us */
	LEVEL_COUNT = LEVEL_RUNNING
};

/* steps[L] goes from level L to L + 1. */
extern const struct step steps[LEVEL_COUNT];

/**
 * steps_up() - Walk up to @level; on an error walk back down to where it began
 * @s: with the turn
 * @d: ends the walk; the way back is not cancelled
 * Return: 0; the first error. Then s->level above the level that it had says that the undoing failed too.
 */
int steps_up(struct sbx *s, unsigned level, const struct deadline *d, struct err *e);

/**
 * steps_down() - Walk down to @level
 * Return: 0; the first failure, with the step's name in @e and s->level above @level: it can be tried again.
 */
int steps_down(struct sbx *s, unsigned level, struct err *e);

/**
 * steps_adopt() - Take up all that the journal says is held
 * @s: with the turn, s->level as the journal has it
 * Return: 0; the first step that is not whole, in @e: then steps_down() is what is left to do.
 */
int steps_adopt(struct sbx *s, const struct deadline *d, struct err *e);

/* Can its saved memory go on here, as far as can be told without a VMM? Return: 0; as vm_driver.check_saved(). */
int steps_check_saved(struct sbx *s, struct err *e);

/* What it starts from, looked up once a turn: s->version. Return: 0; -ENOENT with how to make it. */
int sbx_load_version(struct sbx *s, struct err *e);
void sbx_drop_version(struct sbx *s); /* the next load looks it up anew */

#endif
