/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/history-model.h - what a sandbox may do, as the manual says it: the model that histories are held to
 *
 * A table of verbs, from which states they lead where with which answer; and beside it what may go wrong: being cancelled,
 * interrupted, out of time, or losing the virtual machine, and what state that leaves. It knows nothing of the daemon.
 */
#ifndef SBXFS_TESTS_HISTORY_MODEL_H
#define SBXFS_TESTS_HISTORY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { CREATED, RUNNING, FROZEN, PAUSED, STOPPED, ERROR, GONE, STATE_COUNT };
enum { NONE, EMPTY, DISK, FULL, KIND_COUNT }; /* a snapshot; EMPTY: of one that had no disk yet */

static const char *const state_words[STATE_COUNT] = {"created", "running", "frozen", "paused",
						     "stopped", "error",   "gone"};
static const char *const kind_words[KIND_COUNT] = {"none", "empty", "disk", "full"};

/* A sandbox at rest, with its two snapshots. */
struct model {
	uint8_t state, snapshot[2];
};

enum verb_kind { LANE, OVERTAKING, ASIDE, ACCIDENT };
enum { SLOW = 1, USES_VM = 2, TWO_STATES = 4 };

/* TWO_STATES: another lasting state than those of the table is to be seen while it runs. */
struct verb {
	const char *name;
	enum verb_kind kind;
	unsigned flags;
};

struct op {
	int64_t begin, ret; /* of the call */
	int64_t end;        /* its effect is over at the latest; INT64_MAX: nobody knows */
	const struct verb *verb;
	char arg[64];
	char result[16]; /* "ok", an error's name, "died" with the daemon; what was read */
	bool nowait, signalled;
	bool beside_lane, beside_two, beside_end,
		beside_accident; /* at the same time as one of these */
	size_t line;
};

/* clang-format off */
static const struct verb verbs[] = {
	{"start", LANE, SLOW | USES_VM},   {"stop", LANE, USES_VM},
	{"restart", LANE, SLOW | USES_VM | TWO_STATES},
	{"pause", LANE, SLOW | USES_VM},   {"resume", LANE, SLOW | USES_VM},
	{"freeze", LANE, USES_VM},         {"thaw", LANE, USES_VM},
	{"create-disk", LANE, SLOW | USES_VM}, {"create-full", LANE, SLOW | USES_VM},
	{"rollback", LANE, SLOW | USES_VM | TWO_STATES},
	{"set", LANE, 0},                  {"set-bad", LANE, 0},
	{"kill", OVERTAKING, 0},           {"cancel", OVERTAKING, 0},
	{"destroy", OVERTAKING, 0},        {"rmdir", OVERTAKING, 0},
	{"ping", ASIDE, 0},                {"exec", ASIDE, USES_VM},
	{"wait", ASIDE, 0},                {"state", ASIDE, 0},
	{"delete", ASIDE, 0},              {"crash", ACCIDENT, 0},
	{NULL, LANE, 0},
};

#define IN(state) (1u << (state))
#define STAYS STATE_COUNT
#define ANY (IN(STATE_COUNT) - 1)

static const struct row {
	const char *verb;
	unsigned from;
	const char *answer;
	int to;
} rows[] = {
	{"start", IN(CREATED) | IN(STOPPED) | IN(ERROR) | IN(PAUSED), "ok", RUNNING},
	{"start", IN(RUNNING), "ok", STAYS},
	{"start", IN(FROZEN), "EBUSY", STAYS},
	{"stop", IN(RUNNING) | IN(FROZEN) | IN(ERROR), "ok", STOPPED},
	{"stop", IN(CREATED) | IN(STOPPED), "ok", STAYS},
	{"stop", IN(PAUSED), "EINVAL", STAYS},
	{"kill", IN(RUNNING) | IN(FROZEN) | IN(ERROR) | IN(PAUSED), "ok", STOPPED},
	{"kill", IN(CREATED) | IN(STOPPED), "ok", STAYS},
	{"restart", IN(RUNNING) | IN(FROZEN) | IN(CREATED) | IN(STOPPED) | IN(ERROR), "ok", RUNNING},
	{"restart", IN(PAUSED), "EINVAL", STAYS},
	{"pause", IN(RUNNING) | IN(FROZEN), "ok", PAUSED},
	{"pause", IN(PAUSED), "ok", STAYS},
	{"pause", IN(CREATED) | IN(STOPPED) | IN(ERROR), "EINVAL", STAYS},
	{"resume", IN(PAUSED), "ok", RUNNING},
	{"resume", IN(RUNNING), "ok", STAYS},
	{"resume", IN(FROZEN), "EBUSY", STAYS},
	{"resume", IN(CREATED) | IN(STOPPED) | IN(ERROR), "EINVAL", STAYS},
	{"freeze", IN(RUNNING) | IN(FROZEN), "ok", FROZEN},
	{"freeze", IN(CREATED) | IN(STOPPED) | IN(ERROR) | IN(PAUSED), "EINVAL", STAYS},
	{"thaw", IN(FROZEN) | IN(RUNNING), "ok", RUNNING},
	{"thaw", IN(CREATED) | IN(STOPPED) | IN(ERROR) | IN(PAUSED), "EINVAL", STAYS},
	{"set", ANY, "ok", STAYS},
	{"set-bad", ANY, "EINVAL", STAYS},
	{"cancel", ANY, "ok", STAYS},
	{"ping", ANY, "ok", STAYS},
	{"destroy", ANY, "ok", GONE},
	{"rmdir", ANY, "ok", GONE},
};

/* Which state events there may be, one after the other; the passing states are words of their own. */
static const struct edge {
	const char *from, *to;
} edges[] = {
	{"created", "starting"},  {"stopped", "starting"},  {"error", "starting"},
	{"starting", "running"},  {"starting", "created"},  {"starting", "stopped"}, {"starting", "error"},
	{"paused", "resuming"},   {"error", "resuming"},
	{"resuming", "running"},  {"resuming", "paused"},   {"resuming", "error"},
	{"running", "stopping"},  {"frozen", "stopping"},   {"error", "stopping"},   {"paused", "stopping"},
	{"stopping", "stopped"},  {"stopping", "created"},  {"stopping", "error"},   {"stopping", "paused"},
	{"running", "pausing"},   {"frozen", "pausing"},
	{"pausing", "paused"},    {"pausing", "running"},   {"pausing", "frozen"},   {"pausing", "error"},
	{"running", "frozen"},    {"frozen", "running"},
	/* a rollback of one at rest */
	{"created", "paused"},    {"created", "stopped"},   {"stopped", "paused"},   {"stopped", "created"},
	{"error", "paused"},      {"error", "stopped"},     {"error", "created"},
	{"created", "destroying"}, {"running", "destroying"}, {"frozen", "destroying"}, {"paused", "destroying"},
	{"stopped", "destroying"}, {"error", "destroying"},
};
/* clang-format on */

static inline bool edge_is_allowed(const char *from, const char *to)
{
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		if (strcmp(edges[i].from, from) == 0 && strcmp(edges[i].to, to) == 0)
			return true;
	return false;
}

static inline bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static inline int word_of(const char *const *words, int count, const char *word)
{
	for (int i = 0; i < count; i++)
		if (is(words[i], word))
			return i;
	return -1;
}

/* What may come of an operation: at most as many models as fit. */
struct outcomes {
	struct model list[16];
	int count;
};

static inline void may_be(struct outcomes *o, struct model m)
{
	for (int i = 0; i < o->count; i++)
		if (memcmp(&o->list[i], &m, sizeof(m)) == 0)
			return;
	o->list[o->count++] = m;
}

static inline void may_be_in(struct outcomes *o, struct model m, int state)
{
	m.state = (uint8_t)state;
	may_be(o, m);
}

/* ---- what is right ------------------------------------------------------------------------------------------- */

/* Snapshots: @ret is what it becomes. Return: the answer. */
static inline const char *snapshot_answer(const struct op *op, struct model m, struct model *ret)
{
	uint8_t *kind = &ret->snapshot[op->arg[0] == 'b'];

	*ret = m;
	if (is(op->verb->name, "create-full") &&
	    !(IN(m.state) & (IN(RUNNING) | IN(FROZEN) | IN(PAUSED))))
		return "EINVAL";
	if (op->verb->name[0] == 'c') {
		if (*kind != NONE)
			return "EEXIST";
		*kind = is(op->verb->name, "create-full") ? FULL
			: m.state == CREATED              ? EMPTY
							  : DISK;
		return "ok";
	}
	if (*kind == NONE)
		return "ENOENT";
	if (is(op->verb->name, "delete")) {
		*kind = NONE;
		return "ok";
	}
	if (*kind == FULL)
		ret->state = m.state == RUNNING ? RUNNING : PAUSED;
	else if (!(IN(m.state) & (IN(CREATED) | IN(STOPPED) | IN(ERROR))))
		return "EINVAL";
	else
		ret->state = *kind == EMPTY ? CREATED : STOPPED;
	return "ok";
}

/* A verb that has its turn in a state at rest. Return: the answer. */
static inline const char *answer(const struct op *op, struct model m, struct model *ret)
{
	*ret = m;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!is(rows[i].verb, op->verb->name) || !(rows[i].from & IN(m.state)))
			continue;
		if (rows[i].to != STAYS)
			ret->state = (uint8_t)rows[i].to;
		return rows[i].answer;
	}
	return snapshot_answer(op, m, ret);
}

/* ---- what may go wrong --------------------------------------------------------------------------------------- */

/* What a command that began and failed leaves: the state it began in, but for those that had ended what was there. */
static inline void failed_outcomes(const struct op *op, struct model m, struct outcomes *o)
{
	bool full = is(op->verb->name, "rollback") && m.snapshot[op->arg[0] == 'b'] == FULL;

	may_be(o, m);
	if (is(op->verb->name, "restart") && m.state != CREATED && m.state != PAUSED)
		may_be_in(o, m, STOPPED);
	if (full)
		may_be_in(o, m, PAUSED);
	if (!op->beside_accident)
		return;
	if (m.state == PAUSED || full)
		may_be_in(o, m, ERROR); /* its memory has gone on, and its disk is another now */
}

/* The daemon died meanwhile: what the next one makes of it. */
static inline void died_outcomes(const struct op *op, struct model m, struct outcomes *o)
{
	struct model done;

	if (is(op->verb->name, "crash")) {
		may_be(o, m);
		if (m.state != RUNNING && m.state != FROZEN)
			return;
		may_be_in(o, m, ERROR);
		may_be_in(o, m, STOPPED);
		return;
	}
	failed_outcomes(op, m, o);
	if (is(op->verb->name, "wait") || is(op->verb->name, "exec") || is(op->verb->name, "state"))
		return;
	if (is(answer(op, m, &done), "ok"))
		may_be(o, done);
	if (m.state == PAUSED && (op->verb->flags & USES_VM))
		may_be_in(o, m, ERROR);
	if ((op->verb->flags & USES_VM) && m.state != PAUSED)
		may_be_in(o, m, STOPPED);
	if (is(op->verb->name, "pause") || is(op->verb->name, "create-full"))
		may_be_in(o, m, FROZEN);
}

/* An error that is not the state's. */
static inline bool failure_is_allowed(const struct op *op, const char *right)
{
	if (is(op->result, "ECANCELED"))
		return op->beside_end && op->verb->kind == LANE;
	if (is(op->result, "EINTR"))
		return op->signalled;
	if (!is(right, "ok"))
		return false;
	if (is(op->result, "ETIMEDOUT"))
		return op->verb->flags & SLOW;
	return op->beside_accident && (op->verb->flags & USES_VM) &&
	       (is(op->result, "EIO") || is(op->result, "EHOSTDOWN"));
}

/* ---- asides -------------------------------------------------------------------------------------------------- */

/* Is it seen in that state? A passing one, and one that a command passes through, while there is a command. */
static inline bool seen_in(const struct op *op, struct model m, const char *word)
{
	int state = word_of(state_words, GONE, word);

	if (state < 0)
		return op->beside_lane;
	if (state == m.state)
		return true;
	return op->beside_two && (state == STOPPED || state == PAUSED);
}

static inline bool waited_for(const struct op *op, struct model m)
{
	char words[sizeof(op->arg)], *next = NULL;

	memcpy(words, op->arg, sizeof(words));
	for (char *word = strtok_r(words, ",", &next); word; word = strtok_r(NULL, ",", &next))
		if (seen_in(op, m, word))
			return true;
	return false;
}

static inline void aside_outcomes(const struct op *op, struct model m, struct outcomes *o)
{
	struct model next;
	const char *verb = op->verb->name;
	bool right = false;

	if (is(verb, "state"))
		right = seen_in(op, m, op->result);
	else if (is(op->result, "EINTR"))
		right = op->signalled;
	else if (is(verb, "wait"))
		right = is(op->result, "ok")          ? waited_for(op, m)
			: is(op->result, "ECANCELED") ? op->beside_end
						      : is(op->result, "ETIMEDOUT");
	else if (is(verb, "exec"))
		right = is(op->result, "ok")      ? m.state == RUNNING
			: is(op->result, "EBUSY") ? m.state == FROZEN
			: is(op->result, "EHOSTDOWN")
				? (IN(m.state) & ~(IN(RUNNING) | IN(FROZEN))) || op->beside_lane ||
					  op->beside_accident
				: op->beside_accident && is(op->result, "EIO");
	if (right)
		may_be(o, m);
	if (!is(verb, "delete") && !is(verb, "ping"))
		return;
	if (is(answer(op, m, &next), op->result))
		may_be(o, next);
	if (is(verb, "delete") && is(op->result, "EBUSY") && op->beside_two)
		may_be(o, m); /* it is being gone back to */
}

/* After a destroy has begun: only what says so, or what had been queued behind it. */
static inline void gone_outcomes(const struct op *op, struct model m, struct outcomes *o)
{
	const char *verb = op->verb->name;
	bool right = op->nowait || is(op->result, "ENOENT") || is(op->result, "ECANCELED") ||
		     is(op->result, "died") || (is(op->result, "EINTR") && op->signalled);

	if (is(verb, "crash") || is(verb, "cancel") || is(verb, "destroy") || is(verb, "rmdir"))
		right |= is(op->result, "ok");
	if (op->verb->kind == OVERTAKING)
		right |= is(op->result, "EINVAL"); /* "it is destroying" */
	if (op->verb->kind == ASIDE)
		right |= !is(verb, "exec") || !is(op->result, "ok");
	if (right)
		may_be(o, m);
}

/* ---- all ----------------------------------------------------------------------------------------------------- */

static inline void model_outcomes(const struct op *op, struct model m, struct outcomes *o)
{
	struct model next;
	const char *right;

	o->count = 0;
	if (m.state == GONE) {
		gone_outcomes(op, m, o);
	} else if (is(op->result, "died")) {
		died_outcomes(op, m, o);
	} else if (op->verb->kind == ACCIDENT) {
		if (is(op->result, "ok"))
			may_be(o, m);
		if (is(op->result, "ok") && (m.state == RUNNING || m.state == FROZEN))
			may_be_in(o, m, ERROR);
	} else if (op->verb->kind == ASIDE) {
		aside_outcomes(op, m, o);
	} else {
		right = answer(op, m, &next);
		if (op->nowait && is(op->result, "ok")) { /* only that it was accepted */
			if (is(right, "ok"))
				may_be(o, next);
			failed_outcomes(op, m, o);
			return;
		}
		if (is(right, op->result))
			may_be(o, next);
		if (failure_is_allowed(op, right))
			failed_outcomes(op, m, o);
		if (op->nowait && is(op->result, "EBUSY") && op->beside_lane)
			may_be(o, m);
	}
}

#endif
