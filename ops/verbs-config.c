/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/verbs-config.c - set, unset and writes to config, of sandboxes and templates
 *
 * How it works: the change is made to a copy; the copy takes the old one's place in memory, and the old
 * one comes back if the new one cannot be saved, or does not take effect at once where that is asked for. The object's turn keeps others away meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ops/net.h"
#include "ops/policy.h"
#include "ops/record.h"
#include "ops/template.h"
#include "ops/verbs-private.h"

enum {
	LIVE_MS = 30000, /* for a change to take effect in a running sandbox */
};

static int change_words(struct config *c, const struct verb_call *call, bool unset, bool *restart,
			struct err *e)
{
	int r = 0;

	for (int i = 0; i < call->argc && r == 0; i++) {
		AUTO_FREE char *key = strdup(call->argv[i]);
		char *value = key ? strchr(key, '=') : NULL;

		if (!key)
			return err_set(e, ENOMEM, "no memory");
		if (!unset && !value)
			return err_set(e, EINVAL, "%s is not KEY=VALUE", key);
		if (value && !unset)
			*value++ = '\0';
		r = config_set(c, key, unset ? NULL : value, restart, e);
	}
	return r;
}

/* A changed copy of @from: by the call's words, or by the text of a config file with @base for its defaults. */
static int change(const struct config *from, const struct config *base,
		  const struct verb_call *call, struct config *ret, bool *restart, struct err *e)
{
	AUTO_FREE char *text = NULL;
	int r;

	if (call->verb->flags & VERB_HIDDEN) {
		text = strdup(call->rest);
		return text ? config_apply_text(from, base, text, ret, restart, e)
			    : err_set(e, ENOMEM, "no memory");
	}
	if (config_copy(from, ret) < 0)
		return err_set(e, ENOMEM, "no memory");
	r = change_words(ret, call, strcmp(call->verb->name, "unset") == 0, restart, e);
	if (r < 0)
		config_done(ret);
	return r;
}

static void swap_config(struct sbx *s, struct config *c)
{
	struct config old;

	pthread_mutex_lock(&s->lock);
	old = s->config;
	s->config = *c;
	*c = old;
	pthread_mutex_unlock(&s->lock);
}

/* Its disk's data is a difference to one template's version: that cannot change under it. */
static int check_pin(const struct sbx *s, const struct config *c, struct err *e)
{
	const char *name = config_effective(c, NULL, CONFIG_TEMPLATE);
	size_t len = strlen(name);

	if (s->template_pin[0] == '\0' ||
	    (strncmp(s->template_pin, name, len) == 0 && s->template_pin[len] == '@'))
		return 0;
	return err_set(e, EINVAL,
		       "its disk was begun from %s; another template takes a new sandbox",
		       s->template_pin);
}

/* Nobody else changes its settings: we have the turn. */
static int change_sbx(struct verb_call *c, struct config *ret, bool *restart, struct err *e)
{
	struct template_version v;
	bool found = sbx_template(c->sbx, &v, NULL) == 0;
	int r = change(&c->sbx->config, found ? &v.defaults : NULL, c, ret, restart, e);

	if (found)
		template_version_done(&v);
	if (r < 0)
		return r;
	r = check_pin(c->sbx, ret, e);
	if (r < 0)
		config_done(ret);
	return r;
}

/* Do two sets of settings differ in what takes effect at once? */
static bool live_differs(struct sbx *s, const struct config *a, const struct config *b)
{
	const struct config *base = s->version ? &s->version->defaults : NULL;

	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		if (config_rows[i].live &&
		    strcmp(config_effective(a, base, (enum config_key)i),
			   config_effective(b, base, (enum config_key)i)) != 0)
			return true;
	return false;
}

/* Back to the settings of before, which are in @config; @e has why. */
static void change_back(struct verb_call *c, struct config *config, struct err *e)
{
	struct deadline d = deadline_in(LIVE_MS, -1);
	struct err again = {.code = 0};
	int r;

	swap_config(c->sbx, config);
	r = record_save(c->sbx, &again);
	if (r == 0)
		r = net_apply(c->sbx, &d, &again);
	if (r < 0) {
		size_t len = strlen(e->text);

		(void)snprintf(e->text + len, sizeof(e->text) - len,
			       "; and back to the settings of before: %s", again.text);
	}
}

int sbx_change_config(struct verb_call *c, struct config *config, struct err *e)
{
	enum sbx_state state = sbx_state(c->sbx);
	struct deadline d = verb_deadline(c, LIVE_MS);
	bool live = (state == SBX_RUNNING || state == SBX_FROZEN) &&
		    live_differs(c->sbx, &c->sbx->config, config);
	int r;

	swap_config(c->sbx, config);
	r = record_save(c->sbx, e);
	if (r < 0) {
		swap_config(c->sbx, config);
	} else if (live) {
		r = net_apply(c->sbx, &d, e);
		if (r < 0)
			change_back(c, config, e);
	}
	config_done(config);
	sbx_changed(c->sbx);
	return r;
}

int run_change(struct verb_call *c, struct err *e)
{
	enum sbx_state state = sbx_state(c->sbx);
	struct config config;
	bool restart = false;
	int r = change_sbx(c, &config, &restart, e);

	if (r == 0)
		r = sbx_change_config(c, &config, e);
	policy_kick(c->sbx);
	if (r == 0 && restart && (state == SBX_RUNNING || state == SBX_FROZEN))
		buf_adds(c->out, "takes effect at the next start\n");
	return r;
}

int run_template_change(struct verb_call *c, struct err *e)
{
	struct config own = {0}, all = {0}, config;
	int r = template_own_config(c->template, &own);

	if (r == 0)
		r = template_config(c->template, &all);
	r = r < 0 ? err_set(e, -r, "no memory") : change(&own, &all, c, &config, NULL, e);
	config_done(&own);
	config_done(&all);
	if (r < 0)
		return r;
	r = template_set_config(c->template, &config, e);
	config_done(&config);
	return r;
}
