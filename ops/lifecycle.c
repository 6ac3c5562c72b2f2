/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/lifecycle.c - walks along the steps, and the states that they lead to */
#include "ops/lifecycle.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/admit.h"
#include "ops/disk-full.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/memory.h"
#include "ops/own.h"
#include "ops/policy.h"
#include "ops/quiesce.h"
#include "ops/ready.h"
#include "ops/record.h"
#include "ops/registry.h"
#include "ops/room-private.h"
#include "ops/steps.h"
#include "ops/template.h"
#include "ops/warm.h"
#include "vm/vm.h"

enum {
	CONSOLE_SHOWN_LINES = 20, /* of a start that failed; sbxfs(5) */
	STOOD_MS = 500,           /* a guest that shuts down is looked at so often, … */
	STOOD_MAX = 3,            /* … and ended when its disk let it stand so many times */
};

enum sbx_state lifecycle_resting_state(const struct sbx *s)
{
	if (s->level <= LEVEL_DEFINED)
		return SBX_CREATED;
	if (s->level > LEVEL_DATA || (s->memory.dir[0] && s->memory.stale))
		return SBX_ERROR;
	return s->memory.dir[0] ? SBX_PAUSED : SBX_STOPPED;
}

static void set_exit_reason(struct sbx *s, const char *reason)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->exit_reason, sizeof(s->exit_reason), "%s", reason);
	pthread_mutex_unlock(&s->lock);
}

/* Save the record where a failure must not spoil what was done: it is logged and shown. */
static void save_or_warn(struct sbx *s)
{
	struct err e = {0};

	if (record_save(s, &e) < 0)
		log_warning("%s, ignoring", e.text);
}

/* Its files are left as they are, so nothing but destroy may begin. */
static int check_damaged(const struct sbx *s, struct err *e)
{
	if (!s->damaged)
		return 0;
	return err_set(
		e, EIO,
		"its record cannot be read; repair %s/record and restart the daemon, or destroy it",
		s->dir);
}

/* The template's version holds from the first start on. */
static int pin_current(struct sbx *s, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	memcpy(s->template_pin, s->version->pin, sizeof(s->template_pin));
	pthread_mutex_unlock(&s->lock);
	/* A template that is being removed looks for pins after it is marked: so the mark is looked for after pinning. */
	sbx_drop_version(s);
	return sbx_load_version(s, e);
}

static int start_pin(struct sbx *s, struct err *e)
{
	int r;

	if (s->template_pin[0])
		return 0;
	r = pin_current(s, e);
	if (r == -ENOENT) { /* an import has put another in its place meanwhile: then that one */
		pthread_mutex_lock(&s->lock);
		s->template_pin[0] = '\0';
		pthread_mutex_unlock(&s->lock);
		r = sbx_load_version(s, e);
		if (r == 0)
			r = pin_current(s, e);
	}
	return r < 0 ? r : record_save(s, e);
}

static void start_unpin(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->template_pin[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	save_or_warn(s);
}

static int start_build(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	unsigned begin = s->level;
	int r = start_pin(s, e);

	if (r == 0)
		r = begin == LEVEL_DEFINED ? warm_start(s, d, e) : WARM_BOOT;
	if (r == WARM_BOOT)
		r = steps_up(s, LEVEL_RUNNING, d, e);
	if (r == 0 && begin == LEVEL_DEFINED)
		warm_want(s);
	if (r == 0)
		return 0;
	if (s->console_start >= 0 && out)
		ready_console_tail(s, CONSOLE_SHOWN_LINES, out);
	if (begin < LEVEL_DATA && s->level == begin)
		start_unpin(s);
	return r;
}

int lifecycle_settle(struct sbx *s, struct err *e)
{
	int r = check_damaged(s, e);

	if (r < 0 || sbx_state(s) != SBX_ERROR || s->level <= LEVEL_DATA)
		return r;
	r = steps_down(s, LEVEL_DATA, e);
	if (r < 0)
		return r;
	admit_drop(s); /* kept while it was stuck */
	return memory_judge(s, e);
}

int lifecycle_start(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	enum sbx_state before = sbx_state(s);
	struct err why = {0};
	int r = 0;

	s->console_start = -1;
	r = lifecycle_settle(s, e);
	if (r < 0)
		return r;
	r = admit_start(s, e);
	if (r < 0) {
		admit_drop(s);
		return r;
	}
	sbx_set_state(s, SBX_STARTING);
	if (memory_goes_on(
		    s)) /* it boots all the same, and what is saved does not fit its disk any more */
		r = memory_mark(s, e);
	if (r == 0)
		r = start_build(s, d, out, e);
	if (r < 0) {
		if (s->level <= LEVEL_DATA) {
			admit_drop(s);
			(void)memory_judge(s, NULL);
		}
		sbx_set_state(s, s->level > LEVEL_DATA ? SBX_ERROR : before);
		return r;
	}
	s->held = false;
	pthread_mutex_lock(&s->lock);
	s->started_ms = wall_ms();
	s->active_ms = s->started_ms;
	s->exit_reason[0] = '\0';
	s->last_error[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	if (memory_drop(s, &why) < 0)
		log_warning("its saved memory is still named: %s, ignoring", why.text);
	sbx_set_state(s, SBX_RUNNING);
	save_or_warn(s); /* which says that it was whole */
	return 0;
}

/* What becomes of saved memory when nothing runs any more. */
static int settle_memory(struct sbx *s, enum sbx_state rest, struct err *e)
{
	return rest == SBX_PAUSED ? memory_judge(s, e) : memory_drop(s, e);
}

int lifecycle_down(struct sbx *s, const char *reason, enum sbx_state rest, struct err *e)
{
	int r = s->level > LEVEL_DATA ? steps_down(s, LEVEL_DATA, e) : 0;

	if (r < 0) {
		sbx_set_error(s, e ? e->text : "");
		sbx_set_state(s, SBX_ERROR);
		save_or_warn(s);
		return r;
	}
	admit_drop(s);
	sbx_drop_version(s);
	set_exit_reason(s, reason);
	r = settle_memory(s, rest, e);
	sbx_set_state(s, rest == SBX_ERROR ? SBX_ERROR : lifecycle_resting_state(s));
	save_or_warn(s);
	return r;
}

/* Wait for the VMM's end, unless the disk lets the guest stand: the thread over disks has not helped it then. */
static void await_end(struct sbx *s, const struct deadline *d)
{
	bool stands = true;

	for (int stood = 0; stood < STOOD_MAX && deadline_left_ms(d) != 0; stood += stands) {
		struct deadline soon = deadline_within(d, STOOD_MS);

		if (proc_wait(vm_common(s->vm)->pidfd, &soon) != -ETIMEDOUT ||
		    vm_driver_of(s->vm)->disk_stopped(s->vm, d, &stands, NULL) < 0)
			return; /* over or cancelled, or it does not answer: force comes next */
	}
}

/* Ask the guest, wait for the VMM's end. Whatever goes wrong with that, force comes next. */
static void ask_down(struct sbx *s, enum sbx_state before, const struct deadline *d)
{
	struct guest g = sbx_agent(s);
	struct err e = {0};

	if (disk_full_shutdown(s, before == SBX_FROZEN, d, &e) < 0)
		log_warning("it cannot go on to shut down: %s, ignoring", e.text);
	else if (guest_shutdown(&g, d, &e) < 0)
		log_info("the guest does not shut down by itself: %s, ignoring", e.text);
	else
		await_end(s, d);
}

int lifecycle_stop(struct sbx *s, const struct deadline *d, struct err *e)
{
	enum sbx_state before = sbx_state(s);
	int r = check_damaged(s, e);

	if (r < 0)
		return r;
	sbx_set_state(s, SBX_STOPPING);
	if (s->vm && (before == SBX_RUNNING || before == SBX_FROZEN))
		ask_down(s, before, d);
	return lifecycle_down(s, "stopped", SBX_STOPPED, e);
}

int lifecycle_kill(struct sbx *s, struct err *e)
{
	int r = check_damaged(s, e);

	if (r < 0)
		return r;
	sbx_set_state(s, SBX_STOPPING);
	return lifecycle_down(s, "killed", SBX_STOPPED, e);
}

int lifecycle_freeze(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = vm_driver_of(s->vm)->freeze(s->vm, d, e);

	if (r < 0)
		return r;
	sbx_set_state(s, SBX_FROZEN);
	save_or_warn(s);
	return 0;
}

int lifecycle_thaw(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct err why = {0};
	int r = room_grow(s, d, e);

	if (r == 0)
		r = vm_driver_of(s->vm)->thaw(s->vm, d, e);
	if (r < 0)
		return r;
	set_exit_reason(s, ""); /* disk-full, perhaps */
	sbx_set_error(s, NULL);
	quiesce_let_go(s);
	sbx_set_state(s, SBX_RUNNING);
	if (s->was_frozen &&
	    ready_again(s, d, &why) < 0) /* taken up from an earlier daemon without asking it */
		log_warning("%s, ignoring", why.text);
	s->was_frozen = false;
	save_or_warn(s);
	return 0;
}

int lifecycle_destroy(struct sbx *s, struct err *e)
{
	char name[sizeof(s->name)];
	int r;

	if (s->level == LEVEL_NONE) /* another command that overtook was quicker */
		return 0;
	sbx_set_state(s, SBX_DESTROYING);
	r = steps_down(s, LEVEL_NONE, e);
	if (r < 0) {
		sbx_set_error(s, e->text);
		sbx_set_state(s, SBX_ERROR);
		return r;
	}
	admit_drop(s);
	sbx_drop_version(s);
	sbx_name(s, name);
	if (!s->hidden)
		event_add(s->serial, name, "destroyed", "%s", "");
	lane_close(&s->lane);
	registry_forget(s);
	return 0;
}

static const struct {
	const char *reason;
	enum sbx_state rest;
} ends[VM_END_COUNT] = {
	[VM_END_UNKNOWN] = {"crashed", SBX_ERROR},
	[VM_END_SHUTDOWN] = {"shutdown", SBX_STOPPED},
	[VM_END_RESET] = {"reset", SBX_ERROR},
	[VM_END_PANIC] = {"panic", SBX_ERROR},
};

/* With the turn: did the VM end by itself? If a stop came first there is nothing left to see to. */
static int act_vm_ended(struct sbx *s, struct err *e)
{
	enum sbx_state state = sbx_state(s);
	struct pollfd fd = {.events = POLLIN};
	char name[sizeof(s->name)];
	enum vm_end end;

	if (!s->vm || (state != SBX_RUNNING && state != SBX_FROZEN))
		return 0;
	fd.fd = vm_common(s->vm)->pidfd;
	if (poll(&fd, 1, 0) != 1)
		return 0;
	end = vm_ended(s->vm);
	sbx_name(s, name);
	event_add(s->serial, name, "exit", ",\"reason\":\"%s\"", ends[end].reason);
	if (ends[end].rest == SBX_ERROR) {
		log_warning("its virtual machine ended: %s", ends[end].reason);
		sbx_set_error(s,
			      "the virtual machine ended by itself; see exit_reason and console");
	}
	sbx_set_state(s, SBX_STOPPING); /* from here on nobody is to ask the guest anything */
	policy_ended(s, ends[end].rest ==
				SBX_ERROR); /* before the record is saved, which has the plan */
	return lifecycle_down(s, ends[end].reason, ends[end].rest, e);
}

void lifecycle_vm_ended(struct sbx *s)
{
	struct err e = {0};

	if (own_submit(s, JOB_LIFECYCLE, act_vm_ended, &e) < 0)
		log_warning("serial %u: its virtual machine ended: %s, ignoring", s->serial,
			    e.text);
}

int lifecycle_destroy_later(struct sbx *s, struct err *e)
{
	return own_submit(s, JOB_OVERTAKING, lifecycle_destroy, e);
}
