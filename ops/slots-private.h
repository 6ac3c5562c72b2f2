/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots-private.h - what the files of slots share; for slots*.c and their test only */
#ifndef SBXFS_OPS_SLOTS_PRIVATE_H
#define SBXFS_OPS_SLOTS_PRIVATE_H

#include "ops/slots.h"

enum {
	SLOT_REST_MS = 1000, /* before one that was made as good as new is given to another */
	SLOT_RETRY_MS =
		500, /* before a teardown that failed is tried again; then twice as long ... */
	SLOT_RETRY_MAX_MS = 60000, /* ... up to this */
};

/* One that nobody has. */
struct slot_kept {
	struct slot_kept *next;
	struct slot slot;
	int64_t at_ms;  /* nothing happens to it before */
	unsigned tries; /* teardowns that failed */
	bool in_hand;   /* of the thread, and in no list */
};

struct slot_list {
	struct slot_kept *first;
	uint32_t count;
};

/* slots-list.c */
void slot_list_add(struct slot_list *l, struct slot_kept *k); /* last */
struct slot_kept *slot_list_take(struct slot_list *l,
				 int64_t now_ms); /* the first whose time has come; NULL */
uint32_t slot_list_due(const struct slot_list *l, int64_t now_ms); /* how many those are */
int64_t slot_list_next_ms(const struct slot_list *l); /* when the next comes; INT64_MAX: never */

/* How many indexes are taken, of how many. */
uint32_t slots_taken(uint32_t *ret_total);

/* slots-make.c: one that is not ready; as slots_get(). */
int slots_make(const struct deadline *d, struct slot *ret, struct err *e);

#endif
