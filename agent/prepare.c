// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/prepare.c - make the guest small before the host saves its memory
 *
 * How it works: one step after the other, each in threads of its own, since any may block for as long as a disk does. What
 * is not done in the step's time is left to itself and passed over, so a file system that hangs costs time and nothing else;
 * as long as threads of a step are still at it the step is not begun again. Requests that come meanwhile share the answer.
 */
#include "agent/prepare.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/connection.h"
#include "agent/freeze-mounts.h"
#include "agent/http.h"
#include "agent/process.h"
#include "agent/thread.h"
#include "agent/waiter.h"
#include "base/cleanup.h"
#include "base/json.h"

enum {
	LIMIT_DEFAULT_MS = 20000,
	LIMIT_MAX_MS = 60000,
};

/* One step under way. The loop and each of its threads hold a reference: who is late finds it still there. */
struct work {
	struct preparer *p;
	unsigned step;
	atomic_uint refs;
	atomic_uint left; /* threads that are not through */
	atomic_uint next; /* file system that the next thread takes */
	struct freeze_set set;
};

enum { STEP_FIND, STEP_FLUSH, STEP_DROP, STEP_COMPACT, STEP_COUNT };

struct preparer {
	struct agent *a;
	struct waiters asked;
	bool running;
	unsigned step;
	int64_t end_ms;
	struct work *now;             /* NULL: between two steps */
	struct freeze_set found;      /* of STEP_FIND */
	atomic_uint late[STEP_COUNT]; /* threads, of this time or of one before */
	int told_fd;                  /* eventfd: a step is through */
	struct event *told, *overdue;
};

/* ---- the steps, in threads ----------------------------------------------------------------------- */

static void find(struct work *w)
{
	(void)freeze_find(&w->set, NULL); /* those that were found are those that can be helped */
}

/* One of them. Flushed first: what was freed is free for the disk only then. */
static void flush(struct work *w)
{
	struct fstrim_range all = {.len = UINT64_MAX};
	int fd = w->set.fs[atomic_fetch_add(&w->next, 1)].fd;

	if (syncfs(fd) == 0 && w->p->a->may_set)
		(void)ioctl(fd, FITRIM, &all); /* not every disk wants to know */
}

static void write_once(const char *path, const char *text, size_t len)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, len) < 0)
		return; /* a kernel without it, or not ours to change */
}

static void drop(struct work *w)
{
	(void)w;
	write_once("/proc/sys/vm/drop_caches", "3", 1);
}

static void compact(struct work *w)
{
	(void)w;
	write_once("/proc/sys/vm/compact_memory", "1", 1);
}

struct step {
	const char *name;
	void (*run)(struct work *w);
	int limit_ms;
	bool sets; /* changes the machine, beyond its file systems' disks */
};

/* clang-format off */
static const struct step steps[STEP_COUNT] = {
	[STEP_FIND]    = { "looking for file systems",        find,     1000, false },
	[STEP_FLUSH]   = { "flushing the file systems",       flush,   15000, false },
	[STEP_DROP]    = { "dropping caches",                 drop,     5000, true },
	[STEP_COMPACT] = { "compacting memory",               compact,  3000, true },
};
/* clang-format on */

static void work_put(struct work *w)
{
	if (atomic_fetch_sub(&w->refs, 1) != 1)
		return;
	freeze_set_done(&w->set);
	free(w);
}

static void thread_over(struct work *w)
{
	struct preparer *p = w->p;

	(void)atomic_fetch_sub(&p->late[w->step], 1);
	if (atomic_fetch_sub(&w->left, 1) == 1)
		(void)eventfd_write(p->told_fd, 1); /* fails only after 2^64 - 2 unread ones */
	work_put(w);
}

static void *thread_main(void *arg)
{
	struct work *w = arg;

	steps[w->step].run(w);
	thread_over(w);
	return NULL;
}

/* ---- one after the other, in the loop ------------------------------------------------------------ */

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Begin the step that it is at. False: there is nothing to wait for. */
static bool step_begin(struct preparer *p)
{
	const struct step *s = &steps[p->step];
	int64_t left = p->end_ms - now_ms();
	int64_t ms = left < s->limit_ms ? left : s->limit_ms;
	unsigned threads = p->step == STEP_FLUSH ? p->found.count : 1;
	const struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct work *w;

	if (threads == 0 || left <= 0 || (s->sets && !p->a->may_set) ||
	    atomic_load(&p->late[p->step]) > 0)
		return false;
	w = calloc(1, sizeof(*w));
	if (!w || event_add(p->overdue, &limit)) {
		free(w);
		return false;
	}
	w->p = p;
	w->step = p->step;
	w->set = p->found;
	p->found.count = 0;
	atomic_store(&w->left, threads);
	atomic_store(&w->refs, threads + 1);
	atomic_store(&p->late[p->step], threads);
	p->now = w;
	for (unsigned i = 0; i < threads; i++)
		if (thread_start(thread_main, w))
			thread_over(w);
	return true;
}

static void finish(struct preparer *p)
{
	p->running = false;
	freeze_set_done(&p->found);
	connection_end_idle();
	process_pause_expected(p->a);
	waiters_answer(&p->asked, HTTP_NOCONTENT, NULL);
}

static void go_on(struct preparer *p)
{
	while (p->step < STEP_COUNT && !step_begin(p))
		p->step++;
	if (p->step == STEP_COUNT)
		finish(p);
}

static void step_end(struct preparer *p)
{
	(void)event_del(p->overdue); /* cannot fail for an event that was made */
	work_put(p->now);
	p->now = NULL;
	p->step++;
	go_on(p);
}

static void told_cb(evutil_socket_t fd, short what, void *arg)
{
	struct preparer *p = arg;
	eventfd_t count;

	(void)what;
	/* It may have been a step that was passed over. */
	if (eventfd_read(fd, &count) || !p->now || atomic_load(&p->now->left) > 0)
		return;
	if (p->step == STEP_FIND) {
		p->found = p->now->set;
		p->now->set.count = 0;
	}
	step_end(p);
}

static void overdue_cb(evutil_socket_t fd, short what, void *arg)
{
	struct preparer *p = arg;

	(void)fd;
	(void)what;
	boot_say("%s took too long, ignoring", steps[p->step].name);
	step_end(p);
}

struct preparer *preparer_new(struct agent *a)
{
	struct preparer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->a = a;
	STAILQ_INIT(&p->asked);
	p->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->told = p->told_fd < 0 ? NULL
				 : event_new(a->base, p->told_fd, EV_READ | EV_PERSIST, told_cb, p);
	p->overdue = evtimer_new(a->base, overdue_cb, p);
	if (!p->told || !p->overdue || event_add(p->told, NULL)) {
		free(p); /* the program ends on this, so the descriptor need not be closed */
		return NULL;
	}
	return p;
}

/* Return: 0; -EINVAL. */
static int read_limit_ms(struct evhttp_request *req, int64_t *ret_ms, struct err *e)
{
	AUTO_JSON body = NULL;
	int r = http_body(req, &body, e);

	if (r < 0)
		return r;
	*ret_ms = json_at(body, "limit_ms") ? json_int_at(body, "limit_ms", 0) : LIMIT_DEFAULT_MS;
	if (*ret_ms <= 0)
		return err_set(e, EINVAL, "limit_ms is not a number of milliseconds");
	if (*ret_ms > LIMIT_MAX_MS)
		*ret_ms = LIMIT_MAX_MS;
	return 0;
}

void prepare_post(struct agent *a, struct evhttp_request *req)
{
	struct preparer *p = a->preparer;
	struct err e = {0};
	int64_t ms;

	if (read_limit_ms(req, &ms, &e) < 0) {
		http_error(req, HTTP_BADREQUEST, "%s", e.text);
		return;
	}
	/* Nor does its own stay open. */
	(void)evhttp_add_header(evhttp_request_get_output_headers(req), "Connection", "close");
	if (waiters_add(&p->asked, req) || p->running)
		return;
	p->running = true;
	p->step = 0;
	p->end_ms = now_ms() + ms;
	go_on(p);
}
