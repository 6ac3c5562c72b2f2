/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/process.h - the processes that were started for clients */
#ifndef SBXFS_AGENT_PROCESS_H
#define SBXFS_AGENT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/agent.h"
#include "agent/connect.h"
#include "agent/spawn.h"
#include "base/err.h"

struct process;
struct stream;

/* How a process is to be treated by the agent. */
struct process_order {
	struct spawn_spec spawn;
	struct json_object *config; /* as clients see it: cmd, args, envs, cwd; borrowed */
	const char *tag;            /* NULL: none; borrowed */
	long timeout_ms;            /* then it is killed; 0: never */
	bool kill_on_close;         /* kill it when its client has gone */
};

/* For agent->processes; watches SIGCHLD from now on. Return: NULL without memory. */
struct process_table *process_table_new(struct agent *a);

/**
 * process_start() - Start a process and tell @s of all that happens to it
 * Owner:  the stream is the process's on success, the caller's otherwise.
 * Return: 0; -EAGAIN too many processes; -ENOMEM; another negative errno of fork.
 */
int process_start(struct agent *a, const struct process_order *order, struct stream *s,
		  struct err *e);

/* One that runs, by pid, or by tag when @pid is 0. NULL: none. Borrowed. */
struct process *process_find(const struct agent *a, pid_t pid, const char *tag);

/* Send a signal to the process alone, not to its group. Return: 0; negative errno. */
int process_signal(struct process *p, int sig);

/* All that run, as an array of ProcessInfo; a new reference. NULL without memory. */
struct json_object *process_list(const struct agent *a);

/* The machine may be made to stand still soon: who loses his client from now on may not be to blame. */
void process_pause_expected(struct agent *a);

/* It has not been. */
void process_pause_over(struct agent *a);

/* It has stood still: clients of before are gone, and their processes go on without them. */
void process_resumed(struct agent *a);

#endif
