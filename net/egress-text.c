/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/egress-text.c - egress rules as nftables commands
 *
 * How it works
 * In the namespace each rule is a rule of a chain that all passes which leaves by the link to the host, whoever sent it, before its source is
 * translated. A packet is judged by its own destination, so that a rule that is taken away ends what goes on; only the answers
 * to whom the host let in pass unseen. A name has a set of the addresses that it stands for, which go when their time is over,
 * and marks the connections that it let begin, so that those go on for as long as the rule is there.
 *
 * What a guest is kept from by default are rules among the others. The host's table has the same for all guests, and what a rule opens
 * there is an element of a set: open_range what is closed, open_guest other guests' addresses, open_host single addresses, which are the host's own.
 */
#include "net/egress-text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/lease.h"
#include "net/slot.h"
#include "net/space.h"

#define CHAIN "ip sbxfs egress"
#define PROBE_MARK                                                                                 \
	"0x73627866" /* of drain.c: sent in others' names to connections that are there */

enum {
	CLOSED_MAX = 16,
	SET_SIZE =
		LEASES_MAX / 2 *
		3, /* addresses of one name at a time, and such as are over and not cleared away; the kernel takes memory for all */
};

/* FNV-1a */
static uint64_t hash(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return h;
}

static uint32_t mark_of(const struct egress_rule *r)
{
	return (uint32_t)(hash(r->name) >> 32) | 1; /* 0 is no mark */
}

uint64_t egress_name_key(const struct egress_rule *r)
{
	return hash(r->name);
}

void egress_id(const struct egress_rule *r, char ret_id[EGRESS_ID_SIZE])
{
	if (r->is_name)
		(void)snprintf(ret_id, EGRESS_ID_SIZE, "n%016" PRIx64, hash(r->name));
	else
		(void)snprintf(ret_id, EGRESS_ID_SIZE, "%c%08" PRIx32 "_%u_%u",
			       r->allow ? 'a' : 'd', r->to.addr, r->to.prefix, r->port);
}

const char *egress_policy_id(const struct egress *g)
{
	return g->allow ? "policy_allow" : "policy_deny";
}

static void add_range(struct addr_range r, struct buf *b)
{
	char text[SLOT_ADDR_SIZE];

	buf_adds(b, addr_text(r.addr, text));
	if (r.prefix < 32)
		buf_addf(b, "/%u", r.prefix);
}

static const char *verdict(bool allow)
{
	return allow ? "accept" : "drop";
}

/* ---- in the namespace ---------------------------------------------------------------------------- */

static void add_name(const struct egress_rule *r, struct buf *b)
{
	char id[EGRESS_ID_SIZE];

	egress_id(r, id);
	buf_addf(b, "add rule " CHAIN " ct mark 0x%" PRIx32 " counter name %s accept\n", mark_of(r),
		 id);
	buf_addf(b,
		 "add rule " CHAIN " ip daddr @%s ct mark set 0x%" PRIx32
		 " counter name %s accept\n",
		 id, mark_of(r), id);
}

static void add_to(const struct egress_rule *r, const char *port, const char *id, struct buf *b)
{
	buf_adds(b, "add rule " CHAIN " ");
	if (r->to.prefix) {
		buf_adds(b, "ip daddr ");
		add_range(r->to, b);
		buf_addc(b, ' ');
	}
	if (r->port)
		buf_addf(b, "%s dport %u ", port, r->port);
	if (id)
		buf_addf(b, "counter name %s ", id);
	buf_addf(b, "%s\n", verdict(r->allow));
}

/* @id: NULL for what is closed by default. */
static void add_rule(const struct egress_rule *r, const char *id, struct buf *b)
{
	if (r->is_name) {
		add_name(r, b);
		return;
	}
	add_to(r, "tcp", id, b);
	if (r->port)
		add_to(r, "udp", id, b);
}

/* What holds by default. Return: how many. */
static size_t closed_rules(struct addr_range block, struct egress_rule ret[CLOSED_MAX])
{
	size_t n = 0;

	ret[n++].to = block;
	for (const struct addr_range *r = addr_closed; r->prefix && n < CLOSED_MAX; r++)
		ret[n++].to = *r;
	return n;
}

static bool is_of(const struct egress *g, const struct egress_rule *r)
{
	return r >= g->rules && r < g->rules + g->count;
}

void egress_commands(const struct egress *g, struct addr_range block, struct buf *b)
{
	const struct egress_rule *order[EGRESS_RULES_MAX + CLOSED_MAX];
	struct egress_rule *closed = calloc(CLOSED_MAX, sizeof(*closed));
	char id[EGRESS_ID_SIZE];
	size_t count = 0;

	if (!closed) {
		b->failed = true;
		return;
	}
	count = closed_rules(block, closed);
	buf_adds(b,
		 "add chain " CHAIN " { type filter hook postrouting priority 0; policy drop; }\n"
		 "flush chain " CHAIN "\n"
		 "add rule " CHAIN " oifname != " SPACE_LINK " accept\n"
		 "add rule " CHAIN " ct direction reply accept\n"
		 "add rule " CHAIN " ct state untracked meta mark " PROBE_MARK " accept\n");
	for (size_t i = 0; i < g->count; i++) {
		egress_id(&g->rules[i], id);
		buf_addf(b, "add counter ip sbxfs %s\n", id);
		if (g->rules[i].is_name)
			buf_addf(
				b,
				"add set ip sbxfs %s { type ipv4_addr; flags timeout; size %d; }\n",
				id, SET_SIZE);
	}
	egress_order(g, closed, count, order);
	for (size_t i = 0; i < g->count + count; i++) {
		if (is_of(g, order[i]))
			egress_id(order[i], id);
		add_rule(order[i], is_of(g, order[i]) ? id : NULL, b);
	}
	buf_addf(b,
		 "add counter ip sbxfs %s\n"
		 "add rule " CHAIN " counter name %s %s\n",
		 egress_policy_id(g), egress_policy_id(g), verdict(g->allow));
	free(closed);
}

void egress_delete(const char *id, struct buf *b)
{
	buf_addf(b, "delete counter ip sbxfs %s\n", id);
	if (id[0] == 'n')
		buf_addf(b, "delete set ip sbxfs %s\n", id);
}

static bool has_id(const struct egress *g, const char *id)
{
	char other[EGRESS_ID_SIZE];

	for (size_t i = 0; i < g->count; i++) {
		egress_id(&g->rules[i], other);
		if (strcmp(id, other) == 0)
			return true;
	}
	return strcmp(id, egress_policy_id(g)) == 0;
}

void egress_delete_stale(const struct egress *from, const struct egress *to, struct buf *b)
{
	char id[EGRESS_ID_SIZE];

	for (size_t i = 0; i < from->count; i++) {
		egress_id(&from->rules[i], id);
		if (!has_id(to, id))
			egress_delete(id, b);
	}
	if (from->allow != to->allow)
		egress_delete(egress_policy_id(from), b);
}

void egress_let_commands(const struct egress_rule *r, uint32_t addr, uint32_t ttl_sec,
			 struct buf *b)
{
	char text[SLOT_ADDR_SIZE], id[EGRESS_ID_SIZE];

	egress_id(r, id);
	(void)addr_text(addr, text);
	/* One that is there keeps its time when it is added, and one that is not cannot be deleted. */
	buf_addf(b,
		 "add element ip sbxfs %s { %s timeout 1d }\n"
		 "delete element ip sbxfs %s { %s }\n"
		 "add element ip sbxfs %s { %s timeout %" PRIu32 "s }\n",
		 id, text, id, text, id, text, ttl_sec);
}

/* ---- in the host's table ------------------------------------------------------------------------- */

static bool contains(struct addr_range a, struct addr_range b)
{
	return a.prefix <= b.prefix && addr_range_overlaps(a, b);
}

static bool opens_range(const struct egress_rule *r, struct addr_range block)
{
	(void)block;
	for (const struct addr_range *c = addr_closed; c->prefix; c++)
		if (contains(*c, r->to))
			return true;
	return false;
}

static bool opens_guest(const struct egress_rule *r, struct addr_range block)
{
	return contains(block, r->to);
}

static bool opens_host(const struct egress_rule *r, struct addr_range block)
{
	(void)block;
	return r->to.prefix == 32 && !r->port;
}

static bool opens_port(const struct egress_rule *r, struct addr_range block)
{
	(void)block;
	return r->to.prefix == 32 && r->port;
}

static const struct {
	const char *set;
	bool (*has)(const struct egress_rule *r, struct addr_range block);
} opens[] = {
	{"open_range", opens_range}, {"open_guest", opens_guest}, {"open_host", opens_host},
	{"open_at", opens_port},     {"open_port", opens_port},
};

/* The one whose elements have protocol and port. */
#define OPEN_PORT (sizeof(opens) / sizeof(opens[0]) - 1)

/* Is it in another one of the same set, or the same as one before it? */
static bool is_nested(const struct egress *g, size_t index, size_t kind, struct addr_range block)
{
	const struct egress_rule *r = &g->rules[index];

	for (size_t i = 0; i < g->count; i++) {
		const struct egress_rule *o = &g->rules[i];

		if (i == index || !o->allow || o->is_name || !contains(o->to, r->to) ||
		    !opens[kind].has(o, block) || kind == OPEN_PORT)
			continue;
		if (o->to.prefix < r->to.prefix || i < index)
			return true;
	}
	return false;
}

/* @protocol: of its port; NULL: the set has none. */
static void add_open(const char *set, const char *link, const struct egress_rule *r,
		     const char *protocol, struct buf *b)
{
	buf_addf(b, "%s \"%s\" . ", set, link);
	add_range(r->to, b);
	if (protocol)
		buf_addf(b, "%s . %u", protocol, r->port);
	buf_addc(b, '\n');
}

void egress_opens(const struct egress *g, struct addr_range block, const char *link, struct buf *b)
{
	for (size_t kind = 0; kind < sizeof(opens) / sizeof(opens[0]); kind++)
		for (size_t i = 0; i < g->count; i++) {
			const struct egress_rule *r = &g->rules[i];

			if (!r->allow || r->is_name || !opens[kind].has(r, block) ||
			    is_nested(g, i, kind, block))
				continue;
			if (kind == OPEN_PORT) {
				add_open(opens[kind].set, link, r, " . tcp", b);
				add_open(opens[kind].set, link, r, " . udp", b);
			} else {
				add_open(opens[kind].set, link, r, NULL, b);
			}
		}
}
