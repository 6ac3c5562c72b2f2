// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/verbs-snapshot.c - what may be written to `snapshot`, or to ctl after that word */
#include <errno.h>
#include <string.h>

#include "ops/commit.h"
#include "ops/snapshot.h"
#include "ops/verbs-private.h"

enum {
	SNAPSHOT_MS = 10 * 60 * 1000, /* a large disk on a slow host; timeout= says otherwise */
	COMMIT_MS = 60 * 60 * 1000,
};

/* Memory can be kept only with a VMM that saves it: not yet. */
static int refuse_full(const char *what, struct err *e)
{
	return err_set(
		e, ENOTSUP,
		"memory cannot be kept yet; `%s NAME disk` keeps the disk, also while it runs",
		what);
}

int run_snapshot_create(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, SNAPSHOT_MS);
	const char *kind = c->argc > 1 ? c->argv[1] : "";
	enum sbx_state state = sbx_state(c->sbx);
	bool alive = state == SBX_RUNNING || state == SBX_FROZEN || state == SBX_PAUSED;

	if (kind[0] && strcmp(kind, "disk") != 0 && strcmp(kind, "full") != 0)
		return err_set(e, EINVAL, "%s is not disk or full", kind);
	if (strcmp(kind, "full") == 0 && !alive)
		return err_set(e, EINVAL, "it is %s and has no memory to keep; say disk",
			       sbx_state_name(state));
	if (strcmp(kind, "disk") != 0 && alive)
		return refuse_full("create", e);
	return snapshot_create(c->sbx, c->argv[0], &d, c->out, e);
}

int run_snapshot_rollback(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, SNAPSHOT_MS);

	return snapshot_rollback(c->sbx, c->argv[0], &d, e);
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

	if (strcmp(kind, "full") == 0)
		return refuse_full("commit", e);
	if (strcmp(kind, "image") != 0)
		return err_set(e, EINVAL, "%s is not image or full", kind);
	return commit_image(c->sbx, c->argv[0], c->writer, &d, c->out, e);
}
