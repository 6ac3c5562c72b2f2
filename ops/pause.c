// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/pause.c - memory saved and gone on with: pause and resume
 *
 * How it works: everything before the freeze is best effort and bounded; a guest that does not help is saved as it is, only larger.
 * From the freeze on nobody but this file may let the vCPUs go on: the thread over disks does not look at it any more. The
 * journal says meanwhile that a pause is under way, so that after a crash the next daemon gives back what was taken from a guest
 * that goes on running.
 */
#include "ops/pause.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/admit.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/lifecycle.h"
#include "ops/memory.h"
#include "ops/ready.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/steps.h"
#include "vm/vm.h"

enum {
	DRAIN_MS = 5000,    /* for connections to end by themselves; sbxfs(5) */
	PREPARE_MS = 30000, /* for the guest to flush and to drop what it can read again */
	SHRINK_MS = 10000,  /* for the balloon */
	RETURN_MS = 2000,   /* for the balloon to be on its way back */
	VMM_MS = 10000,     /* to stop the vCPUs, and to let them go on */
	SAVE_AGAIN_MS = 120000,
	KEEP_MIN_MIB = 512, /* that a guest keeps at least */
	CONSOLE_SHOWN_LINES = 20,
};

/* How far a pause has come. */
struct down {
	enum sbx_state before;
	bool drained, shrunk;
	uint64_t used; /* bytes of its memory; all of it when nobody knows */
	bool stands;   /* the vCPUs, or perhaps */
	bool unsure;   /* perhaps the record on disk names the memory, though saving it failed */
	struct memory_saved saved; /* dir "": no directory was made */
};

static int check_cancel(const struct deadline *d, const char *when, struct err *e)
{
	return deadline_cancelled(d) ? err_set(e, ECANCELED, "cancelled %s", when) : 0;
}

/* ---- before the freeze --------------------------------------------------------------------------------------- */

static int drain(struct sbx *s, struct down *p, const struct deadline *d, struct err *e)
{
	/* One that stands still cannot end its connections. */
	struct deadline soon = deadline_within(d, p->before == SBX_RUNNING ? DRAIN_MS : 0);
	struct err why = {0};

	p->drained = true;
	if (fault_point("pause-drain", &soon, &why) < 0 ||
	    host.net->drain(&s->slot, &soon, &why) < 0)
		log_info("its connections were not waited for: %s, ignoring", why.text);
	return check_cancel(d, "while its connections ended", e);
}

static int prepare(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	struct deadline soon = deadline_within(d, PREPARE_MS);
	struct guest g = sbx_agent(s);
	struct err why = {0};
	int r = fault_point("pause-prepare", &soon, &why);

	if (r == 0)
		r = guest_prepare(&g, &soon, &why);
	if (r < 0 && !deadline_cancelled(d)) {
		log_info("the guest did not prepare itself: %s", why.text);
		if (out)
			buf_addf(out, "the guest did not prepare itself: %s\n", why.text);
	}
	return check_cancel(d, "while the guest prepared itself", e);
}

/* Have the guest give back what it does not use. */
static int shrink(struct sbx *s, struct down *p, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_within(d, SHRINK_MS);
	struct guest g = sbx_agent(s);
	struct err why = {0};
	uint64_t used, keep;
	int r = fault_point("pause-shrink", &soon, &why);

	if (r == 0)
		r = guest_mem_used(&g, &soon, &used, &why);
	if (r < 0) {
		log_info("it stays as large as it is: %s, ignoring", why.text);
		return check_cancel(d, "while the guest was made small", e);
	}
	if (used < p->used)
		p->used = used;
	keep = (used + used / 2 + (1 << 20) - 1) >> 20;
	if (keep < KEEP_MIN_MIB)
		keep = KEEP_MIN_MIB;
	if (keep >= vm_common(s->vm)->memory_mib)
		return 0;
	p->shrunk = true;
	if (vm_driver_of(s->vm)->balloon(s->vm, keep, &soon, NULL, &why) < 0)
		log_info("the guest keeps its memory: %s, ignoring", why.text);
	return check_cancel(d, "while the guest was made small", e);
}

static int make_ready(struct sbx *s, struct down *p, const struct deadline *d, struct buf *out,
		      struct err *e)
{
	int r = drain(s, p, d, e);

	if (r < 0 || p->before != SBX_RUNNING)
		return r;
	r = prepare(s, d, out, e);
	return r < 0 ? r : shrink(s, p, d, e);
}

/* ---- from the freeze to the record --------------------------------------------------------------------------- */

static int stand(struct sbx *s, struct down *p, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_within(d, VMM_MS);
	int r = fault_point("pause-freeze", &soon, e);

	if (r < 0)
		return r;
	room_unwatch(s); /* which lets on what its disk has stopped */
	p->stands = true;
	return vm_driver_of(s->vm)->freeze(s->vm, &soon, e);
}

static int save_to_dir(struct sbx *s, struct memory_saved *m, const struct deadline *d,
		       struct err *e)
{
	char path[320];
	AUTO_FD fd = -1;
	int r = memory_make_dir(s, m->dir, &fd, e);

	if (r < 0) {
		m->dir[0] = '\0';
		return r;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", s->dir, m->dir); /* fits: see STATE_DIR_MAX */
	return memory_save(s, path, fd, d, m, e);
}

static int save(struct sbx *s, struct memory_saved *m, const struct deadline *d, struct err *e)
{
	int r = fault_point("pause-save", d, e);

	if (r == 0)
		r = save_to_dir(s, m, d, e);
	return r < 0 ? r : check_cancel(d, "while its memory was saved", e);
}

static void memory_put(struct sbx *s, const struct memory_saved *m)
{
	pthread_mutex_lock(&s->lock);
	s->memory = *m;
	pthread_mutex_unlock(&s->lock);
}

/* The record names it from here on, and the guest must not go on any more; or neither. */
static int commit(struct sbx *s, const struct memory_saved *m, bool *ret_unsure, struct err *e)
{
	struct memory_saved old = s->memory;
	int r = fault_point("pause-commit", NULL, e);

	if (r < 0)
		return r;
	memory_put(s, m);
	r = record_save(s, e);
	if (r == 0)
		return 0;
	memory_put(s, &old);
	/* It may have reached the disk, and failed after that. */
	*ret_unsure = record_save(s, NULL) < 0;
	return r;
}

/* ---- undoing ------------------------------------------------------------------------------------------------- */

static bool vm_has_ended(const struct sbx *s)
{
	struct pollfd fd = {.fd = vm_common(s->vm)->pidfd, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* The vCPUs go on, and the next daemon will not think that they must not. */
static int go_on(struct sbx *s, const struct down *p, struct err *e)
{
	struct deadline d = deadline_in(VMM_MS, -1);
	int r = 0;

	if (p->unsure) {
		s->resumed = true;
		s->resumed_data = (struct data_stamp){0};
		r = journal_write(s, e);
	}
	if (r == 0 && p->before == SBX_RUNNING && p->stands)
		r = vm_driver_of(s->vm)->thaw(s->vm, &d, e);
	return r;
}

void pause_let_on(struct sbx *s)
{
	struct deadline d = deadline_in(RETURN_MS, -1);
	struct err e = {0};

	if (!s->pausing)
		return;
	if (host.net->undrain(&s->slot, &e) < 0)
		log_warning("%s, ignoring: nobody can connect to it", e.text);
	if (!s->was_frozen &&
	    vm_driver_of(s->vm)->balloon(s->vm, vm_common(s->vm)->memory_mib, &d, NULL, &e) < 0)
		log_info("%s, ignoring: its guest may have less memory", e.text);
	s->pausing = false;
	if (journal_write(s, &e) < 0)
		log_warning("%s, ignoring", e.text);
}

static void undo(struct sbx *s, const struct down *p)
{
	enum sbx_state state = p->before;
	struct err e = {0};

	if (!p->unsure)
		memory_remove(s, p->saved.dir);
	if (go_on(s, p, &e) < 0 && !vm_has_ended(s)) {
		log_error("its vCPUs do not go on: %s", e.text);
		sbx_set_error(s, e.text);
		state = SBX_FROZEN;
	}
	if (!vm_has_ended(s)) /* else a job that sees to that is queued */
		pause_let_on(s);
	s->pausing = false;
	sbx_set_state(s, state);
	if (p->stands)
		room_watch(s);
	if (state != p->before && record_save(s, &e) < 0)
		log_warning("%s, ignoring", e.text);
}

/* ---- pause --------------------------------------------------------------------------------------------------- */

/* Nothing of an earlier pause is left that would be taken for this one's. */
static int begin(struct sbx *s, const struct down *p, struct err *e)
{
	int r = memory_drop(s, e);

	if (r == 0 && s->resumed)
		r = err_set(e, EIO, "its journal cannot be written");
	if (r < 0)
		return r;
	s->pausing = true;
	r = journal_write(s, e);
	if (r < 0) {
		s->pausing = false;
		return r;
	}
	pthread_mutex_lock(&s->lock);
	s->was_frozen = p->before == SBX_FROZEN;
	pthread_mutex_unlock(&s->lock);
	sbx_set_state(s, SBX_PAUSING);
	return 0;
}

int pause_down(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	struct down p = {.before = sbx_state(s)};
	int r = begin(s, &p, e);

	if (r < 0)
		return r;
	p.used = vm_common(s->vm)->memory_mib << 20;
	r = make_ready(s, &p, d, out, e);
	if (r == 0) /* others' guests would stand still for want of the reserve */
		r = room_check(p.used, e);
	if (r == 0)
		r = stand(s, &p, d, e);
	if (r == 0)
		r = save(s, &p.saved, d, e);
	if (r == 0)
		r = commit(s, &p.saved, &p.unsure, e);
	if (r < 0) {
		undo(s, &p);
		return r;
	}
	s->pausing = false;
	s->held = false;
	return lifecycle_down(s, "paused", SBX_PAUSED, e);
}

void pause_again(struct sbx *s)
{
	struct deadline d = deadline_in(SAVE_AGAIN_MS, -1), soon = deadline_within(&d, VMM_MS);
	struct memory_saved old = s->memory, m = {0};
	bool unsure = false;
	struct err e = {0};
	int r;

	room_unwatch(s);
	r = vm_driver_of(s->vm)->freeze(s->vm, &soon, &e);
	if (r == 0)
		r = fault_point("resume-save", &d, &e);
	if (r == 0)
		r = save_to_dir(s, &m, &d, &e);
	if (r == 0) {
		/* Which of the two tokens it obeys is not known: ready_resumed() tells them apart. */
		m.foreign = old.foreign;
		memcpy(m.token, old.token, sizeof(m.token));
		r = commit(s, &m, &unsure, &e);
	}
	if (r < 0) {
		log_warning("its memory cannot be saved anew: %s", e.text);
		if (!unsure)
			memory_remove(s, m.dir);
		return;
	}
	s->resumed = false; /* the journal's mark is of the old one */
	memory_remove(s, old.dir);
}

/* ---- resume -------------------------------------------------------------------------------------------------- */

static void up_is_over(struct sbx *s)
{
	struct err e = {0};
	int r = fault_point("resume-drop", NULL, &e);

	s->held = false;
	s->was_frozen = false;
	pthread_mutex_lock(&s->lock);
	s->active_ms = wall_ms();
	if (!s->started_ms)
		s->started_ms = s->active_ms;
	s->exit_reason[0] = '\0';
	s->last_error[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	sbx_set_state(s,
		      SBX_RUNNING); /* before the record is saved, which says that it was whole */
	if (r == 0)
		r = memory_drop(s, &e);
	if (r <
	    0) /* the journal tells that it has gone on; the next pause, stop or daemon drops it */
		log_warning("its saved memory is still named: %s, ignoring", e.text);
}

/* The walk has gone back to where it began, or is stuck. */
static void up_failed(struct sbx *s, enum sbx_state before)
{
	struct err e = {0};

	if (s->level > LEVEL_DATA) {
		sbx_set_state(s, SBX_ERROR);
	} else {
		admit_drop(s);
		sbx_drop_version(s);
		if (memory_judge(s, &e) < 0)
			log_warning("%s, ignoring", e.text);
		sbx_set_state(s, before == SBX_ERROR ? SBX_ERROR : lifecycle_resting_state(s));
	}
	if (sbx_state(s) == SBX_ERROR && record_save(s, &e) < 0)
		log_warning("%s, ignoring", e.text);
}

int pause_up(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	enum sbx_state before = sbx_state(s);
	int r = lifecycle_settle(s, e);

	s->console_start = -1;
	if (r == 0)
		r = memory_check(s, e);
	if (r < 0)
		return r;
	r = fault_point("resume-admit", d, e);
	if (r == 0)
		r = admit_resume(s, e);
	if (r < 0) {
		admit_drop(s);
		sbx_drop_version(s);
		return r;
	}
	sbx_set_state(s, SBX_RESUMING);
	r = steps_up(s, LEVEL_RUNNING, d, e);
	if (r == 0) {
		up_is_over(s);
		return 0;
	}
	if (s->console_start >= 0 && out)
		ready_console_tail(s, CONSOLE_SHOWN_LINES, out);
	up_failed(s, before);
	return r;
}

int pause_up_or_start(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	return sbx_state(s) == SBX_PAUSED ? pause_up(s, d, out, e) : lifecycle_start(s, d, out, e);
}
