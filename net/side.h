/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/side.h - the host's own side of all slots: addresses claimed, nftables table, forwarding */
#ifndef SBXFS_NET_SIDE_H
#define SBXFS_NET_SIDE_H

#include "base/deadline.h"
#include "base/err.h"
#include "net/element.h"
#include "net/name.h"
#include "net/pool.h"

struct nlr;
struct nft_ctx;

/* What is there while init() holds; used between side_lock() and side_unlock() only. */
struct net_side {
	char instance[INSTANCE_LEN + 1];
	struct pool pool;
	struct nlr *nl;      /* in the host's namespace */
	struct nft_ctx *nft; /* there as well */
};

/* May this process change the host's nftables and name namespaces? Changes nothing. Return: 0; negative errno. */
int side_probe(struct err *e);

/**
 * side_init() - Claim a block of addresses, make the table, turn on forwarding; a second call begins anew
 *
 * Slots of this instance that are up keep their block and go on working.
 * @address_pool: the block, CIDR; "" for the first of a list that is free
 * Return: 0; -EADDRINUSE when that is in use, or every block of the list; another negative errno.
 */
int side_init(const char *instance, const char *address_pool, uint32_t *ret_total, struct err *e);

/* Close all; give up table and block if no link of this instance is left. */
void side_done(void);

/* Return: 0 and @ret, locked; -EIO before side_init(); -ETIMEDOUT. */
int side_lock(const struct deadline *d, struct net_side **ret, struct err *e);
void side_unlock(struct net_side *h);

/* Let the link of this name take part, or no longer; both may be repeated. */
int side_admit(struct net_side *h, const char *link, struct err *e);
int side_expel(struct net_side *h, const char *link, struct err *e);

/**
 * side_elements() - What a link has in the table's sets and maps from now on, in place of what it had of that kind
 * @text: as element.h says; kept, so that it comes back when the table has been flushed. side_expel() takes it all away
 * Return: 0; negative errno, nothing changed.
 */
int side_elements(struct net_side *h, const char *link, enum element_kind kind, const char *text,
		  struct err *e);

/* Call @fn for every link name that was admitted, whether there is such a link or not. */
int side_admitted(struct net_side *h, void (*fn)(const char *link, void *arg), void *arg,
		  struct err *e);

#endif
