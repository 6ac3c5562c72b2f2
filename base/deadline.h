/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/deadline.h - how long a call may block, and what may call it off
 *
 * Everything that waits for a VMM, a guest or the kernel takes a deadline. A wait ends when its event
 * comes, when the time is over (-ETIMEDOUT), or when the cancel descriptor becomes readable
 * (-ECANCELED); who cancelled, and so EINTR or ECANCELED for the user, is known above.
 */
#ifndef SBXFS_BASE_DEADLINE_H
#define SBXFS_BASE_DEADLINE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct deadline {
	int64_t at_ms; /* CLOCK_MONOTONIC; INT64_MAX: never */
	int cancel_fd; /* an eventfd, readable once cancelled; -1: none; borrowed */
};

/* CLOCK_MONOTONIC in milliseconds. */
int64_t clock_ms(void);

/* A deadline @ms from now. */
struct deadline deadline_in(int64_t ms, int cancel_fd);

/* The earlier of @d and @ms from now, with @d's cancel descriptor. */
struct deadline deadline_within(const struct deadline *d, int64_t ms);

/* Milliseconds left, 0 when over, INT_MAX at most: what poll() takes. -1 for never. */
int deadline_left_ms(const struct deadline *d);

bool deadline_cancelled(const struct deadline *d);

/**
 * deadline_poll() - poll() that also ends when the deadline is over or cancelled
 * @d:   the deadline
 * @fds: as for poll(); negative descriptors are skipped
 * @n:   length of @fds, 7 at most
 *
 * Return: number of ready descriptors (>0); -ETIMEDOUT; -ECANCELED; another negative errno of poll().
 */
int deadline_poll(const struct deadline *d, struct pollfd *fds, unsigned n);

#endif
