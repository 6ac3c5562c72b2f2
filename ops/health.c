// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/health.c - is a running guest well? */
#include "ops/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/guest.h"
#include "ops/event.h"
#include "ops/policy.h"
#include "ops/template.h"

enum {
	ASK_MAX_MS = 30000, /* for an answer, if the interval is longer */
};

/* What the settings say; command owned, NULL: only the agent is asked. */
struct rules {
	uint64_t interval_ms, retries;
	char *command;
};

static void rules_of(struct sbx *s, struct rules *ret)
{
	struct template_version v = {0};
	bool have = sbx_template(s, &v, NULL) == 0;
	const struct config *base = have ? &v.defaults : NULL;
	const char *command;

	pthread_mutex_lock(&s->lock);
	ret->interval_ms = config_number(&s->config, base, CONFIG_HEALTH_INTERVAL_SEC) * 1000;
	ret->retries = config_number(&s->config, base, CONFIG_HEALTH_RETRIES);
	command = config_effective(&s->config, base, CONFIG_HEALTH_CMD);
	ret->command = command[0] ? strdup(command) : NULL;
	pthread_mutex_unlock(&s->lock);
	if (have)
		template_version_done(&v);
}

int64_t health_left(struct sbx *s)
{
	struct rules rules;
	int64_t left = -1;

	if (sbx_state(s) != SBX_RUNNING)
		return -1;
	rules_of(s, &rules);
	free(rules.command);
	if (rules.interval_ms == 0)
		return -1;
	pthread_mutex_lock(&s->lock);
	if (s->state == SBX_RUNNING) {
		int64_t last = s->policy.health_ms > s->policy.up_ms ? s->policy.health_ms
								     : s->policy.up_ms;

		left = last + (int64_t)rules.interval_ms - clock_ms();
		left = left > 0 ? left : 0;
	}
	pthread_mutex_unlock(&s->lock);
	return left;
}

/* Return: 0 it is well; a negative errno with what is wrong. */
static int ask(struct sbx *s, const struct rules *rules, struct err *e)
{
	int64_t limit =
		(int64_t)rules->interval_ms < ASK_MAX_MS ? (int64_t)rules->interval_ms : ASK_MAX_MS;
	struct deadline d = deadline_in(limit, -1);
	struct guest_command command = {.text = rules->command};
	char addr[SLOT_ADDR_SIZE], token[GUEST_TOKEN_SIZE];
	struct guest_exit exit = {0};
	AUTO_BUF output = BUF_INIT;
	struct guest g;
	int r = sbx_running_guest(s, addr, token, &g, e);

	if (r < 0)
		return r;
	/* One try is short; a busy guest gets as many as fit. */
	do {
		r = guest_health(&g, &d, e);
	} while (r < 0 && deadline_left_ms(&d) > 0 && sbx_state(s) == SBX_RUNNING);
	if (r < 0 || !rules->command)
		return r;
	r = guest_exec(&g, &command, &d, &output, &exit, e);
	if (r == 0 && exit.signalled)
		r = err_set(e, EIO, "health_cmd was ended by %s", exit.signal);
	else if (r == 0 && exit.status)
		r = err_set(e, EIO, "health_cmd ended with %d", exit.status);
	return r;
}

/* Note the answer. Return: has its health changed? */
static bool note(struct sbx *s, bool well, uint64_t retries)
{
	bool before, changed = false;

	pthread_mutex_lock(&s->lock);
	s->policy.health_ms = clock_ms();
	before = s->policy.unhealthy;
	if (s->state == SBX_RUNNING) {
		s->policy.health_fails = well ? 0 : s->policy.health_fails + 1;
		s->policy.unhealthy = !well && (before || s->policy.health_fails >= retries);
		changed = s->policy.unhealthy != before;
	}
	pthread_mutex_unlock(&s->lock);
	return changed;
}

int health_act(struct sbx *s, struct err *e)
{
	struct rules rules;
	struct err why = {0};
	char name[sizeof(s->name)];
	int r;

	(void)e; /* that it is not well is no failure of ours */
	rules_of(s, &rules);
	r = ask(s, &rules, &why);
	free(rules.command);
	if (note(s, r == 0, rules.retries ? rules.retries : 1)) {
		sbx_name(s, name);
		event_add(s->serial, name, "health", ",\"health\":\"%s\"",
			  r < 0 ? "unhealthy" : "ok");
		if (r < 0)
			log_warning("it is unhealthy: %s", why.text);
		sbx_changed(s);
	}
	policy_done(s, POLICY_HEALTH);
	return 0;
}
