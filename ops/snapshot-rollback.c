// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot-rollback.c - going back to a snapshot
 *
 * How it works: what a sandbox goes back to is prepared while it goes on with what it has; the save of the record decides
 * (snapshot-place.c). After that one that runs is ended as it is: its guest must not write any more, and nothing that could fail is
 * needed of it. It is paused then, and goes on if it was running.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "ops/lifecycle.h"
#include "ops/memory.h"
#include "ops/pause.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"
#include "storage/volume.h"

static void now_rests(struct sbx *s)
{
	struct err e = {0};

	pthread_mutex_lock(&s->lock);
	s->exit_reason[0] = '\0';
	s->last_error[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	sbx_set_state(s, lifecycle_resting_state(s));
	if (record_save(s, &e) < 0) /* that it is no error any more */
		log_warning("%s, ignoring", e.text);
}

/* Of one that has nothing but its data. */
static int put_back(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
		    struct err *e)
{
	struct snapshot_origin before;
	int r;

	sbx_drop_version(s);
	r = snapshot_place(s, from, d, &before, e);
	if (r == 0)
		snapshot_place_end(s, &before);
	if (s->level == LEVEL_DEFINED) /* it has no data now, or not yet */
		(void)room_promise(s, 0, NULL);
	sbx_drop_version(s);
	if (r == 0)
		now_rests(s);
	return r;
}

/* Of one whose VM is there: from the save of the record on there is no way back. */
static int put_under(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
		     struct err *e)
{
	struct snapshot_origin before;
	int r;

	if (from->snapshot->store != sbx_store(s))
		return err_set(
			e, ENOTSUP,
			"its disk is of the store %s, that of the snapshot of %s; stop it first",
			sbx_store(s)->name, from->snapshot->store->name);
	r = memory_drop(
		s, e); /* and the mark: from now on the record names memory that has not gone on */
	if (r == 0)
		r = snapshot_place(s, from, d, &before, e);
	if (r < 0)
		return r;
	sbx_set_state(s, SBX_STOPPING);
	r = fault_point("rollback-down", NULL, e);
	if (r == 0)
		r = lifecycle_down(s, "rollback", SBX_PAUSED, e);
	if (r < 0) {
		sbx_set_error(s, e ? e->text : "");
		sbx_set_state(s, SBX_ERROR);
		return r;
	}
	snapshot_place_end(s, &before);
	now_rests(s);
	return 0;
}

static int go_on(struct sbx *s, const char *name, const struct deadline *d, struct buf *out,
		 struct err *e)
{
	int r = fault_point("rollback-up", d, e);

	if (r == 0)
		r = pause_up(s, d, out, e);
	return r < 0 ? err_wrap(
			       e,
			       "it is paused as in snapshot %s, and does not go on (resume tries again)",
			       name)
		     : 0;
}

static int to_full(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
		   struct err *e)
{
	int r = snapshot_check_memory(from, e);

	if (r < 0)
		return r;
	return s->level > LEVEL_DATA ? put_under(s, from, d, e) : put_back(s, from, d, e);
}

static int to_disk(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
		   struct err *e)
{
	enum sbx_state state = sbx_state(s);

	if (state != SBX_CREATED && state != SBX_STOPPED && state != SBX_ERROR)
		return err_set(
			e, EINVAL,
			"it is %s, and going back to a snapshot of a disk is for: created, stopped, error",
			sbx_state_name(state));
	return put_back(s, from, d, e);
}

int snapshot_rollback(struct sbx *s, const char *name, const struct deadline *d, struct buf *out,
		      struct err *e)
{
	bool running = sbx_state(s) == SBX_RUNNING;
	struct snapshot_source from = {.verb = "rollback", .owner = s, .dir_name = name};
	struct snapshot *n;
	bool full;
	int r = lifecycle_settle(s, e);

	if (r < 0)
		return r;
	from.snapshot = n = snapshot_take(s, name, e);
	if (!n)
		return e ? -e->code : -ENOENT;
	full = n->kind == SNAPSHOT_FULL;
	r = full ? to_full(s, &from, d, e) : to_disk(s, &from, d, e);
	snapshot_give_back(s, n);
	if (r < 0)
		return r;
	snapshot_tell(s, "rollback", name);
	return full && running ? go_on(s, name, d, out, e) : 0;
}
