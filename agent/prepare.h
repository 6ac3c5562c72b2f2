/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/prepare.h - make the guest small before the host saves its memory */
#ifndef SBXFS_AGENT_PREPARE_H
#define SBXFS_AGENT_PREPARE_H

#include "agent/agent.h"

struct evhttp_request;

/* For agent->preparer. Return: NULL without memory or descriptors. */
struct preparer *preparer_new(struct agent *a);

/*
 * POST /snapshot/prepare {"limit_ms":N}: 204 once file systems are flushed, their disks know what is free, caches are dropped and
 * memory is compacted, or after that time; what cannot be done is passed over. Connections that wait for nothing are ended.
 */
void prepare_post(struct agent *a, struct evhttp_request *req);

#endif
