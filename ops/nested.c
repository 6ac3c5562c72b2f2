/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/nested.c - commands that the daemon itself gives */
#include "ops/nested.h"

#include <errno.h>
#include <poll.h>
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

int nested_all(const char *text, unsigned states, struct err *e)
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
		if (call->result < 0) {
			r = call->result;
			*e = call->err;
			(void)err_wrap(e, "%s", call->name);
		}
		call_free(call);
	}
	return r;
}

struct turn {
	struct job job;
	int (*run)(void *arg, const struct deadline *d, struct err *e);
	void *arg;
	int64_t at_ms;
	int fd; /* told when it is over */
	int result;
	struct err err;
};

static int turn_run(struct job *j, struct err *e)
{
	struct turn *t = (struct turn *)j;
	const struct deadline d = {.at_ms = t->at_ms, .cancel_fd = j->cancel_fd};

	return t->run(t->arg, &d, e);
}

static void turn_over(struct job *j, int result, const struct err *e)
{
	struct turn *t = (struct turn *)j;
	uint64_t one = 1;

	t->result = result;
	if (result < 0)
		t->err = *e;
	(void)file_write_all(t->fd, &one, sizeof(one)); /* an eventfd takes it */
}

int nested_turn(struct lane *l, int (*run)(void *arg, const struct deadline *d, struct err *e),
		void *arg, const struct deadline *d, struct err *e)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC);
	struct turn t = {.run = run, .arg = arg, .at_ms = d->at_ms, .fd = fd};
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	int r, waited = 0;

	if (fd < 0 || job_init(&t.job, JOB_LIFECYCLE) < 0)
		return err_sys(e, errno, "no descriptors for another command");
	t.job.inner = true;
	t.job.run = turn_run;
	t.job.done = turn_over;
	r = lane_submit(l, &t.job);
	if (r < 0) {
		job_done(&t.job);
		return err_sys(e, -r, "cannot queue work for it");
	}
	waited = deadline_poll(d, &pfd, 1);
	if (waited < 0)
		job_cancel(&t.job, ECANCELED);
	nested_wait(fd);
	job_done(&t.job);
	if (t.result < 0 && waited < 0)
		return err_sys(e, -waited, "waiting for it");
	if (t.result < 0)
		*e = t.err;
	return t.result;
}
