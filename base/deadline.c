/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/deadline.c - how long a call may block, and what may call it off
 *
 * How it works: a cancel wins over an event, so that a loop over a busy stream ends too. An event wins over
 * the end of the time, so that a deadline of 0 ms asks "is it there already?".
 */
#include "base/deadline.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

enum {
	DEADLINE_FDS_MAX = 7,
	MS_PER_S = 1000,
	NS_PER_MS = 1000000,
};

int64_t clock_ms(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

struct deadline deadline_in(int64_t ms, int cancel_fd)
{
	struct deadline d = {.at_ms = INT64_MAX, .cancel_fd = cancel_fd};
	int64_t now = clock_ms();

	if (ms < INT64_MAX - now)
		d.at_ms = now + ms;
	return d;
}

struct deadline deadline_within(const struct deadline *d, int64_t ms)
{
	struct deadline nearer = deadline_in(ms, d->cancel_fd);

	if (d->at_ms < nearer.at_ms)
		nearer.at_ms = d->at_ms;
	return nearer;
}

int deadline_left_ms(const struct deadline *d)
{
	int64_t now;

	if (d->at_ms == INT64_MAX)
		return -1;
	now = clock_ms();
	if (d->at_ms <= now)
		return 0;
	return d->at_ms - now < INT_MAX ? (int)(d->at_ms - now) : INT_MAX;
}

bool deadline_cancelled(const struct deadline *d)
{
	struct pollfd p = {.fd = d->cancel_fd, .events = POLLIN};

	if (d->cancel_fd < 0)
		return false;
	while (poll(&p, 1, 0) < 0)
		if (errno != EINTR)
			return false;
	return p.revents != 0;
}

int deadline_poll(const struct deadline *d, struct pollfd *fds, unsigned n)
{
	struct pollfd all[DEADLINE_FDS_MAX + 1];
	int ready;

	if (n > DEADLINE_FDS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		all[i] = fds[i];
	all[n] = (struct pollfd){.fd = d->cancel_fd, .events = POLLIN};
	for (;;) {
		int left = deadline_left_ms(d);

		ready = poll(all, n + 1, left);
		if (ready > 0)
			break;
		if (ready == 0 && left != INT_MAX)
			return -ETIMEDOUT;
		if (ready < 0 && errno != EINTR)
			return -errno;
	}
	if (all[n].revents)
		return -ECANCELED;
	for (unsigned i = 0; i < n; i++)
		fds[i].revents = all[i].revents;
	return ready;
}
