/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/lease.h - until when a guest may send to which addresses under which names, and how much of that one slot may ask for
 *
 * Not safe for threads: whoever has the slot serialises. Nothing here waits.
 */
#ifndef SBXFS_NET_LEASE_H
#define SBXFS_NET_LEASE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	LEASES_MAX = 4096,  /* addresses of all names of a slot at a time */
	LEASE_BURST = 256,  /* that a slot may have let through at once, ... */
	LEASE_PER_SEC = 32, /* ... and again in each second */
	LEASE_NAMES = 1024, /* the index's size */
	LEASE_GROWTH = 64,  /* more at a time */
};

struct lease {
	uint64_t name; /* the rule's: egress_name_key() */
	int64_t until_ms;
	uint32_t addr;
	uint16_t next; /* of the same place in the index, counted from 1; 0: none */
};

/* All of one slot. Begins with LEASES_NONE. */
struct leases {
	struct lease *all; /* owned; those that are over may be among them */
	size_t count, room;
	uint16_t *index;  /* owned; LEASE_NAMES places, as next; NULL until there is one */
	int64_t spent;    /* of what it may have let through, in thousandths; 0: nothing */
	int64_t spent_ms; /* when that was so */
};

#define LEASES_NONE                                                                                \
	{                                                                                          \
		.all = NULL                                                                        \
	}

void leases_done(struct leases *l); /* LEASES_NONE again */

/* Until when; 0: not at all, or no longer. */
int64_t lease_until(const struct leases *l, uint64_t name, uint32_t addr, int64_t now_ms);

/**
 * leases_take() - May so much be let through now?
 * @count: addresses, new ones and such as get more time
 * @fresh: of these the new ones
 * Return: 0, and it is spent; -EBUSY too fast, later it may; -ENOSPC there are LEASES_MAX, some have to come to their end; -ENOMEM.
 */
int leases_take(struct leases *l, size_t count, size_t fresh, int64_t now_ms, struct err *e);

/* It was let through. Of new ones no more than leases_take() was asked for. */
void lease_set(struct leases *l, uint64_t name, uint32_t addr, int64_t until_ms);

/* Those of these names stay, @names being in ascending order; the others go. */
void leases_reduce(struct leases *l, const uint64_t *names, size_t count);

#endif
