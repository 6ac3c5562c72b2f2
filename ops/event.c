/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/event.c - the ring of events and its one listener
 *
 * How it works: events are kept as ready lines in a ring; number N lies at N % EVENT_KEPT_MAX until it is
 * overwritten. A reader holds nothing but the number it wants next, so a slow one loses the oldest lines
 * (their numbers show the gap) and never holds anybody up.
 */
#include "ops/event.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"

struct event {
	uint32_t serial;
	char *line; /* owned, with its newline; NULL: could not be kept */
};

static pthread_mutex_t event_lock = PTHREAD_MUTEX_INITIALIZER;
static struct event ring[EVENT_KEPT_MAX];
static uint64_t first_number = 1; /* of this daemon's */
static uint64_t next_number = 1;
static _Atomic(void (*)(uint32_t serial, unsigned what)) listener;

void event_set_listener(void (*fn)(uint32_t serial, unsigned what))
{
	atomic_store(&listener, fn);
}

void event_tell(uint32_t serial, unsigned what)
{
	void (*fn)(uint32_t, unsigned) = atomic_load(&listener);

	if (fn)
		fn(serial, what);
}

void event_init(uint64_t first)
{
	first_number = next_number = first;
}

void event_add(uint32_t serial, const char *sandbox, const char *event, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	char when[TIME_TEXT_SIZE];
	struct event *at;
	va_list args;

	pthread_mutex_lock(&event_lock);
	buf_addf(&b, "{\"seq\":%llu,\"time\":\"%s\",\"sandbox\":", (unsigned long long)next_number,
		 time_text(wall_ms(), when));
	buf_add_json(&b, sandbox);
	buf_addf(&b, ",\"event\":\"%s\"", event);
	va_start(args, fmt);
	buf_addv(&b, fmt, args);
	va_end(args);
	buf_adds(&b, "}\n");
	at = &ring[next_number++ % EVENT_KEPT_MAX];
	free(at->line);
	at->serial = serial;
	at->line = buf_error(&b) == 0 ? b.data : NULL;
	if (!at->line)
		buf_done(&b);
	pthread_mutex_unlock(&event_lock);
	event_tell(serial, EVENT_LINE);
}

/* The oldest number that is still kept; under the lock. */
static uint64_t oldest_number(void)
{
	return next_number > first_number + EVENT_KEPT_MAX ? next_number - EVENT_KEPT_MAX
							   : first_number;
}

uint64_t event_begin(uint32_t serial)
{
	uint64_t n, seen = 0;

	pthread_mutex_lock(&event_lock);
	for (n = next_number; n > oldest_number() && seen < EVENT_SHOWN_MAX; n--)
		seen += serial == 0 || ring[(n - 1) % EVENT_KEPT_MAX].serial == serial;
	pthread_mutex_unlock(&event_lock);
	return n;
}

uint64_t event_read(uint32_t serial, uint64_t from, uint64_t max, struct buf *b)
{
	size_t before = b->len;
	uint64_t n;

	pthread_mutex_lock(&event_lock);
	n = from < oldest_number() ? oldest_number() : from;
	for (; n < next_number; n++) {
		const struct event *at = &ring[n % EVENT_KEPT_MAX];

		if (!at->line || (serial != 0 && at->serial != serial))
			continue;
		if (b->len > before && b->len - before + strlen(at->line) > max)
			break;
		buf_adds(b, at->line);
	}
	pthread_mutex_unlock(&event_lock);
	return n;
}
