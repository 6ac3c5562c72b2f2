/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/netns.c - slots made of a network namespace, a veth pair, a tap and nftables
 *
 * How it works: up() gives the namespace its name below /run/netns last. Until then a crash leaves nothing: only
 * the process holds the namespace, which takes both ends of the veth pair with it. With the name the slot
 * outlives the daemon. What is in a slot is in wire.c, how it goes in drop.c, how connections end in drain.c, what all
 * share in side.c.
 *
 * All changes are made one at a time, under the lock of side.c: the kernel has one lock over all links anyhow.
 * A tap takes one opener: when the VMM has it still after a restart of the daemon, alive() leaves tap_fd at -1.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/blocked.h"
#include "net/dns.h"
#include "net/drain.h"
#include "net/driver.h"
#include "net/drop.h"
#include "net/egress-netns.h"
#include "net/forward-netns.h"
#include "net/limit.h"
#include "net/nft.h"
#include "net/nl-count.h"
#include "net/nl.h"
#include "net/recycle.h"
#include "net/resolve.h"
#include "net/side.h"
#include "net/space.h"
#include "net/table-watch.h"
#include "net/wire.h"

/* What up() may return of what can go wrong; the text says the rest. */
static int rc_up(int rc, struct err *e)
{
	if (rc == 0 || rc == -EADDRINUSE || rc == -ECANCELED || rc == -ETIMEDOUT)
		return rc;
	if (e)
		e->code = EIO;
	return -EIO;
}

/* Make what up() makes, in a namespace that goes again, so that nothing of the host's is touched. */
static int netns_probe(char *why, size_t why_size, struct err *e)
{
	struct space a = SPACE_NONE;
	struct space b = SPACE_NONE;
	struct nlr_veth_end here = {.name = "probe", .mac = wire_outer_mac};
	struct nlr_veth_end there = {.name = SPACE_LINK, .mac = wire_inner_mac};
	int rc;

	/* Asked first: libnftables tells an ordinary user so on stderr, whatever it is told. */
	if (geteuid() != 0)
		return err_set(e, ENOTSUP, "network namespaces need root");
	rc = side_probe(e);
	if (rc == 0)
		rc = space_make(&a, e);
	if (rc == 0)
		rc = space_make(&b, e);
	if (rc == 0)
		rc = nlr_veth_add(a.nl, &here, &there, b.ns_fd, e);
	if (rc == 0)
		rc = nft_run(a.nft,
			     "add table ip sbxfs\nadd chain ip sbxfs out { type nat hook "
			     "postrouting priority 100; }\n",
			     NULL, e);
	space_done(&a);
	space_done(&b);
	if (rc < 0) {
		(void)err_wrap(e, "network namespaces (they need root, veth, tun and nf_tables)");
		if (e)
			e->code = ENOTSUP;
		return -ENOTSUP;
	}
	(void)snprintf(why, why_size, "network namespaces, veth, tap and nftables work");
	return 0;
}

/* The resolver may be about to take the lock of side.h, so it goes first. */
static void netns_done(void)
{
	table_watch_stop();
	dns_done();
	side_done();
}

static int netns_init(const char *instance, const char *address_pool, uint32_t *ret_total,
		      struct err *e)
{
	int rc = side_init(instance, address_pool, ret_total, e);

	if (rc == 0)
		rc = dns_init(egress_let, e);
	if (rc == 0)
		rc = table_watch_start(e);
	if (rc == 0)
		rc = count_open(e);
	if (rc < 0)
		netns_done();
	return rc_up(rc, e);
}

static void netns_blocked(char *ret, size_t size)
{
	struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};
	AUTO_BUF text = BUF_INIT;
	struct net_side *h = NULL;
	struct err e = {.code = 0};

	ret[0] = '\0';
	if (side_lock(&never, &h, NULL) < 0)
		return;
	if (blocked_find(h->nft, &text, &e) < 0)
		log_info("net: %s, ignoring: others' tables are not looked at", e.text);
	side_unlock(h);
	(void)snprintf(ret, size, "%s", buf_text(&text)); /* cut when several are in the way */
}

static int netns_up(uint32_t index, uint32_t serial, const struct deadline *d, struct slot *ret,
		    struct err *e)
{
	struct slot s = {.index = index, .serial = serial};
	struct space in = SPACE_NONE;
	struct net_side *h = NULL;
	AUTO_FD watch_fd = -1;
	bool has_link = false, has_resolver = false;
	int rc = nlr_watch_open(&watch_fd, e);

	if (rc == 0)
		rc = side_lock(d, &h, e);
	if (rc)
		return rc_up(rc, e);
	wire_describe(h, &s);
	if (index >= h->pool.total)
		rc = err_set(e, EIO, "there is no network slot %u, the last is %u", index,
			     h->pool.total - 1);
	else if (deadline_cancelled(d))
		rc = err_set(e, ECANCELED, "cancelled before network slot %u was made", index);
	if (rc == 0)
		rc = space_make(&in, e);
	if (rc == 0)
		rc = resolve_up(&s, in.ns_fd, e);
	has_resolver = rc == 0;
	if (rc == 0)
		rc = wire_up(h, &s, &in, &has_link, e);
	if (rc == 0) {
		(void)fault_point("slot-named", d, NULL); /* nothing fails any more */
		s.netns_fd = steal_fd(&in.ns_fd);
		s.tap_fd = steal_fd(&in.tap_fd);
		*ret = s;
	} else if (has_link) {
		(void)side_expel(h, s.link, NULL); /* the first failure is the one to report */
	}
	if (rc < 0 && has_resolver)
		dns_remove(serial);
	space_done(&in);
	side_unlock(h);
	if (rc < 0 && has_link)
		(void)drop_wait(watch_fd, s.link, d, NULL); /* as above */
	return rc_up(rc, e);
}

static void netns_down_all(struct slot *const *s, unsigned count, const struct deadline *d,
			   int *ret_rcs, struct err *ret_errs)
{
	drop_slots(s, count, d, ret_rcs, ret_errs);
	for (unsigned i = 0; i < count; i++) {
		if (ret_rcs[i] == 0)
			continue;
		(void)err_wrap(&ret_errs[i], "network slot %u is not gone yet, it is tried again",
			       s[i]->index);
		ret_rcs[i] = ret_rcs[i] == -ETIMEDOUT ? -EBUSY : -EIO;
		ret_errs[i].code = -ret_rcs[i];
	}
}

static int netns_down(struct slot *s, const struct deadline *d, struct err *e)
{
	struct err why = {0};
	int rc = 0;

	netns_down_all(&s, 1, d, &rc, &why);
	if (rc < 0 && e)
		*e = why;
	return rc;
}

static int netns_recycle(struct slot *s, const struct deadline *d, struct err *e)
{
	int rc = dns_reset(s->serial, e);

	return rc_up(rc < 0 ? rc : recycle_slot(&slot_netns, s, d, e), e);
}

static bool netns_alive(struct slot *s)
{
	struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};
	struct space in = SPACE_NONE;
	struct nlr_link link = {.index = 0};
	struct net_side *h = NULL;
	struct err e = {0};
	char alias[ALIAS_SIZE];
	AUTO_FD ns_fd = -1;
	int rc = side_lock(&never, &h, NULL);

	if (rc < 0)
		return false;
	wire_describe(h, s);
	(void)slot_alias(h->instance, s->serial, alias);
	rc = s->index < h->pool.total ? space_open(s->link, &ns_fd, NULL) : -EINVAL;
	if (rc == 0)
		rc = space_enter(ns_fd, alias, &in, NULL);
	if (rc == 0)
		rc = nlr_link_get(h->nl, s->link, &link, NULL);
	if (rc == 0 && (!link.is_up || strcmp(link.alias, alias) != 0))
		rc = -ENODEV;
	/* Repeated rather than asked: somebody may have removed the whole table since. */
	if (rc == 0)
		rc = side_admit(h, s->link, NULL);
	if (rc == 0)
		rc = egress_netns_found(s, NULL);
	if (rc == 0) {
		forwards_hold(s->link);
		s->netns_fd = steal_fd(&in.ns_fd);
		s->tap_fd = steal_fd(&in.tap_fd);
		resolve_again(s, s->netns_fd);
		/* Somebody may have been about to drain it when he ended. */
		if (drain_undo_locked(s, &e) < 0)
			log_warning("%s, ignoring: nobody can connect to network slot %u", e.text,
				    s->index);
	}
	space_done(&in);
	side_unlock(h);
	return rc == 0;
}

static int netns_sweep(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
		       struct err *e)
{
	(void)instance; /* the one that init() was given */
	return drop_unwanted(wanted, arg, e);
}

static int netns_drain(const struct slot *s, const struct deadline *d, struct err *e)
{
	return rc_up(drain_begin(s, d, e), e);
}

static int netns_undrain(const struct slot *s, struct err *e)
{
	return rc_up(drain_undo(s, e), e);
}

static int netns_egress(const struct slot *s, const struct egress *rules, const struct deadline *d,
			struct err *e)
{
	int rc = egress_netns(s, rules, d, e);

	if (rc == 0)
		rc = dns_rules(s->serial, rules, e);
	return rc == -ENOENT ? 0 : rc_up(rc, e); /* it has no resolver, which was logged */
}

static int netns_egress_count(const struct slot *s, struct egress *rules, struct err *e)
{
	return rc_up(egress_netns_count(s, rules, e), e);
}

const struct slot_driver slot_netns = {
	.name = "netns",
	.is_user = false,
	.probe = netns_probe,
	.init = netns_init,
	.done = netns_done,
	.blocked = netns_blocked,
	.up = netns_up,
	.drain = netns_drain,
	.undrain = netns_undrain,
	.recycle = netns_recycle,
	.egress = netns_egress,
	.egress_count = netns_egress_count,
	.down = netns_down,
	.down_all = netns_down_all,
	.alive = netns_alive,
	.sweep = netns_sweep,
	.forward = forwards_set,
	.limit = limit_set,
	.counters = count_slot,
};
