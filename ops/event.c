/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/event.c - the ring of events, its listener and who follows them
 *
 * How it works: events are kept as ready lines in a ring, by place; their numbers rise and may jump. What has come is in the log
 * (event-log.c) before anybody sees it: whoever adds an event takes the log's lock and writes all that has gathered meanwhile, so that
 * many at once are one write, and the lock of the ring, which readers take, is never held over it. A reader holds nothing but the
 * number it wants next, so a slow one loses the oldest lines (their numbers show the gap) and never holds anybody up.
 */
#include "ops/event.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/event-log.h"
#include "ops/host.h"
#include "ops/serial.h"

struct event {
	uint64_t number;
	uint32_t serial;
	size_t len;
	char *line; /* owned, with its newline; NULL: could not be kept */
};

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;   /* over writing the log */
static pthread_mutex_t event_lock = PTHREAD_MUTEX_INITIALIZER; /* all that follows */
static struct event ring[EVENT_KEPT_MAX];
static uint64_t tail, shown, head; /* places: kept are [tail, head), to be seen [tail, shown) */
static size_t kept_bytes;
static uint64_t next_number = 1;
static uint64_t kept_from = 1;    /* of the numbers from here on none was dropped */
static uint64_t first_number = 1; /* of this daemon */
static _Atomic(void (*)(uint32_t serial, unsigned what)) listener;
static _Atomic(void (*)(void)) follower;

void event_set_listener(void (*fn)(uint32_t serial, unsigned what))
{
	atomic_store(&listener, fn);
}

void event_set_follower(void (*fn)(void))
{
	atomic_store(&follower, fn);
}

void event_tell(uint32_t serial, unsigned what)
{
	void (*fn)(uint32_t, unsigned) = atomic_load(&listener);

	if (fn)
		fn(serial, what);
}

static struct event *at(uint64_t place)
{
	return &ring[place % EVENT_KEPT_MAX];
}

/* The functions below are called with the lock. */

static void drop_oldest(void)
{
	struct event *old = at(tail++);

	kept_from = old->number + 1;
	kept_bytes -= old->len;
	free(steal_ptr(&old->line));
	if (shown < tail)
		shown = tail;
}

/* @line is handed over; NULL: there was no memory. NOLINTNEXTLINE(readability-non-const-parameter): it is freed later */
static void push(uint32_t serial, uint64_t number, char *line, size_t len)
{
	while (head > tail &&
	       (head - tail == EVENT_KEPT_MAX || kept_bytes + len > EVENT_KEPT_BYTES))
		drop_oldest();
	*at(head++) = (struct event){.number = number, .serial = serial, .len = len, .line = line};
	kept_bytes += len;
}

/* The number at a place, or the one that will come there. */
static uint64_t number_at(uint64_t place)
{
	return place < head ? at(place)->number : next_number;
}

/* The first place to be seen with that number or a higher one. */
static uint64_t place_of(uint64_t number)
{
	uint64_t low = tail, high = shown;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (at(middle)->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- from daemon to daemon ------------------------------------------------------------------------------- */

static void take_back(uint32_t serial, uint64_t number, const char *line, size_t len)
{
	char *copy = strndup(line, len);

	pthread_mutex_lock(&event_lock);
	if (head == 0)
		kept_from = number;
	push(serial, number, copy, copy ? len : 0);
	shown = head;
	pthread_mutex_unlock(&event_lock);
}

void event_init(uint64_t first)
{
	pthread_mutex_lock(&event_lock);
	first_number = next_number = first;
	if (head == 0)
		kept_from = first;
	pthread_mutex_unlock(&event_lock);
}

int event_start(struct err *e)
{
	struct event_log_numbers known;
	uint64_t first = 1;
	int r = event_log_open(host.state_fd, EVENT_LOG_SEGMENT, take_back, &known, e);

	if (r < 0)
		log_warning("%s, ignoring: events are kept in memory alone", e->text);
	r = serial_of_events(&known, &first, e);
	if (r == -ENOSPC || r == -EDQUOT) { /* what runs is to be taken up on a full disk as well */
		log_warning("%s, ignoring: numbers of events may come twice", e->text);
		r = 0;
	}
	if (r < 0)
		return r;
	event_init(first);
	event_log_begin(first);
	return 0;
}

void event_done(void)
{
	event_set_listener(NULL);
	pthread_mutex_lock(&log_lock);
	event_log_close();
	pthread_mutex_unlock(&log_lock);
	pthread_mutex_lock(&event_lock);
	while (tail < head)
		drop_oldest();
	tail = shown = head = 0;
	pthread_mutex_unlock(&event_lock);
}

/* ---- adding ---------------------------------------------------------------------------------------------- */

/* What has gathered, as the log has it. Return: the place behind it. */
static uint64_t gather(struct buf *b)
{
	uint64_t place;

	pthread_mutex_lock(&event_lock);
	for (place = shown; place < head; place++) {
		const struct event *ev = at(place);

		if (!ev->line)
			continue;
		buf_addf(b, "%u ", ev->serial);
		buf_add(b, ev->line, ev->len);
	}
	pthread_mutex_unlock(&event_lock);
	return place;
}

/* All that has been added is written, and then seen. */
static void publish(void)
{
	AUTO_BUF b = BUF_INIT;
	void (*fn)(void) = atomic_load(&follower);
	uint64_t last;

	pthread_mutex_lock(&log_lock);
	last = gather(&b);
	if (b.len > 0 || buf_error(&b) < 0)
		event_log_append(buf_error(&b) < 0 ? NULL : b.data, b.len);
	pthread_mutex_lock(&event_lock);
	if (shown < last)
		shown = last;
	pthread_mutex_unlock(&event_lock);
	pthread_mutex_unlock(&log_lock);
	if (fn)
		fn();
}

void event_add(uint32_t serial, const char *sandbox, const char *event, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	char when[TIME_TEXT_SIZE];
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
	if (buf_error(&b) < 0)
		buf_done(&b);
	push(serial, next_number++, b.data, b.len);
	pthread_mutex_unlock(&event_lock);
	publish();
	event_tell(serial, EVENT_LINE);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

uint64_t event_begin(uint32_t serial)
{
	uint64_t place, seen = 0, number;

	pthread_mutex_lock(&event_lock);
	for (place = shown; place > tail && seen < EVENT_SHOWN_MAX; place--)
		seen += serial == 0 || at(place - 1)->serial == serial;
	number = number_at(place);
	pthread_mutex_unlock(&event_lock);
	return number;
}

uint64_t event_read(uint32_t serial, uint64_t from, uint64_t max, struct buf *b)
{
	size_t before = b->len;
	uint64_t place, next;

	pthread_mutex_lock(&event_lock);
	for (place = place_of(from); place < shown; place++) {
		const struct event *ev = at(place);

		if (!ev->line || (serial != 0 && ev->serial != serial))
			continue;
		if (b->len > before && b->len - before + ev->len > max)
			break;
		buf_add(b, ev->line, ev->len);
	}
	next = number_at(place);
	pthread_mutex_unlock(&event_lock);
	return next > from ? next : from;
}

void event_list(uint64_t from, unsigned max, struct buf *b, struct event_span *ret)
{
	uint64_t place;

	*ret = (struct event_span){.next = from};
	pthread_mutex_lock(&event_lock);
	ret->missed = from < kept_from ? kept_from - from : 0;
	ret->from = from + ret->missed;
	buf_addc(b, '[');
	for (place = place_of(ret->from); place < shown && ret->count < max; place++) {
		const struct event *ev = at(place);

		ret->next = ev->number + 1;
		if (!ev->line)
			continue;
		ret->last = ev->number;
		if (ret->count++ == 0)
			ret->first = ev->number;
		else
			buf_addc(b, ',');
		buf_add(b, ev->line, ev->len - 1); /* without its newline */
	}
	pthread_mutex_unlock(&event_lock);
	buf_addc(b, ']');
}

void event_numbers(uint64_t *ret_first, uint64_t *ret_next)
{
	pthread_mutex_lock(&event_lock);
	*ret_first = first_number;
	*ret_next = next_number;
	pthread_mutex_unlock(&event_lock);
}
