/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/connection.h - which connections wait for an answer, and cutting the others */
#ifndef SBXFS_AGENT_CONNECTION_H
#define SBXFS_AGENT_CONNECTION_H

#include "agent/agent.h"

struct evhttp_request;

/* A request has come: its connection is busy until the answer has left or the client has gone. */
void connection_begin(struct evhttp_request *req);

/* Have @closed called when the client goes before the answer has left; NULL: nobody any more. Return: 0; -ENOMEM. */
int connection_on_close(struct evhttp_request *req, void (*closed)(void *arg), void *arg);

/* End those that wait for no answer, as a server may at any time. */
void connection_end_idle(void);

/**
 * connection_cut_others() - Cut all but @req's
 *
 * What they had sent and what is on the way to them is thrown away at once: nobody is there any more. The agent hears of their end as if the
 * clients had cut them.
 */
void connection_cut_others(struct evhttp_request *req);

#endif
