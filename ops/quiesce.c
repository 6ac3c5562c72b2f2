// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/quiesce.c - a sandbox's disk at rest
 *
 * How it works: first the guest's file systems, while it can still answer, then its vCPUs; back in the other
 * order. The time for which the agent holds them is the guest's own: it does not pass while the vCPUs stand. So it need
 * only cover the way to that, and what the agent lets go of by itself is never the copy that is being made.
 */
#include "ops/quiesce.h"

#include <errno.h>

#include "base/fault.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/ready.h"
#include "ops/record.h"

enum {
	HOLD_MS = 10000, /* for the guest to flush */
	STOP_MS = 10000, /* for the VMM to stop its vCPUs, and to let them go on */
	CLOCK_MS = 2000, /* for the guest to take the time of day */
	LATE_MS = 100,   /* a guest that stood still so long is told it */
	LET_GO_MS =
		5000, /* for the guest to let its file systems go; it does so by itself a little later */
	HELD_MS = HOLD_MS + STOP_MS, /* after that of the guest's time it lets go by itself */
};

static int hold_guest(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_within(d, HOLD_MS);
	struct guest g = sbx_agent(s);
	int r = fault_point("quiesce-hold", &soon, e);

	return r < 0 ? r : guest_fsfreeze(&g, HELD_MS, &soon, e);
}

/* Best effort: what does not hear of it lets go when its time has passed. */
static void let_go_guest(struct sbx *s)
{
	struct deadline d = deadline_in(LET_GO_MS, -1);
	struct guest g = sbx_agent(s);
	struct err e = {0};

	s->held = false;
	if (guest_fsthaw(&g, &d, &e) < 0)
		log_info("the guest was not told to write on: %s, ignoring", e.text);
}

void quiesce_let_go(struct sbx *s)
{
	if (s->held)
		let_go_guest(s);
}

static int stop_vcpus(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_within(d, STOP_MS);
	int r = fault_point("quiesce-stop", &soon, e);

	return r < 0 ? r : vm_driver_of(s->vm)->freeze(s->vm, &soon, e);
}

static void say_not_flushed(const char *why, struct buf *out)
{
	log_info("the guest did not flush: %s", why);
	if (out)
		buf_addf(out, "the guest did not flush: %s; the copy is as after a power cut\n",
			 why);
}

static int stand(struct sbx *s, const struct deadline *d, struct quiesce *q, struct err *e)
{
	int r;

	q->began_ms = clock_ms();
	r = stop_vcpus(s, d, e);
	/* The VMM may have got that as well. */
	q->stopped = true;
	if (r < 0)
		(void)quiesce_end(s, q, NULL); /* status tells of it */
	return r;
}

int quiesce_begin(struct sbx *s, const struct deadline *d, struct quiesce *ret, struct buf *out,
		  struct err *e)
{
	struct quiesce q = {0};
	struct err why = {0};
	int r;

	*ret = q;
	if (sbx_state(s) != SBX_RUNNING)
		return 0;
	r = hold_guest(s, d, &why);
	q.held = r == 0;
	/* It may have got the request all the same. */
	if (r == -ETIMEDOUT || r == -ECANCELED)
		let_go_guest(s);
	if (deadline_cancelled(d)) {
		if (q.held)
			let_go_guest(s);
		return err_set(e, ECANCELED, "cancelled while the guest flushed");
	}
	if (r < 0)
		say_not_flushed(why.text, out);
	ret->held = q.held;
	return stand(s, d, ret, e);
}

int quiesce_stand(struct sbx *s, const struct deadline *d, struct quiesce *ret, struct err *e)
{
	*ret = (struct quiesce){0};
	if (sbx_state(s) ==
	    SBX_FROZEN) /* perhaps as it was saved before: it is to be saved again */
		return stop_vcpus(s, d, e);
	return sbx_state(s) == SBX_RUNNING ? stand(s, d, ret, e) : 0;
}

/* It cannot go on: then let nobody believe that it runs. */
static void stays_stopped(struct sbx *s, const struct err *why)
{
	struct err e = {0};

	log_error("its vCPUs do not go on: %s", why->text);
	sbx_set_error(s, why->text);
	sbx_set_state(s, SBX_FROZEN);
	if (record_save(s, &e) < 0)
		log_warning("%s, ignoring", e.text);
}

/* It did not notice that time passed. Best effort, as its clock may be nobody's business but its own. */
static void set_clock(struct sbx *s, int64_t stood_ms)
{
	struct deadline d = deadline_in(CLOCK_MS, -1);
	struct err e = {0};

	log_info("it stood still for %lld ms", (long long)stood_ms);
	if (stood_ms >= LATE_MS && ready_again(s, &d, &e) < 0)
		log_info("the guest was not told the time: %s, ignoring", e.text);
}

int quiesce_end(struct sbx *s, const struct quiesce *q, struct err *e)
{
	struct deadline d = deadline_in(STOP_MS, -1);
	struct err why = {0};
	int r = 0;

	if (q->stopped) {
		r = fault_point("quiesce-go", &d, &why);
		if (r == 0)
			r = vm_driver_of(s->vm)->thaw(s->vm, &d, &why);
	}
	if (r < 0) {
		(void)err_wrap(&why, "its vCPUs do not go on after its disk was read; try thaw");
		s->held = q->held;
		stays_stopped(s, &why);
		return err_set(e, EIO, "%s", why.text);
	}
	if (q->held)
		let_go_guest(s);
	if (q->stopped)
		set_clock(s, clock_ms() - q->began_ms);
	return 0;
}

int quiesce_copy(struct sbx *s, const struct volume_spec *spec, int to_fd, const struct deadline *d,
		 struct buf *out, struct err *e)
{
	struct quiesce q;
	int r = quiesce_begin(s, d, &q, out, e), end;

	if (r < 0)
		return r;
	r = sbx_store(s)->copy(spec, to_fd, d, e);
	end = quiesce_end(s, &q, r < 0 ? NULL : e);
	return r < 0 ? r : end;
}
