/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/own.c - jobs of the daemon's own */
#include "ops/own.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

struct own_job {
	struct job job; /* first */
	struct sbx *s;  /* a reference */
	int (*act)(struct sbx *s, struct err *e);
};

static int own_run(struct job *j, struct err *e)
{
	struct own_job *o = (struct own_job *)j;
	char name[sizeof(o->s->name)];

	sbx_name(o->s, name);
	log_subject(name);
	return o->act(o->s, e);
}

static void own_done(struct job *j, int result, const struct err *e)
{
	struct own_job *o = (struct own_job *)j;

	if (result < 0)
		log_warning("serial %u: %s", o->s->serial, e->text);
	sbx_put(o->s);
	job_done(&o->job);
	free(o);
}

int own_submit(struct sbx *s, enum job_kind kind, int (*act)(struct sbx *s, struct err *e),
	       struct err *e)
{
	struct own_job *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return err_set(e, ENOMEM, "no memory");
	r = job_init(&o->job, kind);
	if (r == 0) {
		o->job.run = own_run;
		o->job.done = own_done;
		o->job.keep = kind == JOB_LIFECYCLE;
		o->act = act;
		o->s = sbx_get(s);
		r = lane_submit(&s->lane, &o->job);
		if (r == 0)
			return 0;
		sbx_put(s);
		job_done(&o->job);
	}
	free(o);
	return err_sys(e, -r, "cannot queue work for it");
}
