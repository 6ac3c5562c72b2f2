/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/nested.c - commands that the daemon itself gives */
#include "ops/nested.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "ops/call.h"
#include "ops/registry.h"

/* Wakes nested_run(): the call's done() writes to the descriptor that its command field cannot carry. */
struct nested {
	struct command command; /* only arg is used: what the call points back to */
	int fd;
};

static void nested_over(struct call *call)
{
	const struct nested *n = call->command->arg;
	uint64_t one = 1;

	(void)file_write_all(n->fd, &one, sizeof(one)); /* an eventfd takes it */
}

/* Until one more call is over; what its worker wrote before is seen after. */
static void nested_wait(int fd)
{
	uint64_t one;

	while (read(fd, &one, sizeof(one)) != sizeof(one))
		; /* EINTR: again */
}

static struct call *nested_call(struct sbx *s, const char *text, const struct writer *w,
				struct err *e)
{
	struct line *l;
	struct call *call;

	if (line_parse(COMMAND_SBX_CTL, text, &l, e) < 0)
		return NULL;
	call = call_new(l, s, NULL, w);
	line_put(l);
	if (!call)
		(void)err_set(e, ENOMEM, "no memory or descriptors for another command");
	return call;
}

int nested_run(struct sbx *s, const char *text, struct verb_call *c, struct err *e)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC);
	struct nested n = {.fd = fd};
	struct deadline d = deadline_in(INT64_MAX / 2, c->job->cancel_fd);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	struct call *call;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "no descriptors for another command");
	call = nested_call(s, text, c->writer, e);
	if (!call)
		return -e->code;
	n.command.arg = &n;
	call->command = &n.command;
	r = call_submit(call, false, nested_over);
	if (r == 0) {
		if (deadline_poll(&d, &pfd, 1) < 0) {
			int why = atomic_load(&c->job->cancelled);

			job_cancel(&call->job, why ? why : ECANCELED);
		}
		nested_wait(fd); /* also after a cancel: its undoing has deadlines of its own */
		r = call->result;
	}
	buf_add(c->out, buf_text(&call->out), call->out.len);
	if (r < 0)
		*e = call->err;
	call_free(call);
	return r;
}

static struct call *submit_all(const char *text, unsigned states, struct nested *n,
			       unsigned *ret_count, struct err *e)
{
	struct writer own = {.uid = geteuid(), .gid = getegid()};
	struct call *calls = NULL, *call;
	uint32_t after = 0;
	struct sbx *s;

	while ((s = registry_next_any(after))) {
		after = s->serial;
		call = states & IN(sbx_state(s)) ? nested_call(s, text, &own, e) : NULL;
		sbx_put(s);
		if (!call)
			continue;
		call->command = &n->command;
		call->next = calls;
		calls = call;
		if (call_submit(call, false, nested_over) == 0)
			(*ret_count)++;
	}
	return calls;
}

int nested_all(const char *text, unsigned states, unsigned fine, struct err *e)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	struct nested n = {.fd = fd};
	unsigned count = 0;
	struct call *calls, *next;
	int r = 0;

	if (fd < 0)
		return err_sys(e, errno, "no descriptors for another command");
	n.command.arg = &n;
	calls = submit_all(text, states, &n, &count, e);
	for (; count > 0; count--)
		nested_wait(fd);
	for (struct call *call = calls; call; call = next) {
		next = call->next;
		if (call->result < 0 && !(fine & IN(sbx_state(call->sbx)))) {
			r = call->result;
			*e = call->err;
			(void)err_wrap(e, "%s", call->name);
		}
		call_free(call);
	}
	return r;
}

/* What the jobs of one wait share. */
struct turns {
	int (*run)(void *arg, const struct deadline *d, struct err *e);
	int64_t at_ms;
	int fd;             /* one more for each that is over */
	atomic_bool failed; /* one of them has */
};

struct turn {
	struct job job;
	struct turns *all;
	struct nested_turn *wanted;
};

static int turn_run(struct job *j, struct err *e)
{
	struct turn *t = (struct turn *)j;
	const struct deadline d = {.at_ms = t->all->at_ms, .cancel_fd = j->cancel_fd};

	return t->all->run(t->wanted->arg, &d, e);
}

static void turn_over(struct job *j, int result, const struct err *e)
{
	struct turn *t = (struct turn *)j;
	struct turns *all = t->all;
	uint64_t one = 1;

	t->wanted->result = result;
	if (result < 0) {
		t->wanted->err = *e;
		atomic_store(&all->failed, true);
	}
	(void)file_write_all(all->fd, &one, sizeof(one)); /* an eventfd takes it */
}

/* Return: was it queued? Otherwise it is over already. */
static bool turn_submit(struct turn *t)
{
	struct nested_turn *w = t->wanted;
	int r = job_init(&t->job, JOB_LIFECYCLE);

	if (r == 0) {
		t->job.inner = true;
		t->job.run = turn_run;
		t->job.done = turn_over;
		r = lane_submit(w->lane, &t->job);
	}
	if (r == 0)
		return true;
	w->result = err_sys(&w->err, -r, "cannot queue work for it");
	atomic_store(&t->all->failed, true);
	return false;
}

/* Until @left are over. Return: 0; -ETIMEDOUT, -ECANCELED that was why they were called off. */
static int turns_wait(struct turn *turns, unsigned count, unsigned left, const struct deadline *d)
{
	struct turns *all = turns->all;
	struct pollfd pfd = {.fd = all->fd, .events = POLLIN};
	bool called_off = false;
	int why = 0;

	for (; left > 0; left--) {
		if (!called_off && !atomic_load(&all->failed) && deadline_poll(d, &pfd, 1) < 0)
			why = deadline_cancelled(d) ? -ECANCELED : -ETIMEDOUT;
		if (!called_off && (why < 0 || atomic_load(&all->failed))) {
			called_off = true;
			for (unsigned i = 0; i < count; i++)
				job_cancel(&turns[i].job, ECANCELED);
		}
		nested_wait(all->fd); /* also after that: its undoing has deadlines of its own */
	}
	return why;
}

static int turns_result(const struct nested_turn *wanted, unsigned count, int why, struct err *e)
{
	const struct nested_turn *first = NULL;

	for (unsigned i = 0; i < count; i++)
		if (wanted[i].result < 0 &&
		    (!first || (first->result == -ECANCELED && wanted[i].result != -ECANCELED)))
			first = &wanted[i];
	if (!first)
		return 0;
	if (why < 0)
		return err_sys(e, -why, "waiting for it");
	if (e)
		*e = first->err;
	return first->result;
}

int nested_turns(struct nested_turn *wanted, unsigned count,
		 int (*run)(void *arg, const struct deadline *d, struct err *e),
		 const struct deadline *d, struct err *e)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	AUTO_FREE struct turn *turns = calloc(count, sizeof(*turns));
	struct turns all = {.run = run, .at_ms = d->at_ms, .fd = fd};
	unsigned queued = 0;
	int why;

	if (fd < 0 || !turns)
		return err_sys(e, fd < 0 ? errno : ENOMEM,
			       "no memory or descriptors for another command");
	for (unsigned i = 0; i < count; i++) {
		turns[i].all = &all;
		turns[i].wanted = &wanted[i];
		queued += turn_submit(&turns[i]);
	}
	why = turns_wait(turns, count, queued, d);
	for (unsigned i = 0; i < count; i++)
		job_done(&turns[i].job);
	return turns_result(wanted, count, why, e);
}

int nested_turn(struct lane *l, int (*run)(void *arg, const struct deadline *d, struct err *e),
		void *arg, const struct deadline *d, struct err *e)
{
	struct nested_turn t = {.lane = l, .arg = arg};

	return nested_turns(&t, 1, run, d, e);
}
