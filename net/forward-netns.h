/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/forward-netns.h - the ports of the host that lead to slots: elements of the host's table, and sockets that hold them */
#ifndef SBXFS_NET_FORWARD_NETNS_H
#define SBXFS_NET_FORWARD_NETNS_H

#include "base/buf.h"
#include "base/err.h"
#include "net/forward.h"
#include "net/side.h"
#include "net/slot.h"

/* The driver's forward(): takes the lock. */
int forwards_set(const struct slot *s, const struct forward *list, size_t count,
		 const struct deadline *d, struct err *e);

/* All others: with the lock of side.h. */

/* Learn from the table which there are, without their sockets; what was known before is forgotten. Return: 0; negative errno. */
int forwards_load(struct net_side *h, struct err *e);
void forwards_forget(void);

/* Take the sockets of a link's ports again. What somebody else has by now is left to him, and goes on leading to the slot. */
void forwards_hold(const char *link);

/* Its elements are gone from the table: so are its sockets. */
void forwards_drop(const char *link);

#endif
