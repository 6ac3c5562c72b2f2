// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/verbs-snapshot.c - what may be written to `snapshot`, or to ctl after that word; and clone */
#include <errno.h>
#include <string.h>

#include "ops/clone.h"
#include "ops/commit.h"
#include "ops/snapshot.h"
#include "ops/verbs-private.h"

enum {
	SNAPSHOT_MS = 10 * 60 * 1000, /* a large disk on a slow host; timeout= says otherwise */
	CLONE_MS = 10 * 60 * 1000,
	COMMIT_MS = 60 * 60 * 1000,
};

int run_snapshot_create(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, SNAPSHOT_MS);
	const char *kind = c->argc > 1 ? c->argv[1] : "";
	enum sbx_state state = sbx_state(c->sbx);
	bool alive = state == SBX_RUNNING || state == SBX_FROZEN || state == SBX_PAUSED;
	bool full = kind[0] ? strcmp(kind, "full") == 0 : alive;

	if (kind[0] && !full && strcmp(kind, "disk") != 0)
		return err_set(e, EINVAL, "%s is not disk or full", kind);
	if (full && !alive)
		return err_set(e, EINVAL, "it is %s and has no memory to keep; say disk",
			       sbx_state_name(state));
	return snapshot_create(c->sbx, c->argv[0], full ? SNAPSHOT_FULL : SNAPSHOT_DISK, &d, c->out,
			       e);
}

int run_snapshot_rollback(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, SNAPSHOT_MS);

	return snapshot_rollback(c->sbx, c->argv[0], &d, c->out, e);
}

int run_snapshot_delete(struct verb_call *c, struct err *e)
{
	return snapshot_delete(c->sbx, c->argv[0], e);
}

int run_snapshot_export(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, COMMIT_MS);

	return snapshot_export(c->sbx, c->argv[0], c->argv[1], c->writer, &d, e);
}

int run_snapshot_import(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, COMMIT_MS);

	return snapshot_import(c->sbx, c->argv[0], c->argv[1], c->writer, &d, e);
}

int run_snapshot_commit(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, COMMIT_MS);
	const char *kind = c->argc > 1 ? c->argv[1] : "image";
	const struct commit_wish wish = {
		.name = c->argv[0],
		.writer = c->writer,
		.full = strcmp(kind, "full") == 0,
	};

	if (!wish.full && strcmp(kind, "image") != 0)
		return err_set(e, EINVAL, "%s is not image or full", kind);
	return commit_template(c->sbx, &wish, &d, c->out, e);
}

int run_clone(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, CLONE_MS);
	struct clone_order o = {.names = c->argv, .writer = c->writer};

	for (int i = 0; i < c->argc; i++)
		if (strncmp(c->argv[i], "from=", 5) == 0)
			o.from = c->argv[i] + 5;
		else if (o.from)
			return err_set(e, EINVAL, "usage: clone %s", c->verb->args);
		else
			o.count++;
	if (o.count == 0)
		return err_set(e, EINVAL, "usage: clone %s", c->verb->args);
	return clone_make(c->sbx, &o, &d, c->out, e);
}
