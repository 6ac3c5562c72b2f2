// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/policy.c - what a sandbox's settings have the daemon do by itself
 *
 * How it works: each sandbox knows when it is to be looked at again (policy.due_ms); who kicks it makes that now. The thread
 * looks at those that are due, queues what has to be done and sleeps until the earliest of the rest. Use of a sandbox only ever
 * moves its idle limit away, so nobody need kick for that. What was queued is noted in the sandbox (policy.queued) until its
 * job has run, and is not queued twice.
 */
#include "ops/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/random.h"
#include "base/timefmt.h"
#include "ops/event.h"
#include "ops/health.h"
#include "ops/host.h"
#include "ops/lifecycle.h"
#include "ops/nested.h"
#include "ops/own.h"
#include "ops/pause.h"
#include "ops/record.h"
#include "ops/registry.h"
#include "ops/restart.h"
#include "ops/template.h"
#include "ops/verbs.h"

enum {
	RETRY_MS = 60000, /* what failed when it was due is tried again after so long */
};

#define NEVER INT64_MAX

static pthread_mutex_t policy_lock = PTHREAD_MUTEX_INITIALIZER; /* memory only; taken last */
static pthread_cond_t policy_cond;
static bool kicked, stopping, threaded;
static pthread_t thread;

/* What the settings of one say. */
struct rules {
	struct restart_policy restart;
	uint64_t idle_ms, age_ms; /* 0: none */
	enum { ON_PAUSE, ON_STOP, ON_DESTROY } on_idle;
	bool autostart, autoresume, protected;
};

/* ---- settings ---------------------------------------------------------------------------------------------- */

static bool is_yes(const struct config *c, const struct config *base, enum config_key key)
{
	return strcmp(config_effective(c, base, key), "yes") == 0;
}

static void rules_fill(const struct config *c, const struct config *base, struct rules *ret)
{
	const char *on = config_effective(c, base, CONFIG_ON_TIMEOUT);

	*ret = (struct rules){
		.idle_ms = config_number(c, base, CONFIG_TIMEOUT_SEC) * 1000,
		.age_ms = config_number(c, base, CONFIG_MAX_AGE_SEC) * 1000,
		.on_idle = strcmp(on, "stop") == 0      ? ON_STOP
			   : strcmp(on, "destroy") == 0 ? ON_DESTROY
							: ON_PAUSE,
		.autostart = is_yes(c, base, CONFIG_AUTOSTART),
		.autoresume = is_yes(c, base, CONFIG_AUTO_RESUME),
		.protected = is_yes(c, base, CONFIG_PROTECT),
		.restart = {.max = config_number(c, base, CONFIG_RESTART_MAX),
			    .delay_ms = config_number(c, base, CONFIG_RESTART_DELAY_MS),
			    .delay_max_ms = config_number(c, base, CONFIG_RESTART_DELAY_MAX_MS)},
	};
	if (restart_when_parse(config_effective(c, base, CONFIG_RESTART), &ret->restart.when) < 0)
		ret->restart.when = RESTART_NO; /* checked when it was set */
}

static void rules_of(struct sbx *s, struct rules *ret)
{
	struct template_version v = {0};
	bool have = sbx_template(s, &v, NULL) == 0;

	pthread_mutex_lock(&s->lock);
	rules_fill(&s->config, have ? &v.defaults : NULL, ret);
	pthread_mutex_unlock(&s->lock);
	if (have)
		template_version_done(&v);
}

/* ---- what is due ------------------------------------------------------------------------------------------- */

/* Milliseconds until it has been idle for too long; 0: now; -1: it is not to be. */
static int64_t idle_left(struct sbx *s, const struct rules *r)
{
	int64_t left = -1;

	if (!r->idle_ms || lane_has_guest_jobs(&s->lane))
		return r->idle_ms ? (int64_t)r->idle_ms : -1; /* looked at again then */
	pthread_mutex_lock(&s->lock);
	if (s->state == SBX_RUNNING) {
		left = s->policy.touched_ms + (int64_t)r->idle_ms - clock_ms();
		left = left > 0 ? left : 0;
	}
	pthread_mutex_unlock(&s->lock);
	return left;
}

static int64_t age_left(struct sbx *s, const struct rules *r)
{
	int64_t left;

	if (!r->age_ms || r->protected)
		return -1;
	left = s->created_ms + (int64_t)r->age_ms - wall_ms();
	return left > 0 ? left : 0;
}

static int64_t restart_left(struct sbx *s)
{
	int64_t left = -1;

	pthread_mutex_lock(&s->lock);
	if (s->policy.restart_at_ms) {
		left = s->policy.restart_at_ms - clock_ms();
		left = left > 0 ? left : 0;
	}
	pthread_mutex_unlock(&s->lock);
	return left;
}

static void tell(struct sbx *s, const char *event, const char *action)
{
	char name[sizeof(s->name)];

	sbx_name(s, name);
	event_add(s->serial, name, event, ",\"action\":\"%s\"", action);
}

/* ---- the jobs, with the turn ------------------------------------------------------------------------------- */

static void queued_clear(struct sbx *s, unsigned what, int result)
{
	pthread_mutex_lock(&s->lock);
	s->policy.queued &= ~what;
	if (result < 0)
		s->policy.not_before_ms = clock_ms() + RETRY_MS;
	pthread_mutex_unlock(&s->lock);
	policy_kick(s);
}

static int destroy(struct sbx *s, struct err *e)
{
	int r = registry_is_protected(s) ? err_set(e, EPERM, "it is protected")
					 : registry_retire(s, e);

	return r < 0 ? r : lifecycle_destroy(s, e);
}

static int idle_act(struct sbx *s, const struct rules *rules, struct err *e)
{
	static const char *const words[] = {
		[ON_PAUSE] = "pause", [ON_STOP] = "stop", [ON_DESTROY] = "destroy"};
	struct deadline d = deadline_in(
		rules->on_idle == ON_PAUSE ? LIFECYCLE_PAUSE_MS : LIFECYCLE_STOP_MS, -1);
	AUTO_BUF out = BUF_INIT; /* what the guest would not do beforehand: in the log as well */

	tell(s, "timeout", words[rules->on_idle]);
	switch (rules->on_idle) {
	case ON_STOP:
		return lifecycle_stop(s, &d, e);
	case ON_DESTROY:
		return destroy(s, e);
	case ON_PAUSE:
	default:
		return pause_down(s, &d, &out, e);
	}
}

static int act_idle(struct sbx *s, struct err *e)
{
	struct rules rules;
	int r = 0;

	rules_of(s, &rules);
	if (idle_left(s, &rules) == 0)
		r = idle_act(s, &rules, e);
	if (r < 0)
		sbx_set_error(s, e->text);
	queued_clear(s, POLICY_IDLE, r);
	return r;
}

static int act_age(struct sbx *s, struct err *e)
{
	struct rules rules;
	int r = 0;

	rules_of(s, &rules);
	if (age_left(s, &rules) == 0) {
		tell(s, "max-age", "destroy");
		r = destroy(s, e);
	}
	queued_clear(s, POLICY_AGE, r);
	return r;
}

/* It has failed again: so its delay grows. */
static int restart_failed(struct sbx *s, int r, const struct err *e)
{
	sbx_set_error(s, e->text);
	policy_ended(s, true);
	return r;
}

static int act_restart(struct sbx *s, struct err *e)
{
	struct deadline d = deadline_in(host_start_ms(), -1);
	bool due = restart_left(s) == 0;
	enum sbx_state state = sbx_state(s);
	int r = 0;

	if (due && (state == SBX_ERROR || state == SBX_STOPPED)) {
		pthread_mutex_lock(&s->lock);
		s->policy.restart_at_ms = 0;
		s->policy.restarts++;
		s->policy.tries++;
		pthread_mutex_unlock(&s->lock);
		tell(s, "restart", "start");
		r = lifecycle_start(s, &d, NULL, e);
		if (r < 0)
			r = restart_failed(s, r, e);
	}
	queued_clear(s, POLICY_RESTART, 0);
	return r;
}

static int act_autostart(struct sbx *s, struct err *e)
{
	struct deadline d = deadline_in(host_start_ms(), -1);
	enum sbx_state state = sbx_state(s);
	int r;

	if (!(IN(state) & (IN(SBX_CREATED) | IN(SBX_STOPPED) | IN(SBX_PAUSED) | IN(SBX_ERROR))))
		return 0;
	r = pause_up_or_start(s, &d, NULL, e);
	return r < 0 ? restart_failed(s, r, e) : 0;
}

/* ---- planning ---------------------------------------------------------------------------------------------- */

void policy_ended(struct sbx *s, bool crashed)
{
	struct rules rules;
	uint32_t random = 0;
	int64_t delay, ran;

	rules_of(s, &rules);
	(void)random_bytes((unsigned char *)&random, sizeof(random)); /* without: no jitter */
	pthread_mutex_lock(&s->lock);
	ran = s->policy.up_ms ? clock_ms() - s->policy.up_ms : 0;
	s->policy.up_ms = 0;
	if (restart_is_good_run(&rules.restart, ran))
		s->policy.tries = 0;
	delay = restart_delay_ms(&rules.restart, crashed, s->policy.tries, random);
	s->policy.restart_at_ms = delay < 0 ? 0 : clock_ms() + delay;
	pthread_mutex_unlock(&s->lock);
	if (delay >= 0)
		log_info("it is started again in %" PRId64 " ms", delay);
	policy_kick(s);
}

void policy_forget_restart(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->policy.restart_at_ms = 0;
	s->policy.tries = 0;
	pthread_mutex_unlock(&s->lock);
}

bool policy_wakes(struct sbx *s)
{
	enum sbx_state state = sbx_state(s);
	struct rules rules;

	if (state != SBX_PAUSED && state != SBX_STOPPED)
		return false;
	rules_of(s, &rules);
	return rules.autoresume;
}

int policy_wake(struct verb_call *c, struct err *e)
{
	return policy_wakes(c->sbx) ? nested_run(c->sbx, "start", c, e) : 0;
}

void policy_autostart(void)
{
	uint32_t after = 0;
	struct sbx *s;

	while ((s = registry_next(after))) {
		struct rules rules;
		struct err e = {0};

		after = s->serial;
		rules_of(s, &rules);
		if (rules.autostart && !s->damaged &&
		    own_submit(s, JOB_LIFECYCLE, act_autostart, &e) < 0)
			log_warning("serial %" PRIu32 ": %s: it is not started", s->serial, e.text);
		sbx_put(s);
	}
}

/* ---- the thread -------------------------------------------------------------------------------------------- */

/* Queue @act unless it is queued already. */
static void queue(struct sbx *s, unsigned what, int (*act)(struct sbx *s, struct err *e))
{
	struct err e = {0};
	bool is_new;

	pthread_mutex_lock(&s->lock);
	is_new = !(s->policy.queued & what);
	s->policy.queued |= what;
	pthread_mutex_unlock(&s->lock);
	if (is_new &&
	    own_submit(s, what == POLICY_HEALTH ? JOB_ASIDE : JOB_LIFECYCLE, act, &e) < 0) {
		log_warning("serial %" PRIu32 ": %s", s->serial, e.text);
		queued_clear(s, what, -1);
	}
}

void policy_done(struct sbx *s, unsigned what)
{
	queued_clear(s, what, 0);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Return: milliseconds until the next of what is not queued; -1: nothing is to be. */
static int64_t look_at(struct sbx *s)
{
	struct rules rules;
	int64_t next = -1, hold;
	unsigned queued;

	rules_of(s, &rules);
	pthread_mutex_lock(&s->lock);
	queued = s->policy.queued;
	hold = s->policy.not_before_ms - clock_ms();
	pthread_mutex_unlock(&s->lock);
	const struct {
		unsigned what;
		int64_t left;
		int (*act)(struct sbx *s, struct err *e);
	} due[] = {
		{POLICY_RESTART, restart_left(s), act_restart},
		{POLICY_IDLE, idle_left(s, &rules), act_idle},
		{POLICY_AGE, age_left(s, &rules), act_age},
		{POLICY_HEALTH, health_left(s), health_act},
	};
	for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
		int64_t left = due[i].left;

		if (left >= 0 && hold > left && due[i].what != POLICY_RESTART)
			left = hold;
		if (queued & due[i].what)
			continue; /* which kicks when it has run */
		if (left == 0)
			queue(s, due[i].what, due[i].act);
		else
			next = earlier(next, left);
	}
	return next;
}

/* Look at it if that is due. Return: clock_ms() when it is due then; NEVER. */
static int64_t look_if_due(struct sbx *s)
{
	int64_t left, due;
	bool is_due;

	pthread_mutex_lock(&s->lock);
	due = s->policy.due_ms;
	is_due = due <= clock_ms();
	if (is_due)
		s->policy.due_ms = NEVER;
	pthread_mutex_unlock(&s->lock);
	if (!is_due)
		return due;
	left = look_at(s);
	pthread_mutex_lock(&s->lock);
	if (left >= 0 && s->policy.due_ms == NEVER) /* else it was kicked meanwhile */
		s->policy.due_ms = clock_ms() + left;
	due = s->policy.due_ms;
	pthread_mutex_unlock(&s->lock);
	return due;
}

static int64_t look_at_all(void)
{
	uint32_t after = 0;
	int64_t next = NEVER;
	struct sbx *s;

	while ((s = registry_next(after))) {
		int64_t due = s->damaged ? NEVER : look_if_due(s);

		next = due < next ? due : next;
		after = s->serial;
		sbx_put(s);
	}
	return next;
}

/* @at: clock_ms(). Return: false when it is to end. */
static bool wait_next(int64_t at)
{
	struct timespec until;
	bool go_on;

	until.tv_sec = at / 1000;
	until.tv_nsec = at % 1000 * 1000000;
	pthread_mutex_lock(&policy_lock);
	while (!kicked && !stopping) {
		if (at == NEVER)
			pthread_cond_wait(&policy_cond, &policy_lock);
		else if (pthread_cond_timedwait(&policy_cond, &policy_lock, &until) == ETIMEDOUT)
			break;
	}
	kicked = false;
	go_on = !stopping;
	pthread_mutex_unlock(&policy_lock);
	return go_on;
}

static void *policy_run(void *arg)
{
	(void)arg;
	while (wait_next(look_at_all()))
		;
	return NULL;
}

void policy_kick(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->policy.due_ms = 0;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&policy_lock);
	kicked = true;
	if (threaded)
		pthread_cond_signal(&policy_cond);
	pthread_mutex_unlock(&policy_lock);
}

int policy_init(struct err *e)
{
	pthread_condattr_t attr;
	int r = pthread_condattr_init(&attr);

	if (r == 0)
		r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_cond_init(&policy_cond, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (r == 0)
		r = pthread_create(&thread, NULL, policy_run, NULL);
	threaded = r == 0;
	return r ? err_sys(e, r, "cannot start the thread that keeps time for sandboxes") : 0;
}

void policy_stop(void)
{
	if (!threaded)
		return;
	pthread_mutex_lock(&policy_lock);
	stopping = true;
	pthread_cond_signal(&policy_cond);
	pthread_mutex_unlock(&policy_lock);
	(void)pthread_join(thread, NULL); /* it was started, and only once */
	threaded = false;
}
