/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/init.h - POST /init: the host says who it is and how this guest is to be */
#ifndef SBXFS_AGENT_INIT_H
#define SBXFS_AGENT_INIT_H

#include "agent/agent.h"

struct evhttp_request;

/**
 * init_post() - Answer POST /init
 *
 * Members, all optional, each also in snake_case: accessToken, timestamp (RFC 3339, or seconds since 1970),
 * envVars, defaultUser, defaultWorkdir, hostname, dns (an IPv4 address).
 * Answers 204; 400 for a bad body; 401 when a token is set and the request has another one.
 */
void init_post(struct agent *a, struct evhttp_request *req);

#endif
