/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/slot-keep.h - commands of helper-slot.c that go by the daemon's table of slots */
#ifndef SBXFS_TESTS_VM_SLOT_KEEP_H
#define SBXFS_TESTS_VM_SLOT_KEEP_H

#include <fcntl.h>

#include "base/cleanup.h"
#include "net/driver.h"
#include "ops/host.h"
#include "ops/serial.h"
#include "ops/settings.h"
#include "ops/slots.h"
#include "tests/vm/slot-command.h"

/* keep INSTANCE TOTAL READY [FIRST]: after init; the counter of serials is in the current directory. */
static inline int cmd_keep(char **w)
{
	struct err e = {.code = 0};

	host.net = &slot_netns;
	(void)snprintf(host.instance, sizeof(host.instance), "%s", w[1]);
	(void)snprintf(host.state_dir, sizeof(host.state_dir), ".");
	host.state_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	settings.slots_ready = number(w[3]);
	slots_init(number(w[2]), number(w[4]));
	if (serial_init(&e) < 0 || slots_start(&e) < 0)
		return failed(&e);
	return answer("ok");
}

static inline int cmd_get(char **w)
{
	struct deadline d = deadline_in(20000, -1);
	struct guest *g = guest_new();
	struct err e = {.code = 0};
	int64_t start = now_us(), took;

	(void)w;
	if (!g)
		return answer("err too many slots");
	if (slots_get(&d, &g->slot, &e) < 0)
		return failed(&e);
	took = now_us() - start;
	g->stop_fd = -1;
	g->heard_fd = -1;
	g->is_up = true;
	return answer("ok %lld %s %s %u", (long long)took, g->slot.host_ip, g->slot.link,
		      g->slot.serial);
}

static inline int cmd_release(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	int64_t start = 0;

	if (!g)
		return answer("err no such slot");
	guest_stop(g);
	start = now_us();
	slots_release(&g->slot);
	g->is_up = false;
	return answer("ok %lld", (long long)(now_us() - start));
}

/* ready N: so many are kept from now on; nothing is done about it before something is given back or taken. */
static inline int cmd_ready(char **w)
{
	settings.slots_ready = number(w[1]);
	return answer("ok");
}

static inline int cmd_counts(char **w)
{
	struct slots_counts c;

	(void)w;
	slots_count(&c);
	return answer("ok used=%u ready=%u dirty=%u", c.used, c.ready, c.dirty);
}

static inline int cmd_prune(char **w)
{
	struct err e = {.code = 0};
	int rc = slots_sweep(&e);

	(void)w;
	return rc < 0 ? failed(&e) : answer("ok %d", rc);
}

static inline int cmd_keepend(char **w)
{
	(void)w;
	slots_stop();
	fd_close(steal_fd(&host.state_fd));
	return answer("ok");
}

#endif
