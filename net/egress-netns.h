/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/egress-netns.h - egress rules of the netns driver's slots */
#ifndef SBXFS_NET_EGRESS_NETNS_H
#define SBXFS_NET_EGRESS_NETNS_H

#include "base/deadline.h"
#include "net/side.h"
#include "net/slot.h"

/* egress() and egress_count() of the driver; counts are read without waiting for anybody. */
int egress_netns(const struct slot *s, const struct egress *rules, const struct deadline *d,
		 struct err *e);
int egress_netns_count(const struct slot *s, struct egress *rules, struct err *e);

/* The four below: with the lock of side.h held. */

/* The table of a new slot as it is by default, as commands. */
void egress_netns_begin(const struct net_side *side, struct buf *b);

/* It is there from before this process: what holds in it is not known, and stays until egress() says otherwise. */
int egress_netns_found(const struct slot *s, struct err *e);

/* For another guest: back to what it had in the beginning, no rule, name or count of anybody. Return: 0; negative errno. */
int egress_netns_reset(struct net_side *side, const struct slot *s, struct err *e);

/* The slot goes: forget what is known of it. */
void egress_netns_forget(uint32_t serial);

/**
 * egress_let() - A slot's guest was told what addresses a name has: it may send to them, by the first of its rules that has the name
 * @serial: the slot's
 * @addrs:  @count of them; what is closed to guests by default stays closed
 * @ttl_sec: from now on, at least 1; an address that may be sent to for longer already, or for 10 seconds less, stays so
 * Context: any thread; waits for others that change slots.
 * Return: 0, also when there is no such rule or slot; -EAGAIN its rules are not known again yet; -EBUSY, -ENOSPC it asks for more than
 *         one slot may (lease.h); -EIO; -ETIMEDOUT; -ENOMEM. Then none is let through that was not.
 */
int egress_let(uint32_t serial, const char *name, const uint32_t *addrs, size_t count,
	       uint32_t ttl_sec, struct err *e);

#endif
