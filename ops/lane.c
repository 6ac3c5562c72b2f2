/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/lane.c - jobs, lanes and the pool of workers
 *
 * How it works: one lock guards every lane and the pool; it is held for list work only. A job that has
 * its turn is put on the pool's list of its class (lifecycle, aside, the daemon's own, those that lifecycle ones wait for), a
 * worker takes it from there. Each class has a limit of its own: a thousand waiting execs hold up neither a start nor
 * a shutdown.
 * A worker that finds nothing to do for POOL_IDLE_SEC ends; the next job makes a new one.
 */
#include "ops/lane.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

enum {
	POOL_LIFECYCLE_MAX = 64, /* lifecycle jobs at once: each may build a whole VM */
	POOL_ASIDE_MAX = 1024,   /* aside jobs at once: most of them wait */
	POOL_DAEMON_MAX = 64,    /* .ctl: create, shutdown, … at once */
	POOL_INNER_MAX = 16, /* those that others wait for, while they hold a worker themselves */
	POOL_IDLE_SEC = 10,
	POOL_STACK_BYTES =
		1 << 20, /* address space only; libnftables is the hungriest of what runs here */
};

enum pool_class { POOL_LIFECYCLE, POOL_ASIDE, POOL_DAEMON, POOL_INNER, POOL_CLASS_COUNT };

struct pool {
	struct job *head, **tail;             /* ready jobs */
	unsigned ready, workers, idle, limit; /* ready: length of the list */
	pthread_cond_t work;
};

static pthread_mutex_t lane_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t lane_quiet = PTHREAD_COND_INITIALIZER; /* a worker ended or a job was done */
static struct pool pools[POOL_CLASS_COUNT] = {
	[POOL_LIFECYCLE] = {.limit = POOL_LIFECYCLE_MAX, .work = PTHREAD_COND_INITIALIZER},
	[POOL_ASIDE] = {.limit = POOL_ASIDE_MAX, .work = PTHREAD_COND_INITIALIZER},
	[POOL_DAEMON] = {.limit = POOL_DAEMON_MAX, .work = PTHREAD_COND_INITIALIZER},
	[POOL_INNER] = {.limit = POOL_INNER_MAX, .work = PTHREAD_COND_INITIALIZER},
};
static unsigned jobs_alive; /* submitted and not over */
static bool pool_stopping;

static struct pool *job_pool(const struct job *j)
{
	static const enum pool_class classes[] = {
		[JOB_LIFECYCLE] = POOL_LIFECYCLE,
		[JOB_OVERTAKING] = POOL_LIFECYCLE,
		[JOB_ASIDE] = POOL_ASIDE,
		[JOB_DAEMON] = POOL_DAEMON,
	};

	return &pools[j->inner ? POOL_INNER : classes[j->kind]];
}

int job_init(struct job *j, enum job_kind kind)
{
	memset(j, 0, sizeof(*j));
	j->kind = kind;
	j->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return j->cancel_fd < 0 ? -errno : 0;
}

void job_done(struct job *j)
{
	fd_close(steal_fd(&j->cancel_fd));
}

/* Take a job off a singly linked list; true when it was there. */
static bool list_remove(struct job **head, struct job *j)
{
	for (struct job **at = head; *at; at = &(*at)->next) {
		if (*at == j) {
			*at = j->next;
			j->next = NULL;
			return true;
		}
	}
	return false;
}

static void pool_push(struct pool *p, struct job *j)
{
	if (!p->head)
		p->tail = &p->head;
	j->next = NULL;
	*p->tail = j;
	p->tail = &j->next;
	j->place = JOB_READY;
	p->ready++;
	pthread_cond_signal(&p->work);
}

static void pool_remove(struct pool *p, struct job *j)
{
	if (!list_remove(&p->head, j))
		return;
	p->ready--;
	p->tail = &p->head;
	while (*p->tail)
		p->tail = &(*p->tail)->next;
}

static void aside_link(struct lane *l, struct job *j)
{
	j->aside_next = l->asides;
	if (j->aside_next)
		j->aside_next->aside_link = &j->aside_next;
	j->aside_link = &l->asides;
	l->asides = j;
}

static void aside_unlink(struct job *j)
{
	*j->aside_link = j->aside_next;
	if (j->aside_next)
		j->aside_next->aside_link = j->aside_link;
	j->aside_next = NULL;
	j->aside_link = NULL;
}

/* Give the turn to the next in the queue, if it is free. */
static void lane_dispatch(struct lane *l)
{
	struct job *j = l->head;

	if (l->running || !j)
		return;
	l->head = j->next;
	l->running = j;
	pool_push(job_pool(j), j);
}

/* The job leaves its lane for good; the caller calls done() once the lock is dropped. */
static void lane_leave(struct job *j)
{
	struct lane *l = j->lane;

	if (j->place == JOB_WAITING)
		(void)list_remove(&l->head, j);
	else if (j->place == JOB_READY)
		pool_remove(job_pool(j), j);
	if (j->aside_link)
		aside_unlink(j);
	if (l->running == j)
		l->running = NULL;
	j->place = JOB_OVER;
	lane_dispatch(l);
}

static void job_finish(struct job *j, int result, const struct err *e)
{
	j->done(j, result, e);
	pthread_mutex_lock(&lane_lock);
	jobs_alive--;
	pthread_cond_broadcast(&lane_quiet);
	pthread_mutex_unlock(&lane_lock);
}

static int cancel_text(int why, struct err *e)
{
	if (why == EINTR)
		return err_set(e, EINTR, "interrupted by a signal, undone");
	if (why == EHOSTDOWN)
		return err_set(e, EHOSTDOWN, "the guest went away");
	return err_set(e, ECANCELED, "cancelled by another command");
}

/* The end of a job that never began and has left its lane. */
static void job_call_off(struct job *j, int why)
{
	struct err e = {0};
	int result = cancel_text(why, &e);

	if (j->ended)
		j->ended(j, result, &e);
	job_finish(j, result, &e);
}

/* Mark, and wake whoever watches the cancel descriptor. True when it was this call that marked it. */
static bool job_mark(struct job *j, int why)
{
	int none = 0;
	uint64_t one = 1;

	if (!atomic_compare_exchange_strong(&j->cancelled, &none, why))
		return false;
	(void)file_write_all(j->cancel_fd, &one, sizeof(one)); /* cannot fail: the counter is 0 */
	return true;
}

void job_cancel(struct job *j, int why)
{
	bool begun;

	pthread_mutex_lock(&lane_lock);
	if (j->place == JOB_OVER || j->place == JOB_NOWHERE || !job_mark(j, why)) {
		pthread_mutex_unlock(&lane_lock);
		return;
	}
	begun = j->place == JOB_ACTIVE;
	if (!begun)
		lane_leave(j);
	pthread_mutex_unlock(&lane_lock);
	if (!begun)
		job_call_off(j, why);
}

static void job_run(struct job *j)
{
	struct err e = {0};
	int result, why = atomic_load(&j->cancelled);

	if (why)
		result = cancel_text(why, &e);
	else
		result = j->run(j, &e);
	if (result < 0)
		why = atomic_load(&j->cancelled);
	if (result < 0 && why && result != -why)
		result = cancel_text(why, &e);
	if (j->ended)
		j->ended(j, result, &e);
	pthread_mutex_lock(&lane_lock);
	lane_leave(j);
	pthread_mutex_unlock(&lane_lock);
	job_finish(j, result, &e);
}

/* The next ready job, waiting for one; NULL when this worker is to end. */
static struct job *pool_take(struct pool *p)
{
	struct timespec until;
	struct job *j;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += POOL_IDLE_SEC;
	p->idle++;
	while (!p->head && !pool_stopping)
		if (pthread_cond_timedwait(&p->work, &lane_lock, &until) == ETIMEDOUT)
			break;
	p->idle--;
	j = p->head;
	if (j) {
		p->head = j->next;
		p->ready--;
		j->next = NULL;
		j->place = JOB_ACTIVE;
	}
	return j;
}

static void *pool_worker(void *arg)
{
	struct pool *p = arg;
	struct job *j;

	pthread_mutex_lock(&lane_lock);
	while ((j = pool_take(p))) {
		pthread_mutex_unlock(&lane_lock);
		job_run(j);
		log_subject(NULL);
		pthread_mutex_lock(&lane_lock);
	}
	p->workers--;
	pthread_cond_broadcast(&lane_quiet);
	pthread_mutex_unlock(&lane_lock);
	return NULL;
}

/* See to it that one more ready job will be taken. Fails only when there is no worker at all. */
static int pool_staff(struct pool *p)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	if (p->idle > p->ready || p->workers >= p->limit)
		return 0;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, POOL_STACK_BYTES);
	r = pthread_create(&thread, &attr, pool_worker, p);
	pthread_attr_destroy(&attr);
	if (r == 0)
		p->workers++;
	return p->workers ? 0 : -EAGAIN;
}

/* Put an overtaking job behind the overtaking ones that wait already. */
static void queue_overtaking(struct lane *l, struct job *j)
{
	struct job **at = &l->head;

	while (*at && (*at)->kind == JOB_OVERTAKING)
		at = &(*at)->next;
	j->next = *at;
	*at = j;
}

static void queue_last(struct lane *l, struct job *j)
{
	struct job **at = &l->head;

	while (*at)
		at = &(*at)->next;
	j->next = NULL;
	*at = j;
}

static bool job_gives_way(const struct job *j)
{
	return j->kind == JOB_LIFECYCLE && !j->keep;
}

/*
 * Take one lifecycle job that is to be cancelled: a waiting or ready one leaves the lane and is returned
 * for its done(), an active one is only marked.
 */
static struct job *lane_cancel_one(struct lane *l)
{
	struct job *j = l->head;

	while (j && !job_gives_way(j))
		j = j->next;
	if (!j && l->running && job_gives_way(l->running)) {
		j = l->running;
		if (j->place == JOB_ACTIVE) {
			(void)job_mark(j, ECANCELED);
			return NULL;
		}
	}
	if (j) {
		(void)job_mark(j, ECANCELED);
		lane_leave(j);
	}
	return j;
}

/* What an overtaking job ends. Returns with the lane lock, held since it last looked. */
static void lane_clear_locked(struct lane *l)
{
	struct job *j;

	pthread_mutex_lock(&lane_lock);
	while ((j = lane_cancel_one(l))) {
		pthread_mutex_unlock(&lane_lock);
		job_call_off(j, ECANCELED);
		pthread_mutex_lock(&lane_lock);
	}
}

static void lane_enter(struct lane *l, struct job *j)
{
	jobs_alive++;
	j->lane = l;
	j->place = JOB_WAITING;
	if (j->kind == JOB_ASIDE || j->kind == JOB_DAEMON) {
		aside_link(l, j);
		pool_push(job_pool(j), j);
	} else if (j->kind == JOB_OVERTAKING) {
		queue_overtaking(l, j);
	} else {
		queue_last(l, j);
	}
	lane_dispatch(l);
}

int lane_submit(struct lane *l, struct job *j)
{
	int r = 0;

	if (j->kind == JOB_OVERTAKING)
		lane_clear_locked(l);
	else
		pthread_mutex_lock(&lane_lock);
	if (l->closed)
		r = -ENOENT;
	else if (j->nowait && j->kind == JOB_LIFECYCLE && (l->running || l->head))
		r = -EBUSY;
	else
		r = pool_staff(job_pool(j));
	if (r == 0)
		lane_enter(l, j);
	pthread_mutex_unlock(&lane_lock);
	return r;
}

/* As lane_cancel_one() for asides; active ones are marked, which ends the walk over those that were not. */
static struct job *aside_end_one(struct lane *l, bool guest_only, int why)
{
	for (struct job *j = l->asides; j; j = j->aside_next) {
		if ((guest_only && !j->needs_guest) || !job_mark(j, why) || j->place == JOB_ACTIVE)
			continue;
		lane_leave(j);
		return j;
	}
	return NULL;
}

void lane_cancel(struct lane *l, bool asides)
{
	struct job *j;

	do {
		pthread_mutex_lock(&lane_lock);
		j = lane_cancel_one(l);
		if (!j && asides)
			j = aside_end_one(l, false, ECANCELED);
		pthread_mutex_unlock(&lane_lock);
		if (j)
			job_call_off(j, ECANCELED);
	} while (j);
}

void lane_end_guest_jobs(struct lane *l)
{
	struct job *j;

	do {
		pthread_mutex_lock(&lane_lock);
		j = aside_end_one(l, true, EHOSTDOWN);
		pthread_mutex_unlock(&lane_lock);
		if (j)
			job_call_off(j, EHOSTDOWN);
	} while (j);
}

bool lane_has_guest_jobs(struct lane *l)
{
	bool has = false;

	pthread_mutex_lock(&lane_lock);
	for (const struct job *j = l->asides; j && !has; j = j->aside_next)
		has = j->needs_guest;
	pthread_mutex_unlock(&lane_lock);
	return has;
}

void lane_close(struct lane *l)
{
	pthread_mutex_lock(&lane_lock);
	l->closed = true;
	pthread_mutex_unlock(&lane_lock);
	lane_cancel(l, true);
}

bool lane_turn_is_free(struct lane *l)
{
	bool is_free;

	pthread_mutex_lock(&lane_lock);
	is_free = !l->running && !l->head;
	pthread_mutex_unlock(&lane_lock);
	return is_free;
}

bool lane_close_idle(struct lane *l)
{
	bool idle;

	pthread_mutex_lock(&lane_lock);
	idle = !l->running && !l->head && !l->asides;
	l->closed |= idle;
	pthread_mutex_unlock(&lane_lock);
	return idle;
}

void lane_reopen(struct lane *l)
{
	pthread_mutex_lock(&lane_lock);
	l->closed = false;
	pthread_mutex_unlock(&lane_lock);
}

void lane_done(void)
{
	pthread_mutex_lock(&lane_lock);
	while (jobs_alive)
		pthread_cond_wait(&lane_quiet, &lane_lock);
	pool_stopping = true;
	for (int i = 0; i < POOL_CLASS_COUNT; i++)
		pthread_cond_broadcast(&pools[i].work);
	for (int i = 0; i < POOL_CLASS_COUNT; i++)
		while (pools[i].workers)
			pthread_cond_wait(&lane_quiet, &lane_lock);
	pthread_mutex_unlock(&lane_lock);
}
