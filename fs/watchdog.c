/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/watchdog.c - telling the service manager that the loop goes on
 *
 * How it works: the loop itself says so between two requests, at half the time that is allowed, so a loop that hangs says nothing and
 * the daemon is ended and started again.
 */
#include "fs/watchdog.h"

#include <stdint.h>
#include <systemd/sd-daemon.h>

#include "base/deadline.h"

enum {
	PERIOD_MIN_MS = 1,
	PERIOD_MAX_MS = 3600 * 1000, /* often enough for any */
};

static int64_t period_ms; /* 0: nobody wants to know */
static int64_t next_ms;   /* to be told again */

void watchdog_init(void)
{
	uint64_t usec = 0;

	period_ms = 0;
	next_ms = 0;
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return;
	period_ms = usec / 2000 < PERIOD_MAX_MS ? (int64_t)(usec / 2000) : PERIOD_MAX_MS;
	if (period_ms < PERIOD_MIN_MS)
		period_ms = PERIOD_MIN_MS;
}

int watchdog_tick(void)
{
	int64_t now = clock_ms();

	if (period_ms == 0)
		return -1;
	if (now >= next_ms) {
		(void)sd_notify(0, "WATCHDOG=1"); /* lost: the next one is soon enough */
		next_ms = now + period_ms;
	}
	return (int)(next_ms - now);
}
