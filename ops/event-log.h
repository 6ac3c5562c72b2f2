/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/event-log.h - events on disk: a bounded log in the state directory that the next daemon reads */
#ifndef SBXFS_OPS_EVENT_LOG_H
#define SBXFS_OPS_EVENT_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	EVENT_LOG_SEGMENT = 1 << 20, /* bytes; two of them are kept, so twice as much at most */
};

/* What the log knows of the numbers that were given out. */
struct event_log_numbers {
	uint64_t next; /* no number from here on was ever shown; 0: the log cannot vouch for that */
	uint64_t above; /* those that it knows of are below this */
};

/* A line that was read back: @line has @len bytes with its newline, and is borrowed for the call. */
typedef void (*event_log_take)(uint32_t serial, uint64_t number, const char *line, size_t len);

/**
 * event_log_open() - Read the log below @state_fd back, oldest first, and begin to write behind it
 * @state_fd: the state directory; borrowed
 * @segment:  bytes of a segment; EVENT_LOG_SEGMENT, less in a test
 * @ret:      filled in any case
 *
 * What a crash has torn is cut off with a line in the daemon's log. After a failure there is no log, and event_log_append() does
 * nothing.
 * Return: 0; -ENOSPC, -EIO, …: go on without.
 */
int event_log_open(int state_fd, size_t segment, event_log_take take, struct event_log_numbers *ret,
		   struct err *e);

/* Numbers begin at @first now: from here on the log vouches for them. Before the first event_log_append(). */
void event_log_begin(uint64_t first);

/**
 * event_log_append() - Write lines: each is the serial, a blank and the event with its newline
 * @text: NULL: there was no memory for them, so that the log lacks some
 *
 * They outlive the process once it returns, and the host some seconds later. A failure is logged once, and the log tells the next daemon
 * that it lacks some.
 * Context: one thread at a time; blocks as write() does, never for fsync.
 */
void event_log_append(const char *text, size_t len);

/* Sync and close it. Takes one that was never opened. */
void event_log_close(void);

#endif
