/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/event.h - what happened, as numbered JSON lines, and who wants to know */
#ifndef SBXFS_OPS_EVENT_H
#define SBXFS_OPS_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	EVENT_SHOWN_MAX = 1000, /* the newest that an opened stream begins with; sbxfs(5) */
	EVENT_KEPT_MAX = 4096,  /* kept in memory */
};

/* Before anything happens: the number of the first event, above those of every daemon before. Without it: 1. */
void event_init(uint64_t first);

/**
 * event_add() - Something happened
 * @serial:  of the sandbox; 0: the daemon itself
 * @sandbox: its name, "" for the daemon
 * @event:   a word, such as "state"
 * @fmt:     further JSON members with their leading comma, such as ",\"state\":\"%s\""; "" for none
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
