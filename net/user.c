/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/user.c - slots for the VMM's own user-mode network: nothing in the kernel, no privilege
 *
 * How it works: the guest sees the addresses that QEMU's user network gives, and the VMM forwards the agent's
 * port of one loopback address per slot, 127.83.x.y, to it. The address is tried by binding it for a moment,
 * so that one in use by another instance is passed over. Between that moment and the VMM's own bind another
 * may still take it; the VMM's start fails then, and the next start takes another slot.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "net/driver.h"
#include "net/egress.h"
#include "net/pool.h"

enum {
	USER_FIRST = 0x7f530000, /* 127.83.0.0 */
	USER_PREFIX = 24,        /* of 10.0.2.0 */
};

static uint32_t user_addr(uint32_t index)
{
	return (uint32_t)USER_FIRST + 1 + index;
}

/* Can this address and port be listened on now? Port 0: any. */
static int try_bind(uint32_t addr, uint16_t port, struct err *e)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(addr)};
	AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return err_sys(e, errno, "cannot open a TCP socket");
	/* As the VMM does, so that connections of the past do not stand in the way. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return err_sys(e, errno, "cannot set SO_REUSEADDR");
	if (bind(fd, (const struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 1) < 0) {
		char text[SLOT_ADDR_SIZE];

		return err_sys(e, errno, "cannot listen on %s port %u", addr_text(addr, text),
			       port);
	}
	return 0;
}

static int user_probe(char *why, size_t why_size, struct err *e)
{
	int rc = try_bind(user_addr(0), 0, e);

	if (rc < 0) {
		(void)err_wrap(e, "user network");
		if (e)
			e->code = ENOTSUP;
		return -ENOTSUP;
	}
	(void)snprintf(why, why_size, "the VMM's user-mode network, no privilege needed");
	return 0;
}

static int user_init(const char *instance, const char *address_pool, uint32_t *ret_total,
		     struct err *e)
{
	(void)instance;
	(void)address_pool; /* nothing of it is in the kernel */
	(void)e;
	*ret_total = POOL_SLOTS_MAX;
	return 0;
}

static void user_done(void)
{
}

/* All that up() and alive() say about a slot; it follows from the index. */
static void user_describe(struct slot *s)
{
	*s = (struct slot){
		.index = s->index,
		.serial = s->serial,
		.agent_port = SLOT_AGENT_PORT,
		.guest_ip = "10.0.2.15",
		.guest_prefix = USER_PREFIX,
		.gateway = "10.0.2.2",
		.dns = "10.0.2.3",
		.mac = SLOT_GUEST_MAC,
		.netns_fd = -1,
		.tap_fd = -1,
	};
	(void)addr_text(user_addr(s->index), s->host_ip);
	(void)addr_text(user_addr(s->index), s->agent_addr);
}

static int user_up(uint32_t index, uint32_t serial, const struct deadline *d, struct slot *ret,
		   struct err *e)
{
	struct slot s = {.index = index, .serial = serial};
	int rc = 0;

	if (index >= POOL_SLOTS_MAX)
		return err_set(e, EINVAL, "there is no network slot %u, the last is %d", index,
			       POOL_SLOTS_MAX - 1);
	if (deadline_cancelled(d))
		return err_set(e, ECANCELED, "cancelled before network slot %u was made", index);
	rc = try_bind(user_addr(index), SLOT_AGENT_PORT, e);
	if (rc < 0)
		return rc;
	user_describe(&s);
	*ret = s;
	return 0;
}

static int user_down(struct slot *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	(void)e;
	return 0;
}

/* There is nothing that could be left of the one before: all of it was the VMM's. */
static int user_recycle(struct slot *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	(void)e;
	return 0;
}

static bool user_alive(struct slot *s)
{
	if (s->index >= POOL_SLOTS_MAX)
		return false;
	user_describe(s);
	return true;
}

static int user_sweep(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
		      struct err *e)
{
	(void)instance;
	(void)wanted;
	(void)arg;
	(void)e;
	return 0;
}

static int user_drain(const struct slot *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	(void)e;
	return 0;
}

static int user_undrain(const struct slot *s, struct err *e)
{
	(void)s;
	(void)e;
	return 0;
}

static int user_forward(const struct slot *s, const struct forward *list, size_t count,
			const struct deadline *d, struct err *e)
{
	(void)s;
	(void)list;
	(void)d;
	return count ? err_set(e, ENOTSUP, "the VMM of a user network forwards ports itself") : 0;
}

static int user_limit(const struct slot *s, uint64_t bytes_per_sec, const struct deadline *d,
		      struct err *e)
{
	(void)s;
	(void)d;
	return bytes_per_sec
		       ? err_set(e, ENOTSUP, "a user network has no limit; it takes --net netns")
		       : 0;
}

static int user_counters(struct slot *s, struct slot_counters *ret, struct err *e)
{
	(void)s;
	(void)ret;
	return err_set(e, ENOTSUP, "a user network does not count");
}

/* The VMM sends whatever the guest says as a process of this host. */
static int user_egress(const struct slot *s, const struct egress *rules, const struct deadline *d,
		       struct err *e)
{
	(void)s;
	(void)d;
	if (rules->allow && rules->count == 0)
		return 0;
	return err_set(
		e, ENOTSUP,
		"the user network cannot hold a guest to egress rules; it can do policy allow "
		"without rules, others need a daemon that runs as root with --net netns");
}

static int user_egress_count(const struct slot *s, struct egress *rules, struct err *e)
{
	(void)s;
	(void)rules; /* nobody counts */
	(void)e;
	return 0;
}

const struct slot_driver slot_user = {
	.name = "user",
	.is_user = true,
	.probe = user_probe,
	.init = user_init,
	.done = user_done,
	.up = user_up,
	.drain = user_drain,
	.undrain = user_undrain,
	.forward = user_forward,
	.limit = user_limit,
	.counters = user_counters,
	.egress = user_egress,
	.egress_count = user_egress_count,
	.recycle = user_recycle,
	.down = user_down,
	.alive = user_alive,
	.sweep = user_sweep,
};
