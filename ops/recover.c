// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/recover.c - what an earlier daemon left running is taken up, or undone if it is not whole
 *
 * How it works: what has reached the top level is asked step by step whether it is whole. A guest whose memory the record names
 * must not go on, unless the journal says that it had: then the pause had been decided, or the resume had not, and it is
 * taken down to that memory.
 */
#include <errno.h>

#include "base/log.h"
#include "ops/admit.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/lifecycle.h"
#include "ops/memory.h"
#include "ops/own.h"
#include "ops/pause.h"
#include "ops/policy.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/steps.h"

enum {
	ADOPT_MS = 10000, /* for a running sandbox to prove that it is alive */
};

/* Everything that a running sandbox has, or nothing. */
static int adopt(struct sbx *s, struct err *e)
{
	struct deadline d = deadline_in(ADOPT_MS, -1);
	struct err why = {0};
	int r;

	if (memory_goes_on(s))
		return err_set(e, ESTALE, "its memory is saved");
	if (!host.vm || !sbx_store(s) || !host.net || s->level != LEVEL_RUNNING)
		return err_set(e, ENODEV, "it was on its way up or down");
	r = steps_adopt(s, &d, e);
	if (r < 0)
		return r;
	admit_adopted(s);
	pause_let_on(s);
	if (memory_drop(s, &why) < 0)
		log_warning("%s, ignoring", why.text);
	sbx_set_state(s, s->was_frozen ? SBX_FROZEN : SBX_RUNNING);
	room_watch(s); /* not before the state is known, which tells what a look may do */
	if (record_save(s, &why) < 0)
		log_warning("%s, ignoring", why.text);
	return 0;
}

static int recover(struct sbx *s, struct err *e)
{
	struct err why = {0};

	if (s->level <= LEVEL_DATA) /* another command, or its destruction, was quicker */
		return 0;
	if (adopt(s, &why) == 0) {
		log_info("it goes on running");
		return 0;
	}
	if (sbx_state(s) == SBX_STARTING &&
	    !memory_goes_on(s)) /* it ran, and ended while nobody looked */
		policy_ended(s, true);
	log_info("undoing what an earlier daemon left at level %u: %s", s->level, why.text);
	sbx_set_state(s, SBX_STOPPING);
	s->pausing = false;
	return lifecycle_down(s, memory_goes_on(s) ? "paused" : "daemon-died",
			      s->memory.dir[0] ? SBX_PAUSED : SBX_STOPPED, e);
}

static bool is_recovered(struct sbx *s, const void *arg)
{
	bool is;

	(void)arg;
	pthread_mutex_lock(&s->lock);
	is = !s->recovering;
	pthread_mutex_unlock(&s->lock);
	return is;
}

static void set_recovering(struct sbx *s, bool is)
{
	pthread_mutex_lock(&s->lock);
	s->recovering = is;
	pthread_mutex_unlock(&s->lock);
}

static int act_recover(struct sbx *s, struct err *e)
{
	int r = recover(s, e);

	set_recovering(s, false);
	sbx_changed(s);
	return r;
}

int lifecycle_recover_later(struct sbx *s, struct err *e)
{
	int r;

	set_recovering(s, true);
	r = own_submit(s, JOB_LIFECYCLE, act_recover, e);
	if (r < 0)
		set_recovering(s, false);
	return r;
}

int lifecycle_recover_wait(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = is_recovered(s, NULL) ? 0 : sbx_wait(s, is_recovered, NULL, d);

	return r < 0 ? err_sys(e, -r, "waiting for what an earlier daemon left to be taken up") : 0;
}
