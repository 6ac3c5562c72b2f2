/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/system.h - the guest as a whole: flush its disks, shut it down */
#ifndef SBXFS_AGENT_SYSTEM_H
#define SBXFS_AGENT_SYSTEM_H

#include "agent/agent.h"

struct evhttp_request;

/* For agent->flusher. Return: NULL without memory or descriptors. */
struct flusher *system_flusher_new(struct event_base *base);

/* POST /sync: 204 once everything that was dirty when the request came is on the disks. */
void system_sync(struct agent *a, struct evhttp_request *req);

/* POST /shutdown: 204, then the guest goes down; 501 where the machine is not the agent's. */
void system_shutdown(struct agent *a, struct evhttp_request *req);

#endif
