// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/net.c - what a sandbox's settings say about its network, given to the slot that it has
 *
 * How it works: the rules that a slot was given last are kept in the sandbox, with what has been counted by them, so that files are rendered
 * from memory. Whoever reads the counts from the kernel does so without the turn, by a copy: when the sandbox has other rules by the time
 * they are there, they are thrown away.
 */
#include "ops/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ops/host.h"
#include "ops/steps.h"
#include "ops/template.h"

/* The setting's text as it holds, copied. */
static char *egress_setting(struct sbx *s)
{
	char *text;

	pthread_mutex_lock(&s->lock);
	text = strdup(config_effective(&s->config, &s->version->defaults, CONFIG_EGRESS));
	pthread_mutex_unlock(&s->lock);
	return text;
}

/* Takes @rules. */
static void egress_keep(struct sbx *s, struct egress *rules)
{
	struct egress old;

	pthread_mutex_lock(&s->lock);
	old = s->egress;
	s->egress = *rules;
	s->egress_serial = s->slot.serial;
	pthread_mutex_unlock(&s->lock);
	egress_done(&old);
}

static int egress_apply(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct egress rules = EGRESS_DEFAULT;
	AUTO_FREE char *text = NULL;
	int r = sbx_load_version(s, e);

	if (r < 0)
		return r;
	text = egress_setting(s);
	if (!text)
		return err_set(e, ENOMEM, "no memory");
	r = egress_parse(text, &rules, e);
	if (r == 0)
		r = host.net->egress(&s->slot, &rules, d, e);
	if (r < 0) {
		egress_done(&rules);
		return err_wrap(e, "egress");
	}
	egress_keep(s, &rules);
	return 0;
}

void net_egress_setting(struct sbx *s, struct buf *b)
{
	struct template_version *version = NULL;
	bool found = false, own;
	struct sbx_view view;

	pthread_mutex_lock(&s->lock);
	own = s->config.value[CONFIG_EGRESS];
	if (own)
		buf_adds(b, s->config.value[CONFIG_EGRESS]);
	pthread_mutex_unlock(&s->lock);
	if (own)
		return;
	version = calloc(1, sizeof(*version));
	if (!version) {
		b->failed = true;
		return;
	}
	sbx_view(s, &view);
	found = template_version_find(view.template_name, version, NULL) == 0;
	buf_adds(b, config_effective(&(struct config){0}, found ? &version->defaults : NULL,
				     CONFIG_EGRESS));
	if (found)
		template_version_done(version);
	free(version);
}

int net_apply(struct sbx *s, const struct deadline *d, struct err *e)
{
	return host.net->egress ? egress_apply(s, d, e) : 0;
}

void egress_refresh(struct sbx *s)
{
	struct egress rules = EGRESS_DEFAULT;
	struct slot slot;
	bool known;

	pthread_mutex_lock(&s->lock);
	slot = s->shown;
	known = slot.host_ip[0] && slot.serial == s->egress_serial &&
		egress_copy(&s->egress, &rules) == 0;
	pthread_mutex_unlock(&s->lock);
	if (!known || !host.net->egress_count || host.net->egress_count(&slot, &rules, NULL) < 0) {
		egress_done(&rules);
		return;
	}
	pthread_mutex_lock(&s->lock);
	if (slot.serial == s->egress_serial && egress_same(&s->egress, &rules)) {
		struct egress old = s->egress;

		s->egress = rules;
		rules = old;
	}
	pthread_mutex_unlock(&s->lock);
	egress_done(&rules);
}

void egress_counted(struct sbx *s, struct egress *rules)
{
	pthread_mutex_lock(&s->lock);
	if (s->shown.host_ip[0] && s->shown.serial == s->egress_serial &&
	    egress_same(&s->egress, rules)) {
		rules->packets = s->egress.packets;
		rules->bytes = s->egress.bytes;
		for (size_t i = 0; i < rules->count; i++) {
			rules->rules[i].packets = s->egress.rules[i].packets;
			rules->rules[i].bytes = s->egress.rules[i].bytes;
		}
	}
	pthread_mutex_unlock(&s->lock);
}
