// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/process-pause.c - the processes that were started for clients, and a machine that stands still
 *
 * How it works: a client that goes takes its process with it if it has asked for that. But connections also break because the machine
 * stood still and goes on where nobody knows them, and then the processes go on as well. Which it was cannot be told from
 * the connection. So from the preparation of a pause on such a process is spared until it is clear: the next /init says whether the machine
 * has stood still; or a process is started as ever, or time has passed.
 */
#include "agent/process-private.h"

#include <event2/event.h>

enum {
	PAUSE_S = 30, /* of this machine's time, from the preparation to the /init afterwards */
};

static void pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct process_table *t = arg;
	struct process *p;

	(void)fd;
	(void)what;
	LIST_FOREACH(p, &t->all, link)
	{
		/* cppcheck-suppress uninitvar ; process_new() makes all of it zeroes */
		if (p->kill_late)
			process_kill_group(p);
		p->kill_late = false;
	}
}

struct event *process_pause_timer(struct process_table *t)
{
	return evtimer_new(t->base, pause_over, t);
}

void process_pause_expected(struct agent *a)
{
	const struct timeval wait = {.tv_sec = PAUSE_S};

	(void)event_add(a->processes->pause, &wait); /* without it they end with their clients */
}

void process_pause_over(struct agent *a)
{
	struct process_table *t = a->processes;

	if (!evtimer_pending(t->pause, NULL))
		return;
	(void)event_del(t->pause); /* cannot fail for an event that was made */
	pause_over(-1, 0, t);
}

void process_resumed(struct agent *a)
{
	struct process_table *t = a->processes;
	struct process *p;

	(void)event_del(t->pause); /* cannot fail for an event that was made */
	LIST_FOREACH(p, &t->all, link)
	{
		p->kill_on_close = false;
		p->kill_late = false;
	}
}
