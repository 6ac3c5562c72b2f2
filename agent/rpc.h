/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/rpc.h - the calls of the service process.Process */
#ifndef SBXFS_AGENT_RPC_H
#define SBXFS_AGENT_RPC_H

#include "agent/agent.h"

struct evhttp_request;

void rpc_list(struct agent *a, struct evhttp_request *req);
void rpc_send_signal(struct agent *a, struct evhttp_request *req);

/* Our own header "Sbxfs-Kill-On-Close: 1": kill the process if the connection goes before its end. */
void rpc_start(struct agent *a, struct evhttp_request *req);

#endif
