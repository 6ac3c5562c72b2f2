/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/verbs-host.c - what .ctl's own verbs do */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/nested.h"
#include "ops/registry.h"
#include "ops/reload.h"
#include "ops/settings.h"
#include "ops/sweep.h"
#include "ops/verbs-private.h"

/* Quote a word so that words_split() gives it back. */
static void add_quoted(struct buf *b, const char *word)
{
	buf_addc(b, '\'');
	for (; *word; word++)
		if (*word == '\'')
			buf_adds(b, "'\\''");
		else
			buf_addc(b, *word);
	buf_addc(b, '\'');
}

static int create_settings(struct verb_call *c, struct sbx *s, int count, struct err *e)
{
	AUTO_BUF line = BUF_INIT;

	if (count == 0)
		return 0;
	buf_adds(&line, "set");
	for (int i = 0; i < count; i++) {
		buf_addc(&line, ' ');
		add_quoted(&line, c->argv[1 + i]);
	}
	return nested_run(s, buf_text(&line), c, e);
}

int run_create(struct verb_call *c, struct err *e)
{
	bool start = c->argc > 1 && strcmp(c->argv[c->argc - 1], "start") == 0;
	struct err undo = {0};
	struct sbx *s;
	int r = registry_create(c->argv[0], c->writer, &s, e);

	if (r < 0)
		return r;
	r = create_settings(c, s, c->argc - 1 - start, e);
	if (r < 0 && registry_remove(s, &undo) < 0)
		log_warning("%s: %s, ignoring", c->argv[0], undo.text);
	if (r == 0 && start)
		r = nested_run(s, "start", c, e);
	sbx_put(s);
	return r;
}

int run_loglevel(struct verb_call *c, struct err *e)
{
	enum log_level level;

	if (log_level_parse(c->argv[0], &level) < 0)
		return err_set(e, EINVAL, "%s is not error, warning, info or debug", c->argv[0]);
	log_set_level(level);
	return 0;
}

int run_pause_all(struct verb_call *c, struct err *e)
{
	(void)c;
	return nested_all("pause", IN(SBX_RUNNING) | IN(SBX_FROZEN), 0, e);
}

int run_stop_all(struct verb_call *c, struct err *e)
{
	(void)c;
	return nested_all("stop", IN(SBX_RUNNING) | IN(SBX_FROZEN), 0, e);
}

int run_prune(struct verb_call *c, struct err *e)
{
	return sweep_now(c->out, e);
}

int run_reload(struct verb_call *c, struct err *e)
{
	return reload_now(c->out, e);
}

int run_shutdown(struct verb_call *c, struct err *e)
{
	uint64_t how = settings.on_shutdown;
	int r;

	if (c->argc == 1 && settings_shutdown_parse(c->argv[0], &how) < 0)
		return err_set(e, EINVAL, "usage: shutdown [stop|pause|leave]");
	r = host_down(how, e);
	host_end();
	return r;
}
