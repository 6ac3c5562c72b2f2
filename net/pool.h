/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/pool.h - which IPv4 addresses the slots use; arithmetic only, all addresses in host byte order */
#ifndef SBXFS_NET_POOL_H
#define SBXFS_NET_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/slot.h"

enum {
	POOL_SLOTS_MAX = 16384,
	POOL_PREFIX_MIN = 16, /* of a block */
	POOL_PREFIX_MAX = 28,
};

struct addr_range {
	uint32_t addr;   /* the lowest, its host bits are zero */
	unsigned prefix; /* length, 0..32 */
};

/* One block of addresses and what is in it: the lower half has an address per guest, the upper half a pair
 * (a /31) per slot for the link between the host and the namespace.
 *
 * IPv6, should slots get it, is laid out by the same index in a block of its own, a /64 of unique local addresses whose 40 random bits
 * are made from the instance: fdXX:XXXX:XXXX:0::/64 has an address per guest, ::1:INDEX, and ::2:(2*INDEX) with the
 * one after it is the pair (a /127, RFC 6164). Inside, all guests are fe80::fc:5 with the gateway fe80::fc:6, as they all are
 * 169.254.0.21 now; the namespace translates one prefix to the other (RFC 6296), which needs no state. */
struct pool {
	struct addr_range block;
	uint32_t total; /* slots that it is good for */
};

/* Clear the host bits of @addr. */
struct addr_range addr_range_of(uint32_t addr, unsigned prefix);
bool addr_range_overlaps(struct addr_range a, struct addr_range b);
/* ADDRESS/LENGTH whose host bits are zero. Return: 0 and @ret; -EINVAL. */
int addr_range_parse(const char *text, struct addr_range *ret);

/* Ranges that guests are kept from: private, shared, link-local, benchmark. Ends with a prefix of 0. */
extern const struct addr_range addr_closed[];
bool addr_is_closed(uint32_t addr);

/* Dotted text; @ret_text has room for every address. */
const char *addr_text(uint32_t addr, char ret_text[SLOT_ADDR_SIZE]);
/* Return: 0; -EINVAL when @text is no dotted IPv4 address. */
int addr_parse(const char *text, uint32_t *ret_addr);

/**
 * pool_parse() - A block as somebody may choose it: a prefix of 16 to 28, of addresses that hosts can have
 * Return: 0 and @ret; -EINVAL.
 */
int pool_parse(const char *text, struct addr_range *ret);

/* The pool that lies in @block, which has 8 addresses at least. */
struct pool pool_in(struct addr_range block);

/**
 * pool_find() - The first block of our list that nobody uses
 * @used: @n ranges that are taken
 * Return: 0 and @ret; -EADDRINUSE when all of them overlap.
 */
int pool_find(const struct addr_range *used, size_t n, struct pool *ret);

/* Of slot @index, 0..total-1: where the host reaches the guest; the host's end of the pair; the namespace's. */
uint32_t pool_guest(const struct pool *p, uint32_t index);
uint32_t pool_outer(const struct pool *p, uint32_t index);
uint32_t pool_inner(const struct pool *p, uint32_t index);

#endif
