/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/blocked.c - would rules of other programs on this host drop what guests send?
 *
 * How it works: what one table accepts another still drops, so docker and firewalld, which drop what they do not know, stand in the
 * way of guests. A chain of the hook forward does so by its policy (docker) or by its last rule, one for everything
 * (firewalld). It lets guests through again when it has a rule about links named sbx*. What is said is a guess about rules that
 * others may change at any time, so it is said and nothing else is done.
 */
#include "net/blocked.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/nft.h"

enum {
	CHAINS_MAX = 32, /* of the hook forward that are looked at */
};

#define USER_CHAIN "DOCKER-USER"

static char *next_line(char **cursor)
{
	char *line = strsep(cursor, "\n");

	return line ? line + strspn(line, " \t") : NULL;
}

/* What is seen of the table that is being read. */
struct reading {
	char family[8], table[64], chain[64];
	size_t first; /* of its chains in the list */
	bool has_user;
};

static bool is_ours(const char *table)
{
	return strncmp(table, "sbxfs", 5) == 0;
}

static size_t end_table(struct reading *r, struct blocked_chain *ret, size_t n)
{
	for (size_t i = r->first; i < n; i++)
		ret[i].has_user = r->has_user;
	r->first = n;
	r->has_user = false;
	return n;
}

size_t blocked_chains(char *text, struct blocked_chain *ret, size_t max)
{
	struct reading r = {.first = 0};
	size_t n = 0;
	char *line;

	while ((line = next_line(&text))) {
		if (strncmp(line, "table ", 6) == 0) {
			n = end_table(&r, ret, n);
			if (sscanf(line, "table %7s %63s", r.family, r.table) != 2)
				r.table[0] = '\0';
		} else if (sscanf(line, "chain %63s", r.chain) == 1) {
			r.has_user |= strcmp(r.chain, USER_CHAIN) == 0;
		} else if (strstr(line, " hook forward ") && n < max && !is_ours(r.table) &&
			   (strcmp(r.family, "ip") == 0 || strcmp(r.family, "inet") == 0)) {
			ret[n] = (struct blocked_chain){.drops = strstr(line, "policy drop") !=
								 NULL};
			memcpy(ret[n].family, r.family, sizeof(r.family));
			memcpy(ret[n].table, r.table, sizeof(r.table));
			memcpy(ret[n++].name, r.chain, sizeof(r.chain));
		}
	}
	return end_table(&r, ret, n);
}

/* Is it a rule for every packet, with this verdict? */
static bool is_for_all(const char *line, const char *verdict)
{
	if (strncmp(line, "counter packets ", 16) == 0) {
		/* "counter packets N bytes N VERDICT": no more words than that before it. */
		for (int words = 0; words < 5; words++) {
			line += strcspn(line, " ");
			line += strspn(line, " ");
		}
	}
	return strncmp(line, verdict, strlen(verdict)) == 0;
}

bool blocked_by(const struct blocked_chain *c, char *rules)
{
	bool drops = c->drops, in_chain = false;
	char *line;

	while ((line = next_line(&rules))) {
		char chain[64];

		if (sscanf(line, "chain %63s", chain) == 1) {
			in_chain = strcmp(chain, c->name) == 0;
			continue;
		}
		if (strstr(line, "iifname \"sbx") && strstr(line, "accept"))
			return false;
		if (!in_chain)
			continue;
		if (is_for_all(line, "drop") || is_for_all(line, "reject"))
			drops = true;
		else if (is_for_all(line, "accept"))
			drops = false;
	}
	return drops;
}

static int list_chain(struct nft_ctx *nft, const struct blocked_chain *c, const char *name,
		      struct buf *ret, struct err *e)
{
	AUTO_BUF command = BUF_INIT;

	buf_addf(&command, "list chain %s %s %s\n", c->family, c->table, name);
	return nft_run(nft, buf_text(&command), ret, e);
}

static int look(struct nft_ctx *nft, const struct blocked_chain *c, bool *ret, struct err *e)
{
	AUTO_BUF rules = BUF_INIT;
	int rc = list_chain(nft, c, c->name, &rules, e);

	/* Not in one go: nftables finds only one of two chains of a table then. */
	if (rc == 0 && c->has_user)
		rc = list_chain(nft, c, USER_CHAIN, &rules, e);
	*ret = rc == 0 && rules.data && blocked_by(c, rules.data);
	return rc;
}

static void add_command(struct buf *b, const struct blocked_chain *c, const char *match,
			const char *end)
{
	buf_addf(b, "insert rule %s %s %s %s \"sbx*\" accept%s", c->family, c->table,
		 c->has_user ? USER_CHAIN : c->name, match, end);
}

int blocked_find(struct nft_ctx *nft, struct buf *ret, struct err *e)
{
	struct blocked_chain chains[CHAINS_MAX];
	AUTO_BUF list = BUF_INIT;
	size_t n = 0;
	int rc = nft_run(nft, "list chains\n", &list, e);

	if (rc == 0 && list.data)
		n = blocked_chains(list.data, chains, CHAINS_MAX);
	for (size_t i = 0; i < n && rc == 0; i++) {
		bool blocked = false;

		rc = look(nft, &chains[i], &blocked, e);
		if (!blocked)
			continue;
		buf_addf(ret,
			 "%sthe rules of %s table %s drop what guests send and are sent; this lets "
			 "it through: nft '",
			 ret->len ? "; " : "", chains[i].family, chains[i].table);
		add_command(ret, &chains[i], "iifname", "; ");
		add_command(ret, &chains[i], "oifname", "'");
	}
	return rc;
}
