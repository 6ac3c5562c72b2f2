/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/blocked.h - would rules of other programs on this host drop what guests send? */
#ifndef SBXFS_NET_BLOCKED_H
#define SBXFS_NET_BLOCKED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct nft_ctx;

/* A chain of the hook forward. */
struct blocked_chain {
	char family[8], table[64], name[64];
	bool drops;    /* by its policy */
	bool has_user; /* its table has a chain DOCKER-USER, which is where others' rules go */
};

/**
 * blocked_chains() - The forward chains of others in what `nft list chains` says
 * @text: changed
 * Return: how many of @ret, which has room for @max, are filled in.
 */
size_t blocked_chains(char *text, struct blocked_chain *ret, size_t max);

/**
 * blocked_by() - Does this chain drop what comes from a guest?
 * @rules: what `nft list chain` says of it, and of DOCKER-USER; changed
 */
bool blocked_by(const struct blocked_chain *c, char *rules);

/* The whole line of text that slot_driver.blocked() gives; "" when all is well. Return: 0; negative errno. */
int blocked_find(struct nft_ctx *nft, struct buf *ret, struct err *e);

#endif
