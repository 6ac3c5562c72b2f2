/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/wire.h - what is in a slot: addresses, links, routes and tables on both sides of its namespace */
#ifndef SBXFS_NET_WIRE_H
#define SBXFS_NET_WIRE_H

#include <stdbool.h>

#include "base/err.h"
#include "net/side.h"
#include "net/slot.h"
#include "net/space.h"

/* What every guest has as its gateway and its resolver: 169.254.0.22. */
#define WIRE_GATEWAY UINT32_C(0xa9fe0016)

/* Fill all text of @s from its index and serial; its descriptors become -1. */
void wire_describe(const struct net_side *h, struct slot *s);

/**
 * wire_up() - Everything between a new namespace and its name below /run/netns, which is given last
 * @in:           from space_make(); borrowed
 * @ret_has_link: whether the link on the host was made; set on failure too
 * Return: 0; -EADDRINUSE when a name or an address of it is in use; another negative errno. A failed call leaves
 *         a link that goes with the namespace, and may leave it admitted (side_expel()).
 */
int wire_up(struct net_side *h, struct slot *s, const struct space *in, bool *ret_has_link,
	    struct err *e);

/* A new tap inside becomes what guests expect: address, alias, hardware address, up, and the guest as a neighbour. */
int wire_tap_up(const struct net_side *h, const struct slot *s, struct nlr *in, struct err *e);

/* Are all its links there, up and its own? Return: 0; -ENODEV. */
int wire_check(struct net_side *h, const struct slot *s, struct nlr *in, struct err *e);

extern const unsigned char wire_outer_mac[], wire_inner_mac[]; /* MAC_LEN bytes each */

#endif
