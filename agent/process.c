// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/process.c - the processes that were started for clients
 *
 * How it works: a process is forked and its program begun (report_cb), its output is read and sent on
 * (data_cb), and it ends (reap_cb). These come in any order but the first. The client hears start, data in
 * order, end.
 *
 * The end is told when both pipes are at their end. A grandchild may hold one open for ever, so the end is
 * also told when the process has ended and nothing came for DRAIN_MS; at once when the client asked for
 * the signal that ended it. What then still comes is read and thrown away, so that a service left behind
 * neither blocks on a full pipe nor dies of a closed one. The same is done with the output of a process
 * whose client has gone.
 *
 * A client that reads slowly makes its process wait: nothing is read from the pipes while more than
 * QUEUE_MAX waits for the client, and the time to DRAIN_MS stands still meanwhile.
 *
 * As process 1 the agent also reaps the orphans of the whole guest; of those nobody is told.
 */
#include "agent/process-private.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/event.h"
#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/json.h"

enum {
	PROCESS_MAX = 4096,      /* known at a time */
	PIECE_MAX = 32 * 1024,   /* bytes of output in one message */
	QUEUE_MAX = 1024 * 1024, /* bytes that may wait for a client */
	DRAIN_MS = 1000,
};

static void process_free(struct process *p)
{
	struct event *events[] = {p->report_ready, p->out[0].ready, p->out[1].ready, p->timeout,
				  p->drained};

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	fd_close(p->report);
	for (int i = 0; i < OUTPUTS; i++)
		fd_close(p->out[i].fd);
	json_object_put(p->config);
	free(p->tag);
	free(p);
}

static bool outputs_open(const struct process *p)
{
	return p->out[0].fd >= 0 || p->out[1].fd >= 0;
}

/* Forget a process that nothing can be heard of any more. */
static void forget_if_over(struct process *p)
{
	if (p->stream || !p->reaped || p->report >= 0 || outputs_open(p))
		return;
	LIST_REMOVE(p, link);
	p->table->count--;
	process_free(p);
}

/*
 * Kill it with its group. Once reaped, only its group can be left; while that is, the kernel gives the
 * number to no new process, so if there is a process of that number it is another's.
 */
void process_kill_group(struct process *p)
{
	if (!p->runs && !p->reaped) {
		p->kill_wanted = true;
		(void)kill(p->pid, SIGKILL); /* ours and not reaped: it can be killed */
	} else if (!p->reaped || (kill(p->pid, 0) && errno == ESRCH)) {
		(void)kill(-p->pid, SIGKILL); /* gone already is as good */
	}
}

static void drain_wait(struct process *p)
{
	const struct timeval wait = {.tv_sec = p->signalled ? 0 : DRAIN_MS / 1000};

	if (p->reaped && p->stream && !p->paused)
		(void)event_add(p->drained, &wait);
}

/* The stream is no longer ours: what is read from now on is thrown away. */
static struct stream *let_stream_go(struct process *p)
{
	struct stream *s = p->stream;

	p->stream = NULL;
	(void)event_del(p->timeout); /* cannot fail for an event that was made */
	(void)event_del(p->drained);
	if (p->paused) {
		p->paused = false;
		for (int i = 0; i < OUTPUTS; i++)
			if (p->out[i].fd >= 0)
				(void)event_add(p->out[i].ready, NULL);
	}
	return s;
}

static void send_event(struct process *p, const struct buf *b)
{
	stream_send(p->stream, buf_text(b), b->len);
}

static void tell_end(struct process *p)
{
	AUTO_BUF b = BUF_INIT;

	event_end(&b, p->status);
	send_event(p, &b);
	stream_end(let_stream_go(p));
	forget_if_over(p);
}

/* Whether the end can be told now; if only the pipes are missing, wait for them. */
static void settle(struct process *p)
{
	if (!p->stream) {
		forget_if_over(p);
		return;
	}
	if (!p->runs || !p->reaped)
		return;
	if (outputs_open(p))
		drain_wait(p);
	else
		tell_end(p);
}

static void drained_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell_end(arg);
}

static void output_close(struct output *o)
{
	(void)event_del(o->ready);
	fd_close(steal_fd(&o->fd));
}

static void pause_if_slow(struct process *p)
{
	if (stream_queued(p->stream) <= QUEUE_MAX)
		return;
	p->paused = true;
	for (int i = 0; i < OUTPUTS; i++)
		(void)event_del(p->out[i].ready);
	(void)event_del(p->drained);
}

static void data_cb(evutil_socket_t fd, short what, void *arg)
{
	static unsigned char piece[PIECE_MAX]; /* one loop, one thread */
	struct output *o = arg;
	struct process *p = o->p;
	ssize_t n = read(fd, piece, sizeof(piece));

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		output_close(o);
		settle(p);
		return;
	}
	if (!p->stream)
		return;
	AUTO_BUF b = BUF_INIT;

	event_data(&b, o->name, piece, (size_t)n);
	send_event(p, &b);
	pause_if_slow(p);
	drain_wait(p);
}

/* ---- what the client does ------------------------------------------------------------------------ */

static void client_closed(void *arg)
{
	struct process *p = arg;

	if (p->kill_on_close && evtimer_pending(p->table->pause, NULL))
		p->kill_late = true;
	else if (p->kill_on_close)
		process_kill_group(p);
	(void)let_stream_go(p);
	forget_if_over(p);
}

static void client_drained(void *arg)
{
	struct process *p = arg;

	if (!p->paused)
		return;
	p->paused = false;
	for (int i = 0; i < OUTPUTS; i++)
		if (p->out[i].fd >= 0)
			(void)event_add(p->out[i].ready, NULL);
	drain_wait(p);
}

static const struct stream_owner client = {client_closed, client_drained};

static void timeout_cb(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;

	(void)fd;
	(void)what;
	process_kill_group(p);
	stream_fail(let_stream_go(p), CONNECT_DEADLINE_EXCEEDED,
		    "the time for the command is over; it was killed");
	forget_if_over(p);
}

/* ---- begin and end ------------------------------------------------------------------------------- */

static void tell_start(struct process *p)
{
	AUTO_BUF b = BUF_INIT;

	event_start(&b, p->pid, p->kill_on_close);
	send_event(p, &b);
}

static void tell_failure(struct process *p, const struct spawn_report *r)
{
	AUTO_BUF why = BUF_INIT;
	enum connect_code code = spawn_explain(r, p->config, &why);

	stream_fail(let_stream_go(p), code, buf_text(&why));
}

/* The child has become the program, or says why not. */
static void report_cb(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;
	struct spawn_report r;
	ssize_t n = read(fd, &r, sizeof(r));

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	(void)event_del(p->report_ready);
	fd_close(steal_fd(&p->report));
	if (n == (ssize_t)sizeof(r)) {
		output_close(&p->out[0]);
		output_close(&p->out[1]);
		if (p->stream)
			tell_failure(p, &r);
		forget_if_over(p);
		return;
	}
	p->runs = true;
	if (p->kill_wanted)
		process_kill_group(p);
	for (int i = 0; i < OUTPUTS; i++)
		(void)event_add(p->out[i].ready, NULL);
	if (p->stream)
		tell_start(p);
	settle(p);
}

static void reaped(struct process_table *t, pid_t pid, int status)
{
	struct process *p = LIST_FIRST(&t->all);

	for (; p; p = LIST_NEXT(p, link)) {
		if (p->pid == pid && !p->reaped) {
			p->reaped = true;
			p->status = status;
			settle(p); /* may free it */
			return;
		}
	}
}

static void reap_cb(evutil_socket_t sig, short what, void *arg)
{
	int status;
	pid_t pid;

	(void)sig;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		reaped(arg, pid, status);
}

struct process_table *process_table_new(struct agent *a)
{
	struct process_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	LIST_INIT(&t->all);
	t->base = a->base;
	t->reap = evsignal_new(a->base, SIGCHLD, reap_cb, t);
	t->pause = process_pause_timer(t);
	if (!t->reap || !t->pause || event_add(t->reap, NULL)) {
		free(t);
		return NULL;
	}
	return t;
}

static int make_events(struct process *p)
{
	struct event_base *base = p->table->base;
	const short want = EV_READ | EV_PERSIST;

	p->report_ready = event_new(base, p->report, want, report_cb, p);
	p->timeout = evtimer_new(base, timeout_cb, p);
	p->drained = evtimer_new(base, drained_cb, p);
	for (int i = 0; i < OUTPUTS; i++)
		p->out[i].ready = event_new(base, p->out[i].fd, want, data_cb, &p->out[i]);
	return p->report_ready && p->timeout && p->drained && p->out[0].ready && p->out[1].ready
		       ? event_add(p->report_ready, NULL)
		       : -ENOMEM;
}

static struct process *process_new(struct process_table *t, const struct process_order *order)
{
	struct process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->table = t;
	p->config = json_object_get(order->config);
	p->report = -1;
	p->out[0] = (struct output){.p = p, .name = "stdout", .fd = -1};
	p->out[1] = (struct output){.p = p, .name = "stderr", .fd = -1};
	p->kill_on_close = order->kill_on_close;
	p->tag = order->tag ? strdup(order->tag) : NULL;
	if (order->tag && !p->tag) {
		process_free(p);
		return NULL;
	}
	return p;
}

int process_start(struct agent *a, const struct process_order *order, struct stream *s,
		  struct err *e)
{
	struct process_table *t = a->processes;
	struct spawned child;
	struct process *p;
	int r;

	process_pause_over(a);
	if (t->count >= PROCESS_MAX)
		return err_set(e, EAGAIN, "%d processes are known already", PROCESS_MAX);
	p = process_new(t, order);
	if (!p)
		return err_set(e, ENOMEM, "the agent is out of memory");
	r = spawn_start(&order->spawn, &child, e);
	if (r) {
		process_free(p);
		return r;
	}
	p->pid = child.pid;
	p->report = child.report;
	p->out[0].fd = child.out[0];
	p->out[1].fd = child.out[1];
	if (make_events(p)) {
		(void)kill(p->pid, SIGKILL); /* reaped like an orphan */
		process_free(p);
		return err_set(e, ENOMEM, "the agent is out of memory");
	}
	LIST_INSERT_HEAD(&t->all, p, link);
	t->count++;
	p->stream = s;
	stream_own(s, &client, p);
	if (order->timeout_ms > 0) {
		const struct timeval tv = {order->timeout_ms / 1000,
					   order->timeout_ms % 1000 * 1000};

		(void)event_add(p->timeout, &tv);
	}
	return 0;
}
