/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/command.h - one write(2) to a command file: its lines, run in order, and the reply */
#ifndef SBXFS_OPS_COMMAND_H
#define SBXFS_OPS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "ops/sbx.h"

struct template;
struct command_run; /* private to command.c */

/* Which file was written: it decides which verbs there are and how a line is read. */
enum command_target {
	COMMAND_SBX_CTL,      /* NAME/ctl */
	COMMAND_SBX_CONFIG,   /* NAME/config: the whole write is one change */
	COMMAND_HOST_CTL,     /* .ctl */
	COMMAND_TEMPLATE_CTL, /* .templates/NAME/ctl */
	COMMAND_TEMPLATE_CONFIG,
	COMMAND_TARGET_COUNT
};

struct command {
	enum command_target target;
	struct sbx *sbx; /* the caller's reference, held until done(); NULL for other targets */
	struct template *template; /* likewise */
	struct writer writer;
	bool nonblock; /* the descriptor is O_NONBLOCK: return once accepted */
	char *text; /* NUL-terminated, checked by command_check(); owned by the command; cut up */

	/* Called exactly once, from any thread, with no lock held, perhaps before command_submit() returns. @result: 0 or a
	 * negative errno for write(2); reply: "ok" or "error: …" and the output. */
	void (*done)(struct command *c, int result);
	void *arg;
	struct buf reply; /* owned by the command's owner after done() */
	struct command_run *run;
};

/**
 * command_check() - May this write be run? The rules for cut lines and control characters
 * @text: @len bytes, no NUL needed at the end
 * Return: 0; -EINVAL; -E2BIG. After either, the open file is to refuse every later write with -E2BIG when @ret_poison
 *         comes back true (a cut line), see sbxfs(5).
 */
int command_check(const char *text, size_t len, bool *ret_poison, struct err *e);

/* Run it. done() tells everything, also a refusal. */
void command_submit(struct command *c);

/**
 * command_cancel() - End it as its writer's signal asks
 * @why: EINTR
 * Context: any thread; between command_submit() and done() only, which the caller must see to with a lock of its own
 *          that done() takes as well.
 */
void command_cancel(struct command *c, int why);

#endif
