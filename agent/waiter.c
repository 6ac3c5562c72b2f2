// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/waiter.c - requests that are answered later, all at once */
#include "agent/waiter.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/http.h"

struct waiter {
	STAILQ_ENTRY(waiter) link;
	struct evhttp_request *req;
};

int waiters_add(struct waiters *list, struct evhttp_request *req)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		http_error(req, HTTP_INTERNAL, "the agent is out of memory");
		return -ENOMEM;
	}
	w->req = req;
	STAILQ_INSERT_TAIL(list, w, link);
	return 0;
}

void waiters_answer(struct waiters *list, int status, const char *why)
{
	struct waiter *w;

	while ((w = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		if (status / 100 == 2)
			http_empty(w->req, status);
		else
			http_error(w->req, status, "%s", why);
		free(w);
	}
}
