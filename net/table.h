/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/table.h - the host's nftables table; for side.c, with its lock held. What slots do with it is in side.h */
#ifndef SBXFS_NET_TABLE_H
#define SBXFS_NET_TABLE_H

#include "net/side.h"

/* Its rules as they should be, whatever they were, in one transaction; @anew: what is in its sets too. */
int table_make(struct net_side *h, bool anew, struct err *e);

/* Remember what a daemon before this one put into the sets. */
int table_read(struct net_side *h, struct err *e);

/* Is it there, with the chains that guests are held by? */
bool table_is_there(struct net_side *h);

/* Return: 0, also when it was not there. */
int table_remove(struct net_side *h);

#endif
