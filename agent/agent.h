/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/agent.h - what the whole agent shares: one of these, used by the one thread of the event loop */
#ifndef SBXFS_AGENT_AGENT_H
#define SBXFS_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

struct event_base;
struct json_object;
struct process_table;
struct flusher;
struct freezer;
struct preparer;

enum {
	AGENT_PORT = 49983,
	AGENT_BODY_MAX = 1 << 20, /* bytes of a request's body */
	AGENT_IDLE_S = 640,       /* of a connection between two requests */
};

struct agent {
	struct event_base *base;
	bool is_system; /* this machine is ours: boot_run() brought it up, so it may be powered off */
	bool may_set;   /* clock, names, resolver, random numbers and caches may be changed */

	/* Set by /init. */
	char *token;             /* NULL until one is set; owned */
	char *user;              /* of a process that names none; owned */
	char *cwd;               /* NULL: the user's home; owned */
	struct json_object *env; /* of every process, an object of texts; owned */
	int64_t init_ms;         /* newest timestamp seen, milliseconds since 1970 */
	char *life; /* the last going on from saved memory, as its host named it; owned */

	struct rlimit files; /* the limit of open files that processes get: the one that we found */
	struct process_table *processes; /* owned */
	struct flusher *flusher;         /* owned */
	struct freezer *freezer;         /* owned */
	struct preparer *preparer;       /* owned */
};

#endif
