// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/process-list.c - the processes that were started for clients: which there are */
#include "agent/process-private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/json.h"

static bool is_listed(const struct process *p)
{
	return p->runs && !p->reaped;
}

struct process *process_find(const struct agent *a, pid_t pid, const char *tag)
{
	struct process *p = LIST_FIRST(&a->processes->all);

	for (; p; p = LIST_NEXT(p, link)) {
		if (!is_listed(p))
			continue;
		if (pid ? p->pid == pid : p->tag && strcmp(p->tag, tag) == 0)
			return p;
	}
	return NULL;
}

int process_signal(struct process *p, int sig)
{
	p->signalled = true;
	return kill(p->pid, sig) ? -errno : 0;
}

struct json_object *process_list(const struct agent *a)
{
	struct json_object *all = json_object_new_array();
	const struct process *p = LIST_FIRST(&a->processes->all);

	for (; p; p = LIST_NEXT(p, link)) {
		struct json_object *o;

		if (!all || !is_listed(p))
			continue;
		o = json_object_new_object();
		if (!o || json_object_object_add(o, "config", json_object_get(p->config)) ||
		    json_add_int(o, "pid", p->pid) || json_add_text(o, "tag", p->tag) ||
		    json_object_array_add(all, o)) {
			json_object_put(o);
			json_object_put(all);
			return NULL;
		}
	}
	return all;
}
