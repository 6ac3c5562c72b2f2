// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/system.c - the guest as a whole: flush its disks, shut it down
 *
 * How it works: sync(2) can take minutes, so a thread does it and the loop goes on answering. At most one
 * such thread runs. A request that comes while it does may concern data that this sync has passed by
 * already, so it waits for the next one, together with all others that wait.
 */
#include "agent/system.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/freeze.h"
#include "agent/http.h"
#include "agent/thread.h"
#include "agent/waiter.h"

struct flusher {
	struct waiters next;    /* for the next sync */
	struct waiters current; /* for the one that runs */
	int done_fd;            /* eventfd, written by the thread when it is through */
	struct event *done;
	bool running;
};

enum {
	SHUTDOWN_GRACE_MS = 500, /* for the answer to leave when its client does not take it */
};

static void *sync_main(void *arg)
{
	const struct flusher *f = arg;

	sync();
	(void)eventfd_write(f->done_fd, 1); /* fails only after 2^64 - 2 unread ones */
	return NULL;
}

static void sync_next(struct flusher *f)
{
	if (f->running || STAILQ_EMPTY(&f->next))
		return;
	STAILQ_CONCAT(&f->current, &f->next);
	if (thread_start(sync_main, f))
		waiters_answer(&f->current, HTTP_SERVUNAVAIL,
			       "no thread could be started for sync");
	else
		f->running = true;
}

static void sync_done(evutil_socket_t fd, short what, void *arg)
{
	struct flusher *f = arg;
	eventfd_t count;

	(void)what;
	if (eventfd_read(fd, &count))
		return;
	f->running = false;
	waiters_answer(&f->current, HTTP_NOCONTENT, NULL);
	sync_next(f);
}

struct flusher *system_flusher_new(struct event_base *base)
{
	struct flusher *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	STAILQ_INIT(&f->next);
	STAILQ_INIT(&f->current);
	f->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->done = f->done_fd < 0 ? NULL
				 : event_new(base, f->done_fd, EV_READ | EV_PERSIST, sync_done, f);
	if (!f->done || event_add(f->done, NULL)) {
		free(f); /* the program ends on this, so the descriptor need not be closed */
		return NULL;
	}
	return f;
}

void system_sync(struct agent *a, struct evhttp_request *req)
{
	if (waiters_add(&a->flusher->next, req))
		return;
	sync_next(a->flusher);
}

/* Whichever comes first: the answer has left, or the time for that is over. */
static void poweroff_once(void)
{
	static bool begun;

	if (begun)
		return;
	begun = true;
	boot_poweroff();
}

static void shutdown_overdue(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	poweroff_once();
}

static void shutdown_answered(struct evhttp_request *req, void *arg)
{
	(void)req;
	(void)arg;
	poweroff_once();
}

void system_shutdown(struct agent *a, struct evhttp_request *req)
{
	const struct timeval grace = {.tv_usec = SHUTDOWN_GRACE_MS * 1000L};

	if (!a->is_system) {
		http_error(req, HTTP_NOTIMPLEMENTED,
			   "this agent did not bring the machine up, so it does not shut it down");
		return;
	}
	if (event_base_once(a->base, -1, EV_TIMEOUT, shutdown_overdue, NULL, &grace)) {
		http_error(req, HTTP_INTERNAL, "the agent is out of memory");
		return;
	}
	freeze_end(a); /* processes that wait to write could not end */
	evhttp_request_set_on_complete_cb(req, shutdown_answered, NULL);
	http_empty(req, HTTP_NOCONTENT);
}
