/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/event.h - what happened, as numbered JSON lines, and who wants to know */
#ifndef SBXFS_OPS_EVENT_H
#define SBXFS_OPS_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	EVENT_SHOWN_MAX = 1000,     /* the newest that an opened stream begins with; sbxfs(5) */
	EVENT_KEPT_MAX = 16384,     /* kept in memory … */
	EVENT_KEPT_BYTES = 2 << 20, /* … as far as their lines have room: as much as the log has */
};

/**
 * event_start() - Read back what earlier daemons have left in the state directory, and go on from there
 *
 * Before anything happens. Without a log, which is said in the daemon's own, events are kept in memory alone.
 * Return: 0; -EBADMSG, -EIO when it is not known which numbers were given out.
 */
int event_start(struct err *e);

/* At the end: what is in the log is synced, the listener and all events are forgotten. */
void event_done(void);

/* What event_start() ends with, and all that a test without a state directory needs: the number of the first event. Without: 1. */
void event_init(uint64_t first);

/**
 * event_add() - Something happened
 * @serial:  of the sandbox; 0: the daemon itself
 * @sandbox: its name, "" for the daemon
 * @event:   a word, such as "state"
 * @fmt:     further JSON members with their leading comma, such as ",\"state\":\"%s\""; "" for none
 *
 * It is in the log, as far as that can be written, and to be read once this returns.
 * Context: no lock held; waits for a write() to the log, not for its sync.
 */
void event_add(uint32_t serial, const char *sandbox, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The number that a stream opened now begins at: at most EVENT_SHOWN_MAX of @serial's (0: of all) lie behind it. */
uint64_t event_begin(uint32_t serial);

/**
 * event_read() - Append whole lines of events numbered @from or higher
 * @serial: only that sandbox's; 0: all
 * @max:    bytes at most (one line always fits when it is the first)
 * Return: the number to go on from. Nothing was appended when it has no event yet.
 */
uint64_t event_read(uint32_t serial, uint64_t from, uint64_t max, struct buf *b);

/* Consecutive events, as event_list() gives them. */
struct event_span {
	uint64_t missed;      /* numbers from where it was to begin that have been dropped */
	uint64_t from;        /* behind those */
	uint64_t first, last; /* of those in the list */
	unsigned count;
	uint64_t next; /* to go on from */
};

/* The events numbered @from or higher, @max at most, as a JSON list behind @b; whether it is complete, buf_error() tells. */
void event_list(uint64_t from, unsigned max, struct buf *b, struct event_span *ret);

/* This daemon's first number, and the next one. */
void event_numbers(uint64_t *ret_first, uint64_t *ret_next);

/* Called behind each event, from any thread with no locks held; must not block. NULL: nobody. */
void event_set_follower(void (*fn)(void));

enum event_what {
	EVENT_LINE = 1,   /* event_read() of this serial may have more */
	EVENT_STATUS = 2, /* state or status have changed: wake poll() */
	EVENT_GONE =
		4, /* a sandbox or template was removed or renamed by other means than the kernel's request */
};

/* The one listener (fs/). Called with no locks held, from any thread; must not block. */
void event_set_listener(void (*fn)(uint32_t serial, unsigned what));

/* For sbx_changed() and others of ops/. */
void event_tell(uint32_t serial, unsigned what);

#endif
