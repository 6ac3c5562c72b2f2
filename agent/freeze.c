// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/freeze.c - hold the guest's file systems while the host copies its disk
 *
 * How it works: holding waits until all is flushed, and letting go writes as well, so one thread does both and
 * waits in between, until it is told to or the time is over. Whatever happens to the loop or to the host,
 * that thread lets go; nothing that it does while it holds can block on a file system. It tells the loop of
 * each stage that it reaches. A thaw that comes while it still flushes takes effect as soon as it can.
 */
#include "agent/freeze.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "agent/freeze-mounts.h"
#include "agent/http.h"
#include "agent/thread.h"
#include "agent/waiter.h"
#include "base/json.h"

enum stage { STAGE_IDLE, STAGE_FLUSHING, STAGE_HELD, STAGE_OVER };

struct freezer {
	struct evhttp_request *asked; /* the freeze that has no answer yet; NULL: none */
	struct waiters thaws;         /* wait for STAGE_OVER */
	struct event *told;
	int told_fd; /* eventfd: the thread has reached a stage */
	int let_go;  /* eventfd: the thread is to let go */
	atomic_int stage;
	/* The thread's from its start to STAGE_OVER, the loop's afterwards. */
	int64_t end_ms;
	struct freeze_set set;
	struct err err; /* why nothing is held */
};

enum {
	HOLD_DEFAULT_MS = 10000,
	HOLD_MAX_MS = 60000,
};

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void tell(struct freezer *f, enum stage stage)
{
	atomic_store(&f->stage, (int)stage);
	(void)eventfd_write(f->told_fd, 1); /* fails only after 2^64 - 2 unread ones */
}

/* Until it is told to let go, or the time is over. */
static void hold(const struct freezer *f)
{
	struct pollfd fd = {.fd = f->let_go, .events = POLLIN};
	int64_t left;

	while ((left = f->end_ms - now_ms()) > 0)
		if (poll(&fd, 1, (int)left) > 0)
			return;
}

static void *freeze_main(void *arg)
{
	struct freezer *f = arg;
	int r = freeze_find(&f->set, &f->err);

	if (r == 0)
		r = freeze_hold(&f->set, &f->err);
	if (r == 0) {
		tell(f, STAGE_HELD);
		hold(f);
		freeze_let_go(&f->set);
	}
	freeze_set_done(&f->set);
	tell(f, STAGE_OVER);
	return NULL;
}

/* Held and let go again before anybody looked is no success either. */
static void answer_asked(struct freezer *f)
{
	struct evhttp_request *req = f->asked;
	int code = f->err.code;

	f->asked = NULL;
	if (!req)
		return;
	if (code == 0)
		http_error(req, HTTP_INTERNAL, "they were let go again");
	else
		http_error(req, code == ENOTSUP ? HTTP_NOTIMPLEMENTED : HTTP_INTERNAL, "%s",
			   f->err.text);
}

static void stage_reached(evutil_socket_t fd, short what, void *arg)
{
	struct freezer *f = arg;
	eventfd_t count;

	(void)what;
	if (eventfd_read(fd, &count))
		return;
	if (atomic_load(&f->stage) == STAGE_HELD && f->asked) {
		http_empty(f->asked, HTTP_NOCONTENT);
		f->asked = NULL;
	}
	if (atomic_load(&f->stage) != STAGE_OVER)
		return;
	(void)eventfd_read(f->let_go, &count); /* nothing in it: the time was over */
	atomic_store(&f->stage, STAGE_IDLE);
	answer_asked(f);
	waiters_answer(&f->thaws, HTTP_NOCONTENT, NULL);
}

struct freezer *freezer_new(struct event_base *base)
{
	struct freezer *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	STAILQ_INIT(&f->thaws);
	f->let_go = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->told = f->told_fd < 0
			  ? NULL
			  : event_new(base, f->told_fd, EV_READ | EV_PERSIST, stage_reached, f);
	if (f->let_go < 0 || !f->told || event_add(f->told, NULL)) {
		free(f); /* the program ends on this, so the descriptors need not be closed */
		return NULL;
	}
	return f;
}

/* Return: 0; -EINVAL. */
static int read_hold_ms(struct evhttp_request *req, int64_t *ret_ms, struct err *e)
{
	AUTO_JSON body = NULL;
	int r = http_body(req, &body, e);

	if (r < 0)
		return r;
	*ret_ms = json_at(body, "hold_ms") ? json_int_at(body, "hold_ms", 0) : HOLD_DEFAULT_MS;
	if (*ret_ms <= 0)
		return err_set(e, EINVAL, "hold_ms is not a number of milliseconds");
	if (*ret_ms > HOLD_MAX_MS)
		*ret_ms = HOLD_MAX_MS;
	return 0;
}

void freeze_post(struct agent *a, struct evhttp_request *req)
{
	struct freezer *f = a->freezer;
	struct err e = {0};
	int64_t ms;

	if (read_hold_ms(req, &ms, &e) < 0) {
		http_error(req, HTTP_BADREQUEST, "%s", e.text);
		return;
	}
	if (atomic_load(&f->stage) != STAGE_IDLE) {
		http_error(req, 409, "the file systems are held already");
		return;
	}
	f->err = (struct err){0};
	f->end_ms = now_ms() + ms;
	f->asked = req;
	atomic_store(&f->stage, STAGE_FLUSHING);
	if (thread_start(freeze_main, f)) {
		atomic_store(&f->stage, STAGE_IDLE);
		f->asked = NULL;
		http_error(req, HTTP_SERVUNAVAIL, "no thread could be started for it");
	}
}

void freeze_end(struct agent *a)
{
	if (atomic_load(&a->freezer->stage) != STAGE_IDLE)
		(void)eventfd_write(a->freezer->let_go,
				    1); /* fails only after 2^64 - 2 unread ones */
}

void freeze_thaw_post(struct agent *a, struct evhttp_request *req)
{
	/* First of all: that there is no memory for an answer is no reason to go on holding. */
	freeze_end(a);
	if (atomic_load(&a->freezer->stage) == STAGE_IDLE) {
		http_empty(req, HTTP_NOCONTENT);
		return;
	}
	(void)waiters_add(&a->freezer->thaws, req); /* or it has been answered */
}
