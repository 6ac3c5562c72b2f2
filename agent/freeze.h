/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/freeze.h - hold the guest's file systems while the host copies its disk */
#ifndef SBXFS_AGENT_FREEZE_H
#define SBXFS_AGENT_FREEZE_H

#include "agent/agent.h"

struct evhttp_request;

/* For agent->freezer. Return: NULL without memory or descriptors. */
struct freezer *freezer_new(struct event_base *base);

/*
 * POST /fsfreeze {"hold_ms":N}: 204 once all is flushed and held, until /fsthaw or for that time, 60 s at most; 409 when they
 * are held already, 501 when there is nothing that can be, 500 when it fails. Nothing is held after an error.
 */
void freeze_post(struct agent *a, struct evhttp_request *req);

/* POST /fsthaw: 204 once nothing is held. */
void freeze_thaw_post(struct agent *a, struct evhttp_request *req);

/* Let go without waiting for it. */
void freeze_end(struct agent *a);

#endif
