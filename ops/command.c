/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/command.c - the lines of one write, one after the other, each on one object or on several
 *
 * How it works: a line becomes one call, or with .ctl one call for each sandbox named; the calls are
 * queued and this returns. Whoever ends the last of them goes on with the next line. `pending` counts the
 * calls that are not over, and one more for a thread that walks the list, so that it cannot go meanwhile.
 */
#include "ops/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ops/call.h"
#include "ops/targets.h"
#include "ops/verbs.h"

enum {
	STDIO_BLOCK = 512, /* stdio cuts long lines at multiples of this */
};

static void command_next(struct command *c);

/* Is it a piece of something longer? What may follow must then never be run. */
static int check_cut(const char *text, size_t len, struct err *e)
{
	const char *end = text + len, *line = text, *newline;

	for (; line < end; line = newline + 1) {
		newline = memchr(line, '\n', (size_t)(end - line));
		if ((size_t)((newline ? newline : end) - line) > LINE_MAX_LEN)
			return err_set(e, E2BIG, "a line is longer than %d bytes", LINE_MAX_LEN);
		if (newline)
			continue;
		if (line > text)
			return err_set(e, EINVAL, "a write of several lines must end in a newline");
		if (len % STDIO_BLOCK == 0)
			return err_set(
				e, E2BIG,
				"a line of %zu bytes without a newline looks cut; write it in one piece with "
				"its newline",
				len);
		break;
	}
	return 0;
}

static bool is_control(char c)
{
	return ((unsigned char)c < ' ' && c != '\n' && c != '\t') || c == '\x7f';
}

int command_check(const char *text, size_t len, bool *ret_cut, struct err *e)
{
	int r = check_cut(text, len, e);

	*ret_cut = r < 0;
	for (size_t i = 0; i < len && r == 0; i++)
		if (is_control(text[i]))
			r = err_set(e, EINVAL, "byte %zu is the control character 0x%02x", i,
				    (unsigned)text[i]);
	return r;
}

/* Put the reply together and hand it over; the command may be gone afterwards. */
static void command_finish(struct command *c, int result, const struct err *e)
{
	if (result < 0 && !c->fan_out) {
		buf_addf(&c->reply, "error: %s: ", err_name(-result));
		if (c->lines > 1)
			buf_addf(&c->reply, "line %u: ", c->line);
		buf_addf(&c->reply, "%s\n", e->text);
	} else if (!c->fan_out) {
		buf_adds(&c->reply, "ok\n");
	}
	if (result < 0 && c->sbx &&
	    c->target != COMMAND_SBX_CTL) /* whose reply nobody else reads */
		sbx_set_error(c->sbx, e->text);
	buf_add(&c->reply, buf_text(&c->out), c->out.len);
	buf_done(&c->out);
	/* Its lock is not destroyed: until done() says otherwise somebody may be about to cancel. It holds nothing. */
	c->done(c, result);
}

static void calls_free(struct call *calls)
{
	struct call *next;

	for (struct call *call = calls; call; call = next) {
		next = call->next;
		call_free(call);
	}
}

/* A reply line for each; the error that counts is the first by name. */
static const struct call *gather_fan_out(struct command *c, const struct call *calls)
{
	const struct call *first = NULL;

	for (const struct call *call = calls; call; call = call->next) {
		if (call->result == 0)
			buf_addf(&c->out, "%s ok\n", call->name);
		else
			buf_addf(&c->out, "%s error: %s: %s\n", call->name, err_name(-call->result),
				 call->err.text);
		buf_add(&c->out, buf_text(&call->out), call->out.len);
		if (call->result < 0 && (!first || strcmp(call->name, first->name) < 0))
			first = call;
	}
	return first;
}

/* @calls of the line are all over. Return: 0; how the first that counts failed, with @e. */
static int line_gather(struct command *c, struct call *calls, struct err *e)
{
	const struct call *failed = NULL;
	int r = 0;

	if (c->fan_out) {
		failed = gather_fan_out(c, calls);
	} else if (calls) {
		buf_add(&c->out, buf_text(&calls->out), calls->out.len);
		if (calls->result < 0)
			failed = calls;
	}
	if (failed) {
		r = failed->result;
		*e = failed->err;
	}
	calls_free(calls);
	return r;
}

/*
 * One call less, or the walker has gone. True when that was the last: then @ret_calls are the caller's, and
 * nobody finds them in the command any more.
 */
static bool pending_drop(struct command *c, struct call **ret_calls)
{
	bool last;

	pthread_mutex_lock(&c->lock);
	last = --c->pending == 0;
	if (last) {
		*ret_calls = c->calls;
		c->calls = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	return last;
}

/* As pending_drop(), by others than the line's walker: who was the last goes on with the command. */
static void pending_drop_on(struct command *c)
{
	struct call *calls;
	struct err e = {0};
	int r;

	if (!pending_drop(c, &calls))
		return;
	r = line_gather(c, calls, &e);
	if (r < 0)
		command_finish(c, r, &e);
	else
		command_next(c);
}

static void call_over(struct call *call)
{
	pending_drop_on(call->command);
}

/* Queue the calls of a line. True when all are over already: then the caller goes on, else the last of them does. */
static bool line_submit(struct command *c, struct call *calls)
{
	struct call *mine = calls;
	int why;

	pthread_mutex_lock(&c->lock);
	c->calls = calls;
	c->pending = 1;
	for (struct call *call = calls; call; call = call->next)
		c->pending++;
	pthread_mutex_unlock(&c->lock);
	for (struct call *call = calls; call; call = call->next) {
		call->command = c;
		if (call_submit(call, false, call_over) < 0)
			(void)pending_drop(
				c, &mine); /* not the last: the walker's own is still counted */
	}
	pthread_mutex_lock(&c->lock);
	why = c->cancelled;
	pthread_mutex_unlock(&c->lock);
	for (struct call *call = calls; call && why; call = call->next)
		job_cancel(&call->job, why);
	return pending_drop(c, &mine);
}

/* Accept without waiting: the calls own themselves from here on. */
static int line_detach(struct command *c, struct call *calls, struct err *e)
{
	char first_name[sizeof(calls->name)] = "";
	struct call *next;
	int first = 0;

	for (struct call *call = calls; call; call = next) {
		char name[sizeof(call->name)];
		struct err why;
		int r;

		next = call->next;
		memcpy(name, call->name, sizeof(name));
		r = call_submit(call, true, call_detached_done);
		if (r < 0) {
			why = call->err;
			call_free(call);
			if (first == 0 || strcmp(name, first_name) < 0) {
				*e = why;
				first = r;
				memcpy(first_name, name, sizeof(name));
			}
		}
		if (c->fan_out && r < 0)
			buf_addf(&c->out, "%s error: %s: %s\n", name, err_name(-r), why.text);
		else if (c->fan_out)
			buf_addf(&c->out, "%s ok\n", name);
	}
	return first;
}

static int calls_make(struct command *c, struct line *l, struct call **ret, struct err *e)
{
	struct target_list targets = {0};
	struct call *calls = NULL, **tail = &calls;
	int r = targets_find(c, l, &targets, &c->fan_out, e);

	for (size_t i = 0; i < targets.count && r == 0; i++) {
		*tail = call_new(l, targets.sbx[i], c->template, &c->writer);
		if (*tail)
			tail = &(*tail)->next;
		else
			r = err_set(e, ENOMEM, "no memory or descriptors for another command");
	}
	targets_done(&targets);
	if (r < 0)
		calls_free(calls);
	else
		*ret = calls;
	return r;
}

static bool is_config(const struct command *c)
{
	return c->target == COMMAND_SBX_CONFIG || c->target == COMMAND_TEMPLATE_CONFIG;
}

/* Return: 0 go on with the next line; 1 whoever ends the last call does; negative errno. */
static int line_begin(struct command *c, const char *text, struct err *e)
{
	struct call *calls = NULL;
	struct line *l = NULL;
	bool detach;
	int r;

	c->fan_out = false;
	r = is_config(c) ? line_config(c->target, text, &l, e) : line_parse(c->target, text, &l, e);
	if (r == 0)
		r = calls_make(c, l, &calls, e);
	detach = l && (l->async || c->nonblock);
	line_put(l);
	if (r < 0)
		return r;
	if (detach)
		return line_detach(c, calls, e);
	return line_submit(c, calls) ? line_gather(c, calls, e) : 1;
}

static bool line_is_empty(const char *line)
{
	line += strspn(line, " \t");
	return *line == '\0' || *line == '#';
}

/* The text of the next thing to run: a line, or for config the whole write. */
static char *command_take(struct command *c)
{
	char *line;

	if (is_config(c)) {
		line = c->cursor;
		c->cursor = NULL;
		return line;
	}
	do {
		line = parse_line(&c->cursor);
		c->line++;
	} while (line && line_is_empty(line));
	return line;
}

static void command_next(struct command *c)
{
	struct err e = {0};
	int r = 0;
	char *text;

	while (r == 0) {
		text = command_take(c);
		if (!text) /* all is done, and was not undone for a cancel that came too late */
			break;
		pthread_mutex_lock(&c->lock);
		r = -c->cancelled;
		pthread_mutex_unlock(&c->lock);
		if (r < 0) {
			c->fan_out = false; /* that was the line before */
			(void)err_set(&e, -r, "%s before this line began",
				      r == -EINTR ? "interrupted by a signal" : "cancelled");
			break;
		}
		r = line_begin(c, text, &e);
		if (r == 1)
			return;
	}
	command_finish(c, r, &e);
}

void command_submit(struct command *c)
{
	pthread_mutex_init(&c->lock, NULL);
	c->cursor = c->text;
	/* A config's lines are one change; what is wrong in it says its line itself. */
	for (const char *at = c->text; at && *at; at = strchr(at, '\n')) {
		at += *at == '\n';
		c->lines += *at != '\0' && !is_config(c);
	}
	command_next(c);
}

void command_cancel(struct command *c, int why)
{
	struct call *calls;
	bool begun;

	pthread_mutex_lock(&c->lock);
	begun = c->cancelled == 0;
	if (begun)
		c->cancelled = why;
	calls = c->calls;
	if (calls)
		c->pending++;
	pthread_mutex_unlock(&c->lock);
	if (!calls)
		return;
	for (struct call *call = calls; call && begun; call = call->next)
		job_cancel(&call->job, why);
	pending_drop_on(c);
}
