/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/verbs.h - the verb tables: what may be written, when, and what runs
 *
 * One row a verb. The rows serve ctl, .ctl and the templates' ctl, `help` and the check of the manual.
 */
#ifndef SBXFS_OPS_VERBS_H
#define SBXFS_OPS_VERBS_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "ops/command.h"
#include "ops/lane.h"
#include "ops/sbx.h"

enum verb_flags {
	VERB_RAW = 1u << 0,   /* the rest of the line is one argument, not split or unquoted */
	VERB_GUEST = 1u << 1, /* talks to the guest: EHOSTDOWN unless running, EBUSY when frozen */
	VERB_HIDDEN =
		1u
		<< 2, /* not a word that can be written: the way of another file into the queue */
	VERB_PAIRS = 1u << 4,    /* its arguments are KEY=VALUE words */
	VERB_GUARDED = 1u << 3,  /* EPERM while protect=yes */
	VERB_GROUP = 1u << 6,    /* its first argument is a verb of another table */
	VERB_SNAPSHOT = 1u << 7, /* one of those of `snapshot` */
	VERB_DECIDES = 1u << 12, /* whether it is to run: a planned restart is forgotten */
	VERB_EGRESS = 1u << 8,   /* one of those of net/egress */
	VERB_PORTS = 1u << 9,    /* one of those of net/ports */
	VERB_BARE = 1u << 10,    /* its name may be left out before what begins with a digit */
	VERB_UNSEEN = 1u << 5,   /* not shown as the sandbox's job: that stays the one before */
};

/* One line being run: what a verb's function gets. */
struct verb_call {
	struct sbx *sbx; /* NULL for .ctl and templates */
	struct template *template;
	const struct verb *verb;
	const struct writer *writer;
	struct job *job; /* for further deadlines: its cancel descriptor */
	int argc;        /* words after the verb, key=value options taken out */
	char **argv;
	const char *rest;   /* VERB_RAW: the rest of the line */
	int64_t timeout_ms; /* of timeout=; -1: not given */
	struct buf *out;    /* what follows "ok" in the reply */
};

struct verb {
	const char *name, *args, *help; /* args as in a synopsis: "[timeout=SEC]" */
	enum job_kind kind;
	unsigned flags;
	int min_args, max_args; /* -1: any number */
	bool timeout;           /* takes timeout=SEC */
	unsigned from;          /* IN(…) of the states in which it runs */
	unsigned idle;          /* states in which there is nothing to do: ok */
	unsigned busy;          /* states in which it is EBUSY; all others are EINVAL */
	int (*run)(struct verb_call *c, struct err *e);
};

/* The rows that a target knows, ended by a row without a name. */
const struct verb *verb_table(enum command_target target);
const struct verb *verb_find(enum command_target target, const char *name);
const struct verb *verb_find_hidden(enum command_target target,
				    const char *name); /* VERB_HIDDEN ones too */

/* The verb whose name may be left out (VERB_BARE); NULL: there is none. */
const struct verb *verb_find_bare(enum command_target target);

/* The verb of a group's table (VERB_GROUP); NULL: there is none of that name. */
const struct verb *verb_find_below(const struct verb *group, const char *name);

/* What status and events show before its name: "" for start, "snapshot-" for create of snapshots. Static. */
const char *verb_prefix(const struct verb *v);

/* Is it one of the sandboxes' own (which .ctl takes with names before its arguments)? */
bool verb_is_for_sbx(const struct verb *v);

/* How long a verb may take: what was given, else @fallback_ms; its cancel descriptor too. */
struct deadline verb_deadline(const struct verb_call *c, int64_t fallback_ms);

/* May the verb run in @state? 0 run it; 1 nothing to do; -EBUSY, -EINVAL, -EHOSTDOWN with what is allowed in @e. */
int verb_check_state(const struct verb *v, enum sbx_state state, struct err *e);

/* The text of `help` about a target's verbs. */
void verb_help(enum command_target target, struct buf *b);

#endif
