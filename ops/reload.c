/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/reload.c - the configuration file is read again while the daemon runs
 *
 * How it works: most settings are looked at when they matter, so that storing them is enough. Those by which something is kept ready
 * have a function below that brings it to the new number.
 */
#include "ops/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ops/event.h"
#include "ops/lane.h"
#include "ops/settings.h"
#include "ops/slots.h"
#include "ops/warm.h"

/* Each is called after a change of any setting. May block for a while. */
static void (*const heeders[])(void) = {slots_heed, warm_heed};

struct reload {
	struct job job; /* first */
	void (*done)(int result, const struct err *e);
};

static struct lane reload_lane; /* of those that a signal asked for */

/* The keys of lines "KEY: OLD -> NEW", as a JSON list. */
static void add_keys(struct buf *b, const char *changes)
{
	const char *separator = "";

	buf_addc(b, '[');
	for (const char *at = changes; *at; at += strcspn(at, "\n") + 1) {
		buf_addf(b, "%s\"%.*s\"", separator, (int)strcspn(at, ":"), at);
		separator = ",";
	}
	buf_addc(b, ']');
}

static void tell(int result, const char *changes, const struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	if (result < 0) {
		buf_adds(&b, ",\"error\":");
		buf_add_json(&b, e->text);
	} else {
		buf_adds(&b, ",\"changed\":");
		add_keys(&b, changes);
	}
	if (buf_error(&b) == 0)
		event_add(0, "", "reload", "%s", buf_text(&b));
}

static void log_changes(const char *changes)
{
	log_info("the configuration has been read again%s", changes[0] ? "" : ": nothing is new");
	for (const char *at = changes; *at; at += strcspn(at, "\n") + 1)
		log_info("%.*s", (int)strcspn(at, "\n"), at);
}

int reload_now(struct buf *changes, struct err *e)
{
	AUTO_BUF own = BUF_INIT;
	struct err why = {0};
	int r = settings_reload(&own, &why);

	tell(r, buf_text(&own), &why);
	if (r < 0) {
		if (e)
			*e = why;
		return r;
	}
	log_changes(buf_text(&own));
	for (size_t i = 0; own.len > 0 && i < sizeof(heeders) / sizeof(heeders[0]); i++)
		heeders[i]();
	buf_add(changes, buf_text(&own), own.len);
	return 0;
}

/* ---- asked for by a signal ------------------------------------------------------------------------------- */

static int reload_run(struct job *j, struct err *e)
{
	AUTO_BUF changes = BUF_INIT;

	(void)j;
	log_subject(NULL);
	return reload_now(&changes, e);
}

static void reload_over(struct job *j, int result, const struct err *e)
{
	struct reload *r = (struct reload *)j;

	if (result < 0)
		log_error("the configuration stays as it was: %s", e->text);
	r->done(result, e);
	job_done(&r->job);
	free(r);
}

int reload_begin(void (*done)(int result, const struct err *e), struct err *e)
{
	struct reload *r = calloc(1, sizeof(*r));
	int code;

	if (!r)
		return err_set(e, ENOMEM, "no memory");
	code = job_init(&r->job, JOB_DAEMON);
	if (code == 0) {
		r->job.run = reload_run;
		r->job.done = reload_over;
		r->done = done;
		code = lane_submit(&reload_lane, &r->job);
		if (code == 0)
			return 0;
		job_done(&r->job);
	}
	free(r);
	return err_sys(e, -code, "cannot begin to read the configuration again");
}
