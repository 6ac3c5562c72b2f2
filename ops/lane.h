/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/lane.h - jobs, the queue of each object (its lane), and the workers that take turns
 *
 * A lane runs one lifecycle job at a time, in order of arrival. Aside jobs run at once beside it. An
 * overtaking job cancels the running one, empties the queue, and runs next. Workers are made as jobs come and end when idle;
 * lifecycle and aside jobs have limits of their own, so that neither kind can starve the other.
 */
#ifndef SBXFS_OPS_LANE_H
#define SBXFS_OPS_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"

enum job_kind { JOB_LIFECYCLE, JOB_ASIDE, JOB_OVERTAKING };

struct job {
	struct job *next;  /* lane.c */
	struct lane *lane; /* lane.c */
	enum job_kind kind;
	int cancel_fd;        /* eventfd; owned; deadlines watch it */
	atomic_int cancelled; /* 0, or the errno that the job is to end with: EINTR, ECANCELED */
	atomic_bool dead;     /* no worker will look at it any more */

	/* Runs on a worker; its result is what counts unless the job was cancelled and it failed. */
	int (*run)(struct job *j, struct err *e);
	/* Called once, on a worker or the canceller, with no locks held: @result 0 or a negative errno. Frees the job. */
	void (*done)(struct job *j, int result, const struct err *e);
	/* May it wait in the queue? Jobs with nowait get -EBUSY from lane_submit() when the turn is not free. */
	bool nowait;
};

struct lane {
	struct job *running;      /* lifecycle or overtaking; [lane lock] */
	struct job *head, **tail; /* waiting; [lane lock] */
	struct job *asides;       /* running or waiting for a worker; [lane lock] */
	bool closed;              /* destroyed: everything is refused with ENOENT */
};

/* Start the pool; before the first lane_submit(). */
int lane_init(struct err *e);
/* Wait until no job is left, then end the workers. */
void lane_done(void);

void lane_open(struct lane *l);

int job_init(struct job *j, enum job_kind kind); /* -EMFILE … */
void job_done(struct job *j);                    /* closes what job_init() opened */

/**
 * lane_submit() - Queue a job
 * Return: 0: done() will be called, perhaps before this returns; -EBUSY for nowait, -ENOENT on a closed lane: done() will not be
 *         called.
 */
int lane_submit(struct lane *l, struct job *j);

/* Ask a job to end with @why (EINTR, ECANCELED). A queued one ends at once. Idempotent; any thread. The caller must know that
 * the job has not been freed. */
void job_cancel(struct job *j, int why);

/* Cancel what runs and what waits, with ECANCELED; asides too when @asides. */
void lane_cancel(struct lane *l, bool asides);

/* Refuse everything from now on; called by the job that destroys the object. */
void lane_close(struct lane *l);

/* Nothing runs and nothing waits. */
bool lane_is_idle(struct lane *l);

#endif
