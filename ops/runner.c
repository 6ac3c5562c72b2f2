/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/runner.c - the walk up and down the steps, with the journal */
#include <errno.h>
#include <stdio.h>

#include "base/fault.h"
#include "base/log.h"
#include "ops/journal.h"
#include "ops/steps.h"

enum {
	STEP_DOWN_MS = 15000, /* for one step to let go; then it is left for the next try */
};

static int step_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	const struct step *step = &steps[s->level];
	int64_t began = clock_ms();
	char point[32];
	int r;

	if (deadline_cancelled(d))
		return err_set(e, ECANCELED, "cancelled before %s", step->name);
	s->level++;
	r = journal_write(s, e);
	if (r < 0)
		return r;
	(void)snprintf(point, sizeof(point), "%s-up", step->name);
	r = fault_point(point, d, e);
	if (r == 0)
		r = step->up(s, d, e);
	log_debug("%s up: %s after %lld ms", step->name, r < 0 ? err_name(-r) : "ok",
		  (long long)(clock_ms() - began));
	return r;
}

static int step_down(struct sbx *s, struct err *e)
{
	const struct step *step = &steps[s->level - 1];
	struct deadline d = deadline_in(STEP_DOWN_MS, -1);
	int64_t began = clock_ms();
	char point[32];
	int r;

	(void)snprintf(point, sizeof(point), "%s-down", step->name);
	r = fault_point(point, &d, e);
	if (r == 0)
		r = step->down(s, &d, e);
	log_debug("%s down: %s after %lld ms", step->name, r < 0 ? err_name(-r) : "ok",
		  (long long)(clock_ms() - began));
	if (r < 0)
		return err_wrap(e, "%s does not go away", step->name);
	s->level--;
	if (s->level == LEVEL_DATA) /* nothing has a name outside any more */
		s->made_as = s->serial;
	return s->level > LEVEL_NONE ? journal_write(s, e) : 0;
}

int steps_down(struct sbx *s, unsigned level, struct err *e)
{
	int r = 0;

	while (s->level > level && r == 0)
		r = step_down(s, e);
	return r;
}

int steps_up(struct sbx *s, unsigned level, const struct deadline *d, struct err *e)
{
	unsigned begin = s->level;
	struct err undo = {0};
	int r = 0;

	while (s->level < level && r == 0)
		r = step_up(s, d, e);
	if (r < 0 && steps_down(s, begin, &undo) < 0)
		log_error("undoing failed: %s", undo.text);
	return r;
}

int steps_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < s->level && r == 0; i++)
		r = steps[i].adopt(s, d, e);
	return r;
}
