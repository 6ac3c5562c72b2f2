/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/process-private.h - what the process*.c files share */
#ifndef SBXFS_AGENT_PROCESS_PRIVATE_H
#define SBXFS_AGENT_PROCESS_PRIVATE_H

#include <sys/queue.h>

#include "agent/process.h"

struct event;
struct event_base;
struct json_object;

enum {
	OUTPUTS = 2, /* stdout and stderr */
};

/* A pipe that a process writes to. */
struct output {
	struct process *p;
	const char *name; /* as messages name it */
	int fd;           /* owned; -1: at its end */
	struct event *ready;
};

struct process {
	LIST_ENTRY(process) link;
	struct process_table *table;
	pid_t pid;
	char *tag;                  /* NULL: none; owned */
	struct json_object *config; /* owned */
	struct stream *stream;      /* NULL once the end was told or the client has gone */

	int report; /* owned; -1 when it has come */
	struct event *report_ready;
	struct output out[OUTPUTS];
	struct event *timeout; /* kills it */
	struct event *drained; /* nothing came for DRAIN_MS after the end */

	bool runs;   /* its program has begun */
	bool reaped; /* status is set and pid may be another's */
	bool kill_on_close;
	bool kill_late; /* its client went while nobody could tell whether the machine has stood still */
	bool kill_wanted; /* killed before its program began: kill the group once it has */
	bool signalled;   /* a client asked for a signal */
	bool paused;      /* the client does not keep up */
	int status;       /* of waitpid() */
};

LIST_HEAD(processes, process);

struct process_table {
	struct event_base *base;
	struct processes all;
	size_t count;
	struct event *reap;
	struct event *pause; /* pending while the machine may be made to stand still */
};

/* Kill it with its group, which may outlive it. */
void process_kill_group(struct process *p);

/* For table->pause. NULL without memory. */
struct event *process_pause_timer(struct process_table *t);

#endif
