/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/call.c - a line taken apart, and its verb run on one object with that object's turn */
#include "ops/call.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/timefmt.h"
#include "ops/event.h"
#include "ops/lifecycle.h"
#include "ops/policy.h"
#include "ops/registry.h"
#include "ops/template.h"

enum {
	TIMEOUT_MAX_SEC = 365 * 24 * 3600,
	RECOVER_MS = 30000, /* for an earlier daemon's guest to be taken up or down */
};

static struct lane host_lane; /* of .ctl: daemon commands run aside of each other */
static atomic_uint_least64_t last_id;

struct line *line_get(struct line *l)
{
	atomic_fetch_add(&l->refs, 1);
	return l;
}

void line_put(struct line *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	free(l->words);
	free(l->text);
	free(l->argv);
	free(l);
}

static struct line *line_new(const char *text, struct err *e)
{
	struct line *l = calloc(1, sizeof(*l));

	if (l) {
		atomic_init(&l->refs, 1);
		l->timeout_ms = -1;
		l->text = strdup(text);
		l->rest = "";
	}
	if (l && l->text)
		return l;
	line_put(l);
	(void)err_set(e, ENOMEM, "no memory");
	return NULL;
}

static size_t word_len(const char *at)
{
	return strcspn(at, " \t");
}

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

/* The verb word, and `async` before it. Return: what follows it, or NULL. */
static const char *take_verb(struct line *l, enum command_target target, struct err *e)
{
	const char *at = skip_blanks(l->text);
	char word[32];

	if (word_len(at) == 5 && strncmp(at, "async", 5) == 0) {
		l->async = true;
		at = skip_blanks(at + 5);
	}
	(void)snprintf(word, sizeof(word), "%.*s", (int)(word_len(at) < 31 ? word_len(at) : 31),
		       at);
	l->verb = verb_find(target, word);
	if (!l->verb && isdigit((unsigned char)word[0])) {
		l->verb = verb_find_bare(target);
		if (l->verb)
			return at;
	}
	if (!l->verb) {
		(void)err_set(e, EINVAL, "there is no command %s (help lists them)",
			      word[0] ? word : "after async");
		return NULL;
	}
	return skip_blanks(at + word_len(at));
}

/* key=value words that are options, not arguments, are taken out of argv. */
static int take_options(struct line *l, struct err *e)
{
	uint64_t sec;
	int n = 0;

	for (int i = 0; i < l->argc; i++) {
		if (!l->verb->timeout || strncmp(l->argv[i], "timeout=", 8) != 0) {
			l->argv[n++] = l->argv[i];
			continue;
		}
		if (parse_u64(l->argv[i] + 8, 0, TIMEOUT_MAX_SEC, &sec) < 0)
			return err_set(e, EINVAL, "%s is not a number of seconds", l->argv[i]);
		l->timeout_ms = (int64_t)sec * 1000;
	}
	l->argc = n;
	l->argv[n] = NULL;
	return 0;
}

/* The word after a group's name, in .ctl after that and the names, says which verb it is. It is taken out of argv. */
static int take_group(struct line *l, enum command_target target, struct err *e)
{
	const struct verb *below = NULL;
	int i = target == COMMAND_HOST_CTL ? 1 : 0, last = target == COMMAND_HOST_CTL ? l->argc : 1;

	if (!(l->verb->flags & VERB_GROUP))
		return 0;
	for (; i < last && i < l->argc && !below; i++)
		below = verb_find_below(l->verb, l->argv[i]);
	if (!below)
		return err_set(e, EINVAL, "%s: no command of it is given (help lists them)",
			       l->verb->name);
	l->names = --i;
	memmove(l->argv + i, l->argv + i + 1, (size_t)(l->argc - i) * sizeof(*l->argv));
	l->argc--;
	l->verb = below;
	return 0;
}

/* argv gets an array of its own, so that names can be cut off its front while words keeps the memory. */
static int take_words(struct line *l, enum command_target target, const char *rest, struct err *e)
{
	int count, r = words_split(rest, &l->words, &count, e);

	if (r < 0)
		return r;
	l->argv = calloc((size_t)count + 1, sizeof(*l->argv));
	if (!l->argv)
		return err_set(e, ENOMEM, "no memory");
	memcpy(l->argv, l->words, (size_t)count * sizeof(*l->argv));
	l->argc = count;
	r = take_group(l, target, e);
	return r < 0 ? r : take_options(l, e);
}

int line_parse(enum command_target target, const char *text, struct line **ret, struct err *e)
{
	struct line *l = line_new(text, e);
	const char *rest;
	int r = 0;

	if (!l)
		return -ENOMEM;
	rest = take_verb(l, target, e);
	if (!rest)
		r = -EINVAL;
	else if (l->verb->flags & VERB_RAW)
		l->rest = rest;
	else
		r = take_words(l, target, rest, e);
	if (r < 0) {
		line_put(l);
		return r;
	}
	*ret = l;
	return 0;
}

int line_config(enum command_target target, const char *text, struct line **ret, struct err *e)
{
	struct line *l = line_new(text, e);

	if (!l)
		return -ENOMEM;
	l->verb = verb_find_hidden(target, "config");
	l->rest = l->text;
	*ret = l;
	return 0;
}

struct call *call_new(struct line *l, struct sbx *s, struct template *t, const struct writer *w)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	if (job_init(&c->job, l->verb->kind) < 0) {
		free(c);
		return NULL;
	}
	c->line = line_get(l);
	c->sbx = s ? sbx_get(s) : NULL;
	c->template = t ? template_get(t) : NULL;
	c->writer = *w;
	if (s)
		sbx_name(s, c->name);
	return c;
}

void call_free(struct call *c)
{
	if (!c)
		return;
	job_done(&c->job);
	line_put(c->line);
	sbx_put(c->sbx);
	template_put(c->template);
	buf_done(&c->out);
	free(c);
}

void call_detached_done(struct call *c)
{
	call_free(c);
}

static bool is_lifecycle(const struct call *c)
{
	return c->sbx && c->line->verb->kind != JOB_ASIDE && !(c->line->verb->flags & VERB_UNSEEN);
}

/* What `job` in status shows. Neither one that waits nor one that is over hides another one that runs. */
static void job_show(struct call *c, enum job_shown state)
{
	struct sbx *s = c->sbx;

	if (!is_lifecycle(c))
		return;
	pthread_mutex_lock(&s->lock);
	if (state == JOB_RUNNING || s->job.id == c->id || s->job.id == 0 ||
	    s->job.state >= JOB_DONE) {
		s->job.id = c->id;
		(void)snprintf(s->job.verb, sizeof(s->job.verb), "%s%s", verb_prefix(c->line->verb),
			       c->line->verb->name);
		s->job.state = state;
		s->job.since_ms = wall_ms();
	}
	pthread_mutex_unlock(&s->lock);
	sbx_changed(s);
}

static int check_guard(const struct call *c, struct err *e)
{
	if ((c->line->verb->flags & VERB_GUARDED) && c->sbx && registry_is_protected(c->sbx))
		return err_set(e, EPERM, "it is protected; set protect=no first");
	return 0;
}

/* Before a command for a guest fails because there is none. */
static int find_guest(struct verb_call *vc, struct err *e)
{
	const struct deadline d = deadline_in(RECOVER_MS, vc->job->cancel_fd);
	int r = lifecycle_recover_wait(vc->sbx, &d, e);

	return r < 0 ? r : policy_wake(vc, e);
}

static int call_run(struct job *j, struct err *e)
{
	struct call *c = (struct call *)j;
	const struct verb *v = c->line->verb;
	struct verb_call vc = {.sbx = c->sbx,
			       .template = c->template,
			       .verb = v,
			       .writer = &c->writer,
			       .job = j,
			       .argc = c->line->argc,
			       .argv = c->line->argv,
			       .rest = c->line->rest,
			       .timeout_ms = c->line->timeout_ms,
			       .out = &c->out};
	int r = 0;

	log_subject(c->name[0] ? c->name : NULL);
	job_show(c, JOB_RUNNING);
	if (c->sbx && (v->flags & VERB_DECIDES))
		policy_forget_restart(c->sbx);
	if (c->sbx && (v->flags & VERB_GUEST))
		r = find_guest(&vc, e);
	if (r == 0 && c->sbx)
		r = verb_check_state(v, sbx_state(c->sbx), e);
	if (r == 1)
		return 0;
	if (r == 0)
		r = check_guard(c, e);
	if (r == 0)
		r = v->run(&vc, e);
	if (r == 0 && is_lifecycle(c))
		sbx_touch(c->sbx);
	return r;
}

/* What status and events tell of it, before the next command can begin. */
static void call_job_ended(struct job *j, int result, const struct err *e)
{
	struct call *c = (struct call *)j;

	c->result = result;
	if (result < 0)
		c->err = *e;
	if (is_lifecycle(c)) {
		job_show(c, result < 0 ? JOB_FAILED : JOB_DONE);
		if (result < 0)
			sbx_set_error(c->sbx, e->text);
		event_add(c->sbx->serial, c->name, "job",
			  ",\"id\":%" PRIu64 ",\"verb\":\"%s%s\",\"result\":\"%s\"", c->id,
			  verb_prefix(c->line->verb), c->line->verb->name,
			  result < 0 ? err_name(-result) : "ok");
	}
}

static void call_job_done(struct job *j, int result, const struct err *e)
{
	struct call *c = (struct call *)j;

	(void)result; /* call_job_ended() has kept both */
	(void)e;
	c->done(c);
}

static int submit_failed(struct call *c, int r)
{
	c->result = r;
	job_show(c, JOB_FAILED);
	if (r == -EBUSY)
		return err_set(&c->err, EBUSY, "another command has the turn; cancel ends it");
	if (r == -ENOENT)
		return err_set(&c->err, ENOENT, "it has been destroyed");
	return err_sys(&c->err, -r, "cannot queue the command");
}

/* What is refused at once: what is protected before anything gives way to it, and without waiting a wrong state. */
static int submit_check(struct call *c, struct lane *lane)
{
	const struct verb *v = c->line->verb;
	int r = check_guard(c, &c->err);

	if (r == 0 && c->job.nowait && c->sbx &&
	    !((v->flags & VERB_GUEST) && policy_wakes(c->sbx)) &&
	    (v->kind == JOB_ASIDE || lane_turn_is_free(lane)))
		r = verb_check_state(v, sbx_state(c->sbx), &c->err);
	return r < 0 ? r : 0;
}

int call_submit(struct call *c, bool nowait, void (*done)(struct call *c))
{
	struct lane *lane = c->sbx        ? &c->sbx->lane
			    : c->template ? template_lane(c->template)
					  : &host_lane;
	int r;

	c->done = done;
	c->id = atomic_fetch_add(&last_id, 1) + 1;
	c->job.nowait = nowait;
	c->job.needs_guest = c->line->verb->flags & VERB_GUEST;
	c->job.run = call_run;
	c->job.ended = call_job_ended;
	c->job.done = call_job_done;
	r = submit_check(c, lane);
	if (r < 0) {
		c->result = r;
		return r;
	}
	job_show(c, JOB_QUEUED);
	r = lane_submit(lane, &c->job);
	return r < 0 ? submit_failed(c, r) : 0;
}
