/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/metrics.h - what this guest is and how much of it is in use */
#ifndef SBXFS_AGENT_METRICS_H
#define SBXFS_AGENT_METRICS_H

#include "agent/agent.h"

struct evhttp_request;

/* GET /health: {"version":...,"kernel":...} */
void metrics_health(struct agent *a, struct evhttp_request *req);

/* GET /metrics: numbers; bytes but for those in _mib and _pct. */
void metrics_get(struct agent *a, struct evhttp_request *req);

#endif
