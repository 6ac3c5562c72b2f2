/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/timefmt.h - wall-clock time as text */
#ifndef SBXFS_BASE_TIMEFMT_H
#define SBXFS_BASE_TIMEFMT_H

#include <stdint.h>

enum {
	TIME_TEXT_SIZE = 32, /* "2026-01-02T03:04:05.678Z" and a NUL, with room */
};

/* Milliseconds since 1970-01-01T00:00:00Z. */
int64_t wall_ms(void);

/* RFC 3339 in UTC with milliseconds; "" for 0. */
const char *time_text(int64_t wall_ms, char ret_text[TIME_TEXT_SIZE]);

#endif
