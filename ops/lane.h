/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/lane.h - jobs, the queue of each object (its lane), and the workers that take turns
 *
 * A lane runs one lifecycle job at a time, in order of arrival. Aside jobs run at once beside it. An
 * overtaking job cancels the running lifecycle job, empties the queue, and runs next; it waits for
 * another overtaking one. Workers are made as jobs come and end when idle; lifecycle and aside jobs
 * have limits of their own, so that neither kind can starve the other.
 */
#ifndef SBXFS_OPS_LANE_H
#define SBXFS_OPS_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"

/* JOB_DAEMON is an aside job of the daemon's own, with workers that no number of others can take. */
enum job_kind { JOB_LIFECYCLE, JOB_ASIDE, JOB_OVERTAKING, JOB_DAEMON };

/* Where a job is; [lane lock]. */
enum job_place {
	JOB_NOWHERE, /* not submitted */
	JOB_WAITING, /* in its lane's queue */
	JOB_READY,   /* has its turn, waits for a worker */
	JOB_ACTIVE,  /* a worker runs it */
	JOB_OVER,    /* done() was or is being called */
};

struct job {
	enum job_kind kind;
	bool nowait;      /* lane_submit() answers -EBUSY rather than queue it */
	bool needs_guest; /* ends with the guest: lane_end_guest_jobs() */
	bool keep; /* lifecycle, the daemon's own: no overtaking job ends it, it runs after them */
	bool inner; /* lifecycle: another job waits for it, so its worker is one that no other job can take */
	int cancel_fd; /* eventfd that deadlines watch; owned */
	atomic_int
		cancelled; /* 0, or the errno that it is to end with: EINTR, ECANCELED, EHOSTDOWN */

	/* Runs on a worker. Its result counts, unless it failed after it was cancelled. */
	int (*run)(struct job *j, struct err *e);
	/* Called once before done(), with the turn if it had one: nothing else has begun yet. NULL: none. */
	void (*ended)(struct job *j, int result, const struct err *e);
	/* Called once with no locks held: @result 0 or a negative errno, then with @e filled. May free the job. */
	void (*done)(struct job *j, int result, const struct err *e);

	/* lane.c's own */
	enum job_place place;
	struct lane *lane;
	struct job *next;                     /* in the lane's queue or the pool's list */
	struct job *aside_next, **aside_link; /* in the lane's list of asides */
};

struct lane {
	struct job *running; /* lifecycle or overtaking, ready or active; [lane lock] */
	struct job *head;    /* waiting for their turn; [lane lock] */
	struct job *asides;  /* ready or active; [lane lock] */
	bool closed;         /* destroyed: everything is refused with -ENOENT; [lane lock] */
};

/**
 * lane_done() - Wait until no job is left, then end the workers
 *
 * Workers are started by the first lane_submit(). Nothing may be submitted any more.
 */
void lane_done(void);

/* Make and release what a job needs. Return: 0; -EMFILE, -ENFILE, -ENOMEM. */
int job_init(struct job *j, enum job_kind kind);
void job_done(struct job *j);

/**
 * lane_submit() - Queue a job, run it when its turn comes
 * Return: 0: done() will be called, perhaps before this returns; -EBUSY the turn is not free (nowait);
 *         -ENOENT the lane is closed; -EAGAIN no worker can be had; done() is called only after 0.
 */
int lane_submit(struct lane *l, struct job *j);

/**
 * job_cancel() - Ask a job to end with @why
 * Context: any thread, no lane lock; the job must not have been freed. One that has not begun ends at once, its done() is
 *          called from here. One that is over is left alone.
 */
void job_cancel(struct job *j, int why);

/* End what runs and what waits, with ECANCELED; asides that wait for it too when @asides. */
void lane_cancel(struct lane *l, bool asides);

/* End all asides that need the guest, with EHOSTDOWN: it is going away. */
void lane_end_guest_jobs(struct lane *l);

/* Does any aside that needs the guest run or wait for a worker? */
bool lane_has_guest_jobs(struct lane *l);

/* Refuse everything from now on; called by the job that destroys the object. */
void lane_close(struct lane *l);

/* No lifecycle or overtaking job runs or waits. */
bool lane_turn_is_free(struct lane *l);

/* As lane_close() if nothing runs and nothing waits; false otherwise. lane_reopen() takes it back. */
bool lane_close_idle(struct lane *l);
void lane_reopen(struct lane *l);

#endif
