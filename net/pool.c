/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/pool.c - which IPv4 addresses the slots use
 *
 * How it works: one block holds everything of one instance, so one range is claimed and one is compared.
 * Of a block of N addresses, base + 1 + index is the guest's, base + N/2 + 2 * index is the host's end of
 * the slot's pair and the next one the namespace's. N/4 slots fit, the last guest address is base + N/4.
 */
#include "net/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define IP(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* clang-format off */
/* What is tried, in this order: @count blocks of the same size, one after another. Those of full size come
 * first; 172.16/12 is left to container engines, which take from there by default. */
static const struct {
	struct addr_range first;
	unsigned count;
} candidates[] = {
	{ { IP(10, 11, 0, 0), 16 }, 16 },
	{ { IP(10, 200, 0, 0), 16 }, 16 },
	{ { IP(100, 83, 0, 0), 16 }, 8 },
	{ { IP(198, 18, 0, 0), 16 }, 2 },
	{ { IP(10, 251, 128, 0), 20 }, 8 },
	{ { IP(192, 168, 192, 0), 20 }, 4 },
	{ { IP(172, 31, 192, 0), 20 }, 4 },
};

const struct addr_range addr_closed[] = {
	{ IP(10, 0, 0, 0), 8 },     /* RFC 1918 */
	{ IP(172, 16, 0, 0), 12 },  /* RFC 1918 */
	{ IP(192, 168, 0, 0), 16 }, /* RFC 1918 */
	{ IP(100, 64, 0, 0), 10 },  /* RFC 6598, behind a provider's address translation */
	{ IP(169, 254, 0, 0), 16 }, /* RFC 3927, where clouds serve a machine's secrets */
	{ IP(198, 18, 0, 0), 15 },  /* RFC 2544, and in our own list */
	{ 0, 0 },
};
/* clang-format on */

static uint32_t prefix_mask(unsigned prefix)
{
	return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

struct addr_range addr_range_of(uint32_t addr, unsigned prefix)
{
	return (struct addr_range){.addr = addr & prefix_mask(prefix), .prefix = prefix};
}

bool addr_range_overlaps(struct addr_range a, struct addr_range b)
{
	uint32_t mask = prefix_mask(a.prefix < b.prefix ? a.prefix : b.prefix);

	return ((a.addr ^ b.addr) & mask) == 0;
}

bool addr_is_closed(uint32_t addr)
{
	for (const struct addr_range *r = addr_closed; r->prefix; r++)
		if (addr_range_overlaps(*r, addr_range_of(addr, 32)))
			return true;
	return false;
}

const char *addr_text(uint32_t addr, char ret_text[SLOT_ADDR_SIZE])
{
	(void)snprintf(ret_text, SLOT_ADDR_SIZE, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255,
		       addr >> 8 & 255, addr & 255); /* always fits */
	return ret_text;
}

int addr_parse(const char *text, uint32_t *ret_addr)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return -EINVAL;
	*ret_addr = ntohl(in.s_addr);
	return 0;
}

static uint32_t block_size(struct addr_range block)
{
	return ~prefix_mask(block.prefix) + 1;
}

struct pool pool_in(struct addr_range block)
{
	uint32_t total = block_size(block) / 4;

	return (struct pool){.block = block,
			     .total = total < POOL_SLOTS_MAX ? total : POOL_SLOTS_MAX};
}

static bool block_is_free(struct addr_range block, const struct addr_range *used, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (addr_range_overlaps(block, used[i]))
			return false;
	return true;
}

int pool_find(const struct addr_range *used, size_t n, struct pool *ret)
{
	for (size_t c = 0; c < sizeof(candidates) / sizeof(candidates[0]); c++) {
		struct addr_range block = candidates[c].first;

		for (unsigned i = 0; i < candidates[c].count; i++) {
			if (block_is_free(block, used, n)) {
				*ret = pool_in(block);
				return 0;
			}
			block.addr += block_size(block);
		}
	}
	return -EADDRINUSE;
}

uint32_t pool_guest(const struct pool *p, uint32_t index)
{
	return p->block.addr + 1 + index;
}

uint32_t pool_outer(const struct pool *p, uint32_t index)
{
	return p->block.addr + block_size(p->block) / 2 + 2 * index;
}

uint32_t pool_inner(const struct pool *p, uint32_t index)
{
	return pool_outer(p, index) + 1;
}

int addr_range_parse(const char *text, struct addr_range *ret)
{
	const char *slash = strchr(text, '/');
	char addr[SLOT_ADDR_SIZE];
	uint64_t prefix = 0;
	uint32_t a = 0;

	if (!slash || (size_t)(slash - text) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	if (addr_parse(addr, &a) < 0 || parse_u64(slash + 1, 0, 32, &prefix) < 0)
		return -EINVAL;
	*ret = addr_range_of(a, (unsigned)prefix);
	return ret->addr == a ? 0 : -EINVAL;
}

/* What no guest can have, or has already inside. */
static bool is_special(struct addr_range r)
{
	static const struct addr_range special[] = {{IP(0, 0, 0, 0), 8},
						    {IP(127, 0, 0, 0), 8},
						    {IP(169, 254, 0, 0), 16},
						    {IP(224, 0, 0, 0), 3}};

	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if (addr_range_overlaps(r, special[i]))
			return true;
	return false;
}

int pool_parse(const char *text, struct addr_range *ret)
{
	struct addr_range r;

	if (addr_range_parse(text, &r) < 0 || r.prefix < POOL_PREFIX_MIN ||
	    r.prefix > POOL_PREFIX_MAX || is_special(r))
		return -EINVAL;
	*ret = r;
	return 0;
}
