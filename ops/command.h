/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/command.h - one write(2) to a command file: its lines, run in order, and the reply */
#ifndef SBXFS_OPS_COMMAND_H
#define SBXFS_OPS_COMMAND_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "ops/sbx.h"

struct template;
struct call;

/* Which file was written: it decides which verbs there are and how a line is read. */
enum command_target {
	COMMAND_SBX_CTL,      /* NAME/ctl */
	COMMAND_SBX_CONFIG,   /* NAME/config: the whole write is one change */
	COMMAND_SBX_SNAPSHOT, /* NAME/snapshot */
	COMMAND_SBX_EGRESS,   /* NAME/net/egress */
	COMMAND_SBX_PORTS,    /* NAME/net/ports */
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
	 * negative errno for write(2); reply: "ok" or "error: …" and the output. May free the command. */
	void (*done)(struct command *c, int result);
	void *arg;
	struct buf reply; /* the caller's after done() */

	/* command.c's own */
	pthread_mutex_t lock; /* calls, pending, cancelled */
	struct call *calls;   /* of the line that runs */
	unsigned pending;     /* of them not over, and one for whoever walks them */
	int cancelled;        /* 0, or the errno that it is to end with */
	char *cursor;
	unsigned line, lines; /* number of the line that runs; how many there are */
	bool fan_out;         /* the line runs on several sandboxes: a reply line each */
	bool active;          /* between command_submit() and the end */
	struct buf out;       /* output of the lines that ran */
};

/**
 * command_check() - May this write be run? The rules for cut lines and control characters
 * @text: @len bytes, no NUL needed at the end
 * Return: 0; -EINVAL, -E2BIG: nothing of it may run, and the open file is to refuse every later write with -E2BIG when
 *         @ret_cut comes back true.
 */
int command_check(const char *text, size_t len, bool *ret_cut, struct err *e);

/* Run it. done() tells everything, also a refusal. */
void command_submit(struct command *c);

/**
 * command_cancel() - End it as its writer's signal asks
 * @why: EINTR
 * Context: any thread; between command_submit() and done() only, which the caller must see to.
 */
void command_cancel(struct command *c, int why);

#endif
