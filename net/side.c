/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/side.c - the host's own side of all slots: addresses claimed, nftables table, forwarding
 *
 * How it works
 * The block of addresses is claimed by an unreachable route to all of it, whose metric holds the instance: other
 * instances and other programs see that it is taken, the next daemon finds its own again, and what is sent to
 * a slot that is not there fails at once instead of leaving by the default route. Looking and claiming is done
 * under a lock on /run/netns, so that two instances do not choose the same.
 *
 * The table is in table.c.
 *
 * Forwarding is turned on for the whole host if it was off, and stays on: others may rely on it by the time we end.
 */
#include "net/side.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/element.h"
#include "net/forward-netns.h"
#include "net/nft.h"
#include "net/nl-count.h"
#include "net/nl.h"
#include "net/setting.h"
#include "net/space.h"
#include "net/table.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct net_side host; /* guarded by lock; nl is NULL before init */

/* Other programs' metrics are small numbers. */
static uint32_t claim_metric(const char *instance)
{
	return UINT32_C(0x53000000) | instance_bits(instance);
}

static struct nlr_route claim_route(const struct net_side *h)
{
	return (struct nlr_route){.dst = h->pool.block.addr,
				  .prefix = h->pool.block.prefix,
				  .metric = claim_metric(h->instance),
				  .is_unreachable = true};
}

struct used {
	struct addr_range *ranges; /* owned */
	size_t count, room;
	uint32_t metric; /* of our own claim */
	struct addr_range own;
	bool has_own, failed;
	struct addr_range asked; /* prefix 0: any block will do */
	struct nlr_route clash;  /* the first that overlaps what is asked for; prefix 0: none */
};

static void used_add(const struct nlr_route *r, void *arg)
{
	struct used *u = arg;
	struct addr_range range = addr_range_of(r->dst, r->prefix);

	if (r->is_unreachable && r->metric == u->metric && r->prefix >= 16 && r->prefix <= 28) {
		u->own = range;
		u->has_own = true;
		return;
	}
	/* A default route, also when it is written as two halves, leads there only what has no other way. */
	if (r->prefix <= 1)
		return;
	if (u->asked.prefix && !u->clash.prefix && addr_range_overlaps(range, u->asked))
		u->clash = *r;
	if (u->count == u->room) {
		size_t room = u->room ? u->room * 2 : 64;
		void *ranges = reallocarray(u->ranges, room, sizeof(range));

		u->failed = u->failed || !ranges;
		if (!ranges)
			return;
		u->ranges = ranges;
		u->room = room;
	}
	u->ranges[u->count++] = range;
}

static void count_ours(const struct nlr_link *link, void *arg)
{
	char alias[ALIAS_SIZE];
	uint32_t serial = 0;

	if (slot_name_parse(host.instance, link->name, &serial) &&
	    strcmp(link->alias, slot_alias(host.instance, serial, alias)) == 0)
		++*(unsigned *)arg;
}

/* Is the block of before still to be used? It is given up if not. */
static int own_keep(struct net_side *h, const struct used *u, bool *ret_keep, struct err *e)
{
	char text[SLOT_ADDR_SIZE];
	struct nlr_route claim;
	unsigned count = 0;
	int rc = 0;

	h->pool = pool_in(u->own);
	*ret_keep = true;
	if (!u->asked.prefix || (u->own.addr == u->asked.addr && u->own.prefix == u->asked.prefix))
		return 0;
	rc = nlr_links(h->nl, count_ours, &count, e);
	if (rc < 0)
		return rc;
	if (count > 0) {
		log_warning("net: %u network slots are up with addresses of %s/%u, so the "
			    "setting address_pool is not heeded until the next start without any",
			    count, addr_text(u->own.addr, text), u->own.prefix);
		return 0;
	}
	*ret_keep = false;
	claim = claim_route(h);
	return nlr_route_delete(h->nl, &claim, e);
}

static int clash_tell(const struct used *u, struct err *e)
{
	char asked[SLOT_ADDR_SIZE], dst[SLOT_ADDR_SIZE], link[IF_NAMESIZE];

	addr_text(u->asked.addr, asked);
	addr_text(u->clash.dst, dst);
	if (!if_indextoname((unsigned)u->clash.index, link))
		(void)snprintf(link, sizeof(link), "none");
	return err_set(e, EADDRINUSE,
		       "address_pool=%s/%u overlaps the route to %s/%u (link %s) of this host; "
		       "choose another range, or none",
		       asked, u->asked.prefix, dst, u->clash.prefix, link);
}

/* A block of @used's list that is free, or the one that is asked for. */
static int pool_choose(const struct used *u, struct pool *ret, struct err *e)
{
	if (u->asked.prefix) {
		*ret = pool_in(u->asked);
		return u->clash.prefix ? clash_tell(u, e) : 0;
	}
	if (pool_find(u->ranges, u->count, ret) < 0)
		return err_set(e, EADDRINUSE,
			       "every block of addresses that slots could use overlaps a route "
			       "of this host; remove one (see ip route), set address_pool, or "
			       "use --net user");
	return 0;
}

/* Find the block that is ours already, or claim one; with the lock on /run/netns. */
static int claim_one(struct net_side *h, struct used *u, struct err *e)
{
	struct nlr_route claim;
	bool keep = false;
	int rc = nlr_routes(h->nl, used_add, u, e);

	if (rc == 0 && u->failed)
		rc = err_set(e, ENOMEM, "no memory for the list of routes");
	if (rc == 0 && u->has_own)
		rc = own_keep(h, u, &keep, e);
	if (rc < 0 || keep)
		return rc;
	rc = pool_choose(u, &h->pool, e);
	if (rc < 0) {
		h->pool.total = 0; /* it is not ours */
		return rc;
	}
	claim = claim_route(h);
	return nlr_route_add(h->nl, &claim, e);
}

static int pool_claim(struct net_side *h, const char *address_pool, struct err *e)
{
	struct used u = {.metric = claim_metric(h->instance)};
	AUTO_FD dir_fd = -1; /* holds the lock until the end */
	int rc = 0;

	if (address_pool[0] && pool_parse(address_pool, &u.asked) < 0)
		return err_set(e, EINVAL, "not a block of addresses: %s", address_pool);
	rc = space_dir_lock(&dir_fd, e);
	if (rc == 0)
		rc = claim_one(h, &u, e);
	free(u.ranges);
	return rc;
}

static int forwarding_on(struct err *e)
{
	char value = '0';
	int rc = setting_read("ipv4/ip_forward", &value, e);

	if (rc < 0 || value != '0')
		return rc;
	rc = setting_write("ipv4/ip_forward", "1", e);
	if (rc == 0)
		log_info("net: IPv4 forwarding (net.ipv4.ip_forward) was off; turned it on for "
			 "the whole host, it stays on");
	return rc;
}

static void side_close(struct net_side *h)
{
	element_drop_all();
	forwards_forget();
	count_close();
	nft_close(h->nft);
	nlr_close(h->nl);
	*h = (struct net_side){.nl = NULL};
}

/* With the lock held. */
static void side_undo(struct net_side *h)
{
	struct nlr_route claim = claim_route(h);
	unsigned count = 0;

	if (!h->nl)
		return;
	if (!h->nft || nlr_links(h->nl, count_ours, &count, NULL) < 0 || count > 0) {
		side_close(h);
		return;
	}
	if (table_remove(h) < 0)
		log_warning("net: cannot remove the nftables table sbxfs-%s, ignoring",
			    h->instance);
	if (h->pool.total && nlr_route_delete(h->nl, &claim, NULL) < 0)
		log_warning("net: cannot remove the route that claims the addresses, ignoring");
	side_close(h);
}

int side_probe(struct err *e)
{
	struct nft_ctx *nft = NULL;
	int rc = nft_open(&nft, e);

	if (rc == 0)
		rc = nft_run(nft, "list tables\n", NULL,
			     e); /* asks for the same capability as a change */
	nft_close(nft);
	if (rc == 0 && access(NETNS_DIR, W_OK) < 0 && (errno != ENOENT || access("/run", W_OK) < 0))
		rc = err_sys(e, errno, "cannot write in %s", NETNS_DIR);
	return rc;
}

int side_init(const char *instance, const char *address_pool, uint32_t *ret_total, struct err *e)
{
	struct net_side *h = &host;
	int rc = 0;

	if (!instance_is_valid(instance))
		return err_set(e, EINVAL, "not an instance: %s", instance);
	(void)pthread_mutex_lock(&lock); /* fails only for a mutex of another kind */
	side_close(h);
	memcpy(h->instance, instance, INSTANCE_LEN + 1);
	rc = nlr_open(&h->nl, e);
	if (rc == 0)
		rc = nft_open(&h->nft, e);
	if (rc == 0)
		rc = pool_claim(h, address_pool, e);
	/* The rules come before forwarding: there is no moment in which all is let through. */
	if (rc == 0)
		rc = table_make(h, false, e);
	if (rc == 0)
		rc = table_read(h, e);
	if (rc == 0)
		rc = forwarding_on(e);
	if (rc < 0)
		side_undo(h);
	else
		*ret_total = h->pool.total;
	(void)pthread_mutex_unlock(&lock);
	return rc;
}

void side_done(void)
{
	(void)pthread_mutex_lock(&lock); /* as above */
	side_undo(&host);
	(void)pthread_mutex_unlock(&lock);
}

int side_lock(const struct deadline *d, struct net_side **ret, struct err *e)
{
	int rc = 0;

	if (d->at_ms == INT64_MAX) {
		rc = pthread_mutex_lock(&lock);
	} else {
		struct timespec until = {.tv_sec = d->at_ms / 1000,
					 .tv_nsec = d->at_ms % 1000 * 1000000};

		rc = pthread_mutex_clocklock(&lock, CLOCK_MONOTONIC, &until);
	}
	if (rc)
		return err_sys(e, rc, "waiting for other work on the network");
	if (!host.nl) {
		(void)pthread_mutex_unlock(&lock);
		return err_set(e, EIO, "the network was not set up");
	}
	*ret = &host;
	return 0;
}

void side_unlock(struct net_side *h)
{
	(void)h; /* there is one; the parameter keeps it from being used without the lock */
	(void)pthread_mutex_unlock(&lock);
}
