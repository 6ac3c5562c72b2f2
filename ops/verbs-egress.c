// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/verbs-egress.c - what may be written to net/egress: each line is a change of the setting egress */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/egress.h"
#include "ops/net.h"
#include "ops/verbs-private.h"

/* The words of a call as a rule; those before @first are not part of it. */
static int rule_text(const struct verb_call *c, int first, struct buf *b, struct err *e)
{
	for (int i = first; i < c->argc; i++) {
		if (strpbrk(c->argv[i], ";\n"))
			return err_set(e, EINVAL, "%s is not a word of a rule", c->argv[i]);
		buf_addf(b, "%s%s", b->len ? " " : "", c->argv[i]);
	}
	return buf_error(b) ? err_set(e, ENOMEM, "no memory") : 0;
}

/* The rules that hold by its settings, those of its template too. */
static int rules_now(struct sbx *s, struct egress *ret, struct err *e)
{
	AUTO_BUF text = BUF_INIT;

	net_egress_setting(s, &text);
	return buf_error(&text) ? err_set(e, ENOMEM, "no memory")
				: egress_parse(buf_text(&text), ret, e);
}

static int set_rules(struct verb_call *c, const struct egress *rules, struct err *e)
{
	AUTO_BUF value = BUF_INIT;
	struct config config;
	int r;

	egress_render(rules, "; ", false, &value);
	if (buf_error(&value) || config_copy(&c->sbx->config, &config) < 0)
		return err_set(e, ENOMEM, "no memory");
	r = config_set(&config, config_rows[CONFIG_EGRESS].name, buf_text(&value), NULL, e);
	if (r < 0) {
		config_done(&config);
		return r;
	}
	return sbx_change_config(c, &config, e);
}

/* allow, deny, allow-name, policy: the line is the rule. */
int run_egress_add(struct verb_call *c, struct err *e)
{
	struct egress rules;
	AUTO_BUF old = BUF_INIT;
	AUTO_BUF line = BUF_INIT;
	int r;

	buf_adds(&line, c->verb->name);
	r = rule_text(c, 0, &line, e);
	if (r < 0)
		return r;
	/* By itself first, so that what is said about it is about the line alone. */
	r = egress_parse(buf_text(&line), &rules, e);
	if (r < 0)
		return r;
	egress_done(&rules);
	net_egress_setting(c->sbx, &old);
	buf_addf(&old, "; %s", buf_text(&line));
	if (buf_error(&old))
		return err_set(e, ENOMEM, "no memory");
	r = egress_parse(buf_text(&old), &rules, e);
	if (r < 0)
		return r;
	r = set_rules(c, &rules, e);
	egress_done(&rules);
	return r;
}

static bool take_out(struct egress *from, const struct egress_rule *what)
{
	for (size_t i = 0; i < from->count; i++)
		if (from->rules[i].allow == what->allow && egress_same_place(&from->rules[i], what))
			return egress_remove(from, i);
	return false;
}

int run_egress_remove(struct verb_call *c, struct err *e)
{
	struct egress one = EGRESS_DEFAULT, rules = EGRESS_DEFAULT;
	AUTO_BUF line = BUF_INIT;
	int r = rule_text(c, 0, &line, e);

	if (r == 0)
		r = egress_parse(buf_text(&line), &one, e);
	if (r == 0 && one.count == 0)
		r = err_set(e, EINVAL, "a policy is changed, not removed");
	if (r == 0)
		r = rules_now(c->sbx, &rules, e);
	if (r == 0)
		r = take_out(&rules, &one.rules[0])
			    ? set_rules(c, &rules, e)
			    : err_set(e, ENOENT, "there is no rule \"%s\"", buf_text(&line));
	egress_done(&one);
	egress_done(&rules);
	return r;
}

int run_egress_reset(struct verb_call *c, struct err *e)
{
	struct config config;

	if (config_copy(&c->sbx->config, &config) < 0)
		return err_set(e, ENOMEM, "no memory");
	(void)config_set(&config, config_rows[CONFIG_EGRESS].name, NULL, NULL,
			 NULL); /* there is such a key */
	return sbx_change_config(c, &config, e);
}
