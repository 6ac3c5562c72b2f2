/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-lane.c - turns, overtaking, cancelling, asides, and all of it from many threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lane.h"

enum {
	WAIT_MS = 20000, /* a test that waits longer has failed */
	STORM_LANES = 50,
	STORM_JOBS = 1000,
};

/* A job that tells when it began, waits to be let go or cancelled, and writes its mark. */
struct probe {
	struct job job;
	sem_t begun, go, over;
	char mark;
	bool waits;
	int code; /* what run() returns */
	int result;
	int runs, dones; /* how often */
};

static pthread_mutex_t marks_lock = PTHREAD_MUTEX_INITIALIZER;
static char marks[64];

static void mark(char c)
{
	size_t len;

	pthread_mutex_lock(&marks_lock);
	len = strlen(marks);
	if (len + 1 < sizeof(marks))
		marks[len] = c;
	pthread_mutex_unlock(&marks_lock);
}

static int probe_run(struct job *j, struct err *e)
{
	struct probe *p = (struct probe *)j;
	struct deadline d = deadline_in(WAIT_MS, j->cancel_fd);
	int r = 0;

	p->runs++;
	mark(p->mark);
	sem_post(&p->begun);
	while (p->waits && r == 0 && sem_trywait(&p->go) < 0)
		r = deadline_poll(&(struct deadline){clock_ms() + 1, d.cancel_fd}, NULL, 0) ==
				    -ECANCELED
			    ? -ECANCELED
			    : 0;
	if (r == 0 && p->code)
		r = -p->code;
	return r < 0 ? err_set(e, -r, "the probe says so") : 0;
}

static void probe_done(struct job *j, int result, const struct err *e)
{
	struct probe *p = (struct probe *)j;

	assert_true(result == 0 || e->code == -result);
	p->result = result;
	p->dones++;
	sem_post(&p->over);
}

static struct probe *probe_new(enum job_kind kind, char c, bool waits)
{
	struct probe *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	assert_int_equal(job_init(&p->job, kind), 0);
	p->job.run = probe_run;
	p->job.done = probe_done;
	p->mark = c;
	p->waits = waits;
	sem_init(&p->begun, 0, 0);
	sem_init(&p->go, 0, 0);
	sem_init(&p->over, 0, 0);
	return p;
}

static void probe_free(struct probe *p)
{
	job_done(&p->job);
	free(p);
}

static void await(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	assert_int_equal(sem_timedwait(sem, &until), 0);
}

/* Wait for its end, check how it ended, release it. */
static void expect(struct probe *p, int result, int runs)
{
	await(&p->over);
	assert_int_equal(p->result, result);
	assert_int_equal(p->runs, runs);
	assert_int_equal(p->dones, 1);
	probe_free(p);
}

static struct probe *submit(struct lane *l, enum job_kind kind, char c, bool waits)
{
	struct probe *p = probe_new(kind, c, waits);

	assert_int_equal(lane_submit(l, &p->job), 0);
	return p;
}

static int reset(void **state)
{
	(void)state;
	memset(marks, 0, sizeof(marks));
	return 0;
}

static void test_order(void **state)
{
	struct lane l = {0};
	struct probe *a = submit(&l, JOB_LIFECYCLE, 'a', true), *b, *c;

	(void)state;
	await(&a->begun);
	b = submit(&l, JOB_LIFECYCLE, 'b', false);
	c = submit(&l, JOB_LIFECYCLE, 'c', false);
	assert_false(lane_turn_is_free(&l));
	sem_post(&a->go);
	expect(a, 0, 1);
	expect(b, 0, 1);
	expect(c, 0, 1);
	assert_string_equal(marks, "abc");
	assert_true(lane_turn_is_free(&l));
}

static void test_overtaking(void **state)
{
	struct lane l = {0};
	struct probe *a = submit(&l, JOB_LIFECYCLE, 'a', true), *b, *k, *d;

	(void)state;
	await(&a->begun);
	b = submit(&l, JOB_LIFECYCLE, 'b', false);
	k = submit(&l, JOB_OVERTAKING, 'k', true);
	expect(a, -ECANCELED, 1);
	expect(b, -ECANCELED, 0);
	await(&k->begun);
	/* Another one waits for it, and what was queued in between gives way. */
	b = submit(&l, JOB_LIFECYCLE, 'b', false);
	d = submit(&l, JOB_OVERTAKING, 'd', false);
	expect(b, -ECANCELED, 0);
	assert_int_equal(d->runs, 0);
	sem_post(&k->go);
	expect(k, 0, 1);
	expect(d, 0, 1);
	assert_string_equal(marks, "akd");
}

/* What the daemon gives itself to do is not forgotten because somebody writes `cancel`. */
static void test_keep(void **state)
{
	struct lane l = {0};
	struct probe *a = submit(&l, JOB_LIFECYCLE, 'a', true), *k, *own;

	(void)state;
	await(&a->begun);
	own = probe_new(JOB_LIFECYCLE, 'o', false);
	own->job.keep = true;
	assert_int_equal(lane_submit(&l, &own->job), 0);
	k = submit(&l, JOB_OVERTAKING, 'k', false);
	expect(a, -ECANCELED, 1);
	expect(k, 0, 1);
	expect(own, 0, 1);
	assert_string_equal(marks, "ako");
}

static void test_cancel(void **state)
{
	struct lane l = {0};
	struct probe *a = submit(&l, JOB_LIFECYCLE, 'a', true), *b, *c;

	(void)state;
	await(&a->begun);
	b = submit(&l, JOB_LIFECYCLE, 'b', false);
	c = submit(&l, JOB_LIFECYCLE, 'c', false);
	job_cancel(&b->job, EINTR); /* waiting: done() has been called when this returns */
	assert_int_equal(b->dones, 1);
	job_cancel(&b->job, ECANCELED); /* over: nothing */
	expect(b, -EINTR, 0);
	job_cancel(&a->job, EINTR);     /* active */
	job_cancel(&a->job, ECANCELED); /* the first reason counts */
	expect(a, -EINTR, 1);
	expect(c, 0, 1);
	assert_string_equal(marks, "ac");
}

/* A result counts although somebody cancelled: only a failure becomes the reason of the cancel. */
static void test_result_counts(void **state)
{
	struct lane l = {0};
	struct probe *a = probe_new(JOB_LIFECYCLE, 'a', false),
		     *b = submit(&l, JOB_LIFECYCLE, 'b', true);

	(void)state;
	await(&b->begun);
	sem_post(&b->go);
	expect(b, 0, 1);
	a->code = EIO;
	assert_int_equal(lane_submit(&l, &a->job), 0);
	expect(a, -EIO, 1);
}

static void test_asides(void **state)
{
	struct lane l = {0};
	struct probe *a = submit(&l, JOB_LIFECYCLE, 'a', true), *x, *y, *k;

	(void)state;
	await(&a->begun);
	x = submit(&l, JOB_ASIDE, 'x', true);
	await(&x->begun); /* beside the lifecycle job */
	y = probe_new(JOB_ASIDE, 'y', true);
	y->job.needs_guest = true;
	assert_int_equal(lane_submit(&l, &y->job), 0);
	await(&y->begun);
	k = submit(&l, JOB_OVERTAKING, 'k', false); /* does not touch asides */
	expect(a, -ECANCELED, 1);
	expect(k, 0, 1);
	assert_int_equal(x->dones + y->dones, 0);
	lane_end_guest_jobs(&l);
	expect(y, -EHOSTDOWN, 1);
	assert_int_equal(x->dones, 0);
	lane_close(&l);
	expect(x, -ECANCELED, 1);
}

static void test_nowait(void **state)
{
	struct lane l = {0};
	struct probe *a = submit(&l, JOB_LIFECYCLE, 'a', true), *b, *x;

	(void)state;
	await(&a->begun);
	b = probe_new(JOB_LIFECYCLE, 'b', false);
	b->job.nowait = true;
	assert_int_equal(lane_submit(&l, &b->job), -EBUSY);
	assert_int_equal(b->dones, 0);
	x = probe_new(JOB_ASIDE, 'x', false);
	x->job.nowait = true;
	assert_int_equal(lane_submit(&l, &x->job), 0);
	expect(x, 0, 1);
	sem_post(&a->go);
	expect(a, 0, 1);
	assert_int_equal(lane_submit(&l, &b->job), 0);
	expect(b, 0, 1);
}

static void test_close(void **state)
{
	struct lane l = {0};
	struct probe *a, *b, *c = probe_new(JOB_LIFECYCLE, 'c', false);

	(void)state;
	assert_true(lane_close_idle(&l));
	assert_int_equal(lane_submit(&l, &c->job), -ENOENT);
	lane_reopen(&l);
	a = submit(&l, JOB_LIFECYCLE, 'a', true);
	await(&a->begun);
	assert_false(lane_close_idle(&l));
	b = submit(&l, JOB_LIFECYCLE, 'b', false);
	lane_close(&l);
	expect(a, -ECANCELED, 1);
	expect(b, -ECANCELED, 0);
	assert_int_equal(lane_submit(&l, &c->job), -ENOENT);
	assert_int_equal(c->dones, 0);
	probe_free(c);
}

/* ---- from many threads ----------------------------------------------------------------------------- */

struct storm_job {
	struct job job;
	int lane;
};

static struct lane storm_lanes[STORM_LANES];
static atomic_int storm_turns[STORM_LANES]; /* with the turn at this moment: never more than 1 */
static atomic_int storm_over, storm_collisions, storm_ran;

static int storm_run(struct job *j, struct err *e)
{
	const struct storm_job *s = (struct storm_job *)j;
	bool turn = j->kind != JOB_ASIDE;

	if (turn && atomic_fetch_add(&storm_turns[s->lane], 1) != 0)
		atomic_fetch_add(&storm_collisions, 1);
	atomic_fetch_add(&storm_ran, 1);
	if (turn)
		atomic_fetch_sub(&storm_turns[s->lane], 1);
	return s->lane % 7 ? 0 : err_set(e, EIO, "one in seven lanes fails");
}

static void storm_done(struct job *j, int result, const struct err *e)
{
	(void)result;
	(void)e;
	job_done(j);
	free(j);
	atomic_fetch_add(&storm_over, 1);
}

static void *storm_thread(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	int submitted = 0;

	for (int i = 0; i < STORM_JOBS / 4; i++) {
		struct storm_job *s = calloc(1, sizeof(*s));
		int kind = (int)((seed = seed * 1103515245 + 12345) >> 16) % 8;

		if (!s || job_init(&s->job, kind == 0  ? JOB_OVERTAKING
					    : kind < 3 ? JOB_ASIDE
						       : JOB_LIFECYCLE) < 0)
			break;
		s->lane = (int)(seed >> 8) % STORM_LANES;
		s->job.run = storm_run;
		s->job.done = storm_done;
		if (lane_submit(&storm_lanes[s->lane], &s->job) == 0)
			submitted++;
		if (i % 50 == 0)
			lane_cancel(&storm_lanes[i % STORM_LANES], true);
	}
	return (void *)(uintptr_t)submitted;
}

static void test_storm(void **state)
{
	pthread_t threads[4];
	int submitted = 0;

	(void)state;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, (void *)(i + 1)),
				 0);
	for (int i = 0; i < 4; i++) {
		void *ret;

		assert_int_equal(pthread_join(threads[i], &ret), 0);
		submitted += (int)(uintptr_t)ret;
	}
	lane_done(); /* waits for all; the last test */
	assert_int_equal(submitted, STORM_JOBS);
	assert_int_equal(storm_over, STORM_JOBS);
	assert_int_equal(storm_collisions, 0);
	assert_true(storm_ran > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_order, reset),
		cmocka_unit_test_setup(test_overtaking, reset),
		cmocka_unit_test_setup(test_keep, reset),
		cmocka_unit_test_setup(test_cancel, reset),
		cmocka_unit_test_setup(test_result_counts, reset),
		cmocka_unit_test_setup(test_asides, reset),
		cmocka_unit_test_setup(test_nowait, reset),
		cmocka_unit_test_setup(test_close, reset),
		cmocka_unit_test_setup(test_storm, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
