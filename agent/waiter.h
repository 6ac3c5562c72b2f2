/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/waiter.h - requests that are answered later, all at once */
#ifndef SBXFS_AGENT_WAITER_H
#define SBXFS_AGENT_WAITER_H

#include <sys/queue.h>

struct evhttp_request;
struct waiter;

STAILQ_HEAD(waiters, waiter);

/* Append a request. Return: 0; -ENOMEM after answering so. */
int waiters_add(struct waiters *list, struct evhttp_request *req);

/* Answer all with @status, and with @why when it is an error; the list is empty then. */
void waiters_answer(struct waiters *list, int status, const char *why);

#endif
