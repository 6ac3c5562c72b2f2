/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/egress.h - what a guest may send to: the rules of one sandbox, as text and in memory
 *
 * The rule with the longest prefix decides, among those one with a port; the policy decides where none speaks. What guests
 * are kept from by default (addr_closed[], the host, other guests) counts as denials of those ranges: only a rule at least as long
 * opens a part of them. A name stands for the addresses that the guests' resolver gave for it, each a prefix of 32; a rule about
 * one of those addresses comes before it.
 */
#ifndef SBXFS_NET_EGRESS_H
#define SBXFS_NET_EGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/pool.h"

enum {
	EGRESS_RULES_MAX = 256,
	EGRESS_NAME_SIZE = 256, /* a domain of 253 characters and "*." */
};

struct egress_rule {
	bool allow;
	bool is_name;
	struct addr_range to; /* unless it is a name */
	uint16_t port;        /* TCP and UDP; 0: everything */
	char name
		[EGRESS_NAME_SIZE]; /* lower case, no dot at its end; "*.example.com" is all that is below example.com */
	uint64_t packets, bytes; /* that it decided about; 0 in rules as they are parsed */
};

struct egress {
	bool allow;              /* the policy */
	uint64_t packets, bytes; /* that it decided about */
	size_t count;
	struct egress_rule
		*rules; /* owned; in the order in which they were written, no two about the same */
};

#define EGRESS_DEFAULT                                                                             \
	{                                                                                          \
		.allow = true                                                                      \
	}

/**
 * egress_parse() - Rules from their text: `policy allow|deny`, `allow CIDR[:PORT]`, `deny CIDR[:PORT]`, `allow-name DOMAIN`
 * @text: between them a newline or `;`; "" for the defaults. A rule that repeats another's place takes it. `packets=N` and `bytes=N`
 *        behind a rule are skipped, so that what was read can be written.
 * Return: 0 and @ret, to be given to egress_done(); -EINVAL with the rule in @e; -ENOMEM.
 */
int egress_parse(const char *text, struct egress *ret, struct err *e);
void egress_done(struct egress *g);

/* Return: 0 and @ret, to be given to egress_done(); -ENOMEM. */
int egress_copy(const struct egress *from, struct egress *ret);

/* As text that egress_parse() takes, @between two rules; with counts when @counts. The policy is always said, first. */
void egress_render(const struct egress *g, const char *between, bool counts, struct buf *b);

/* Do both say the same in the same order? Counts are of no account. */
bool egress_same(const struct egress *a, const struct egress *b);

/* Are both about the same, whatever they say about it? */
bool egress_same_place(const struct egress_rule *a, const struct egress_rule *b);

/* Take a rule out. Return: false when there is none of that index. */
bool egress_remove(struct egress *g, size_t index);

/**
 * egress_order() - All rules in the order in which they are asked: the first that a packet is about decides
 * @closed: @closed_count denials that hold by default; a rule about the same comes before one of them
 * @ret: has room for all of both; borrows them
 */
void egress_order(const struct egress *g, const struct egress_rule *closed, size_t closed_count,
		  const struct egress_rule **ret);

/* May the guest ask for this name? @name: lower case, no dot at its end. True for all when the policy is allow. */
bool egress_has_name(const struct egress *g, const char *name);

/* The first rule about a name that has this one, whatever the policy; NULL: none. Borrowed. */
const struct egress_rule *egress_rule_for(const struct egress *g, const char *name);

#endif
