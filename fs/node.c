/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/node.c - node ids
 *
 * How it works: id = kind (4 bits), generation (8), serial (32), index (20), from the top. Serials are
 * never reused and kinds and rows never renumbered, so an id means the same for ever, also to the next
 * process. The root alone breaks the pattern: FUSE fixes its id at 1.
 */
#include "fs/node.h"

enum {
	INDEX_BITS = 20,
	SERIAL_BITS = 32,
	GENERATION_BITS = 8,
	SERIAL_SHIFT = INDEX_BITS,
	GENERATION_SHIFT = SERIAL_SHIFT + SERIAL_BITS,
	KIND_SHIFT = GENERATION_SHIFT + GENERATION_BITS,
	ROOT_ID = 1, /* FUSE_ROOT_ID */
};

_Static_assert(KIND_SHIFT == 60, "four bits are left for the kind");
_Static_assert(NODE_GENERATIONS == 1 << GENERATION_BITS, "a generation fits its bits");
_Static_assert(NODE_KIND_COUNT <= 8, "ids stay positive as signed numbers");

uint64_t node_id(const struct node *n)
{
	if (n->kind == NODE_ROOT)
		return ROOT_ID;
	return (uint64_t)n->kind << KIND_SHIFT | (uint64_t)n->generation << GENERATION_SHIFT |
	       (uint64_t)n->serial << SERIAL_SHIFT | n->index;
}

struct node node_of(uint64_t id)
{
	struct node n = {.kind = NODE_ROOT};

	if (id == ROOT_ID)
		return n;
	n.kind = (enum node_kind)(id >> KIND_SHIFT);
	n.generation = (unsigned)(id >> GENERATION_SHIFT) % NODE_GENERATIONS;
	n.serial = (uint32_t)(id >> SERIAL_SHIFT);
	n.index = (uint32_t)id & ((1U << INDEX_BITS) - 1);
	return n;
}

uint64_t node_ino(const struct node *n)
{
	struct node first = *n;

	first.generation = 0;
	return node_id(&first);
}
