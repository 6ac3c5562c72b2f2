/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/call.h - one verb on one object: what is queued for a line of a command */
#ifndef SBXFS_OPS_CALL_H
#define SBXFS_OPS_CALL_H

#include "base/buf.h"
#include "base/err.h"
#include "ops/command.h"
#include "ops/lane.h"
#include "ops/verbs.h"

/* A line taken apart; shared by the calls of a fan-out. */
struct line {
	atomic_uint refs;
	const struct verb *verb;
	char **words; /* owned; argv of the calls points into it */
	char *text;   /* owned copy of the line; rest points into it */
	char **argv;  /* words after the verb and the names, options taken out */
	int argc;
	int names; /* with a group's verb in .ctl: how many words in front are names */
	const char *rest;
	int64_t timeout_ms; /* -1: not given */
	bool async;
};

struct call {
	struct job job; /* first: jobs are cast back to calls */
	struct call *next;
	void (*done)(struct call *c);
	struct command *command;   /* NULL: nobody waits for it (async) */
	struct line *line;         /* a reference */
	struct sbx *sbx;           /* a reference, or NULL */
	struct template *template; /* a reference, or NULL */
	struct writer writer;
	char name[NAME_MAX_LEN + 12]; /* of the object, for the reply of a fan-out */
	uint64_t id;                  /* of a lifecycle job, shown in status */
	struct buf out;
	struct err err;
	int result;
};

/**
 * line_parse() - Take a command line apart and look its verb up
 * @target: which verbs there are; for COMMAND_HOST_CTL the sandboxes' verbs too, with the names still in argv
 * Return: 0 and @ret, one reference; -EINVAL; -ENOMEM.
 */
int line_parse(enum command_target target, const char *text, struct line **ret, struct err *e);
void line_put(struct line *l);
struct line *line_get(struct line *l);

/* A line that stands for a whole write to a config file. */
int line_config(enum command_target target, const char *text, struct line **ret, struct err *e);

/* A call of the line on an object; takes references. NULL when there is no memory or no descriptor. */
struct call *call_new(struct line *l, struct sbx *s, struct template *t, const struct writer *w);
void call_free(struct call *c);

/**
 * call_submit() - Queue it
 * @done: called once when this returned 0, perhaps before
 * @nowait: refuse with -EBUSY rather than queue, and check the state now
 * Return: 0; -EBUSY, -EINVAL, -ENOENT, … with c->err filled, and @done is not called.
 */
int call_submit(struct call *c, bool nowait, void (*done)(struct call *c));

/* A call whose end interests nobody but status and events: frees itself. */
void call_detached_done(struct call *c);

#endif
