/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-counter.h - the named counters of the nftables in slots' namespaces
 *
 * Asked for alone, without the sets beside them, whose many elements cost a hundred times as much.
 */
#ifndef SBXFS_NET_NL_COUNTER_H
#define SBXFS_NET_NL_COUNTER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/slot.h"

enum {
	COUNTER_NAME_SIZE = 32,
};

struct counter {
	char name[COUNTER_NAME_SIZE];
	uint64_t packets, bytes;
};

struct counters {
	struct counter *all; /* owned; by name */
	size_t count, room;
};

#define COUNTERS_NONE                                                                              \
	{                                                                                          \
		.all = NULL                                                                        \
	}

/**
 * counters_read() - All counters of a slot's table
 * @s: may be without descriptors
 * Context: any thread; waits for nobody that changes slots. A connection to the namespace stays, until counters_forget().
 * Return: 0 and @ret, to be given to counters_done(); -ENOENT no such namespace or table; -ENOMEM; -EIO.
 */
int counters_read(const struct slot *s, struct counters *ret, struct err *e);
void counters_done(struct counters *c);

/* Return: NULL: there is none of that name. */
const struct counter *counters_find(const struct counters *c, const char *name);

/* The slot has gone, its namespace has no name any more: close what holds it. */
void counters_forget(uint32_t serial);

#endif
