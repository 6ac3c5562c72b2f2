/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/egress-text.h - egress rules as nftables commands: for the slot's own namespace and for the host's table */
#ifndef SBXFS_NET_EGRESS_TEXT_H
#define SBXFS_NET_EGRESS_TEXT_H

#include <stdint.h>

#include "base/buf.h"
#include "net/egress.h"
#include "net/pool.h"

enum {
	EGRESS_ID_SIZE = 32,
};

/* What a rule is called in the namespace, as long as it says the same: its counter, and the set of a name. */
void egress_id(const struct egress_rule *r, char ret_id[EGRESS_ID_SIZE]);
/* What the name of a rule about one is known by: in its id, too. */
uint64_t egress_name_key(const struct egress_rule *r);
/* The counter of the policy. */
const char *egress_policy_id(const struct egress *g);

/**
 * egress_commands() - Have these rules hold in place of what held, with one transaction
 * @block: of all slots: other guests' addresses
 *
 * Counters and sets that are there stay as they are; those of rules that are no more have to be deleted behind it: egress_delete().
 */
void egress_commands(const struct egress *g, struct addr_range block, struct buf *b);

/* Delete what a rule had under this name. */
void egress_delete(const char *id, struct buf *b);

/* Delete what rules of @from had and those of @to do not need. */
void egress_delete_stale(const struct egress *from, const struct egress *to, struct buf *b);

/* What a link may reach of what is closed by the host's table, in the form of element.h; of nested ranges the largest. */
void egress_opens(const struct egress *g, struct addr_range block, const char *link, struct buf *b);

/**
 * egress_let_commands() - An address that a name has stood for from now on, instead of until when it would have
 * @r: the rule about the name
 */
void egress_let_commands(const struct egress_rule *r, uint32_t addr, uint32_t ttl_sec,
			 struct buf *b);

#endif
