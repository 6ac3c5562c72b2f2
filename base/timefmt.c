/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/timefmt.c - wall-clock time as text */
#include "base/timefmt.h"

#include <stdio.h>
#include <time.h>

enum {
	MS_PER_S = 1000,
	NS_PER_MS = 1000000,
};

int64_t wall_ms(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

const char *time_text(int64_t wall_ms, char ret_text[TIME_TEXT_SIZE])
{
	int64_t ms = wall_ms % MS_PER_S, sec = wall_ms / MS_PER_S;
	time_t when;
	struct tm tm;
	size_t len;

	ret_text[0] = '\0';
	if (wall_ms == 0)
		return ret_text;
	if (ms < 0) {
		ms += MS_PER_S;
		sec--;
	}
	when = (time_t)sec;
	if (!gmtime_r(&when, &tm))
		return ret_text;
	len = strftime(ret_text, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	/* 19 bytes and 5 for any year of four digits; cut, not overrun, for another. */
	(void)snprintf(ret_text + len, TIME_TEXT_SIZE - len, ".%03dZ", (int)ms);
	return ret_text;
}
