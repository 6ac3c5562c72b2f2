/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/egress-netns.c - egress rules of the netns driver's slots: what holds in which
 *
 * How it works: a slot begins with the default rules, and nothing is kept of it. Once it has others, or somebody asks for counts, there is
 * a connection to its nftables and a copy of what was put there, so that the next change knows what to delete. After a
 * restart of the daemon that is read from the names of the counters. Everything is done with the lock of side.c.
 *
 * The namespace is changed first, by one transaction, then what the host's table opens. In between something more may be closed, never
 * something more open than either rules say.
 */
#include "net/egress-netns.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/egress-text.h"
#include "net/nft.h"
#include "net/space.h"

enum {
	LET_MS = 5000, /* for others that change slots */
	COUNT_MS = 1000,
	LET_SLACK_MS = 1000, /* not worth a change */
	LEASES_MAX = 4096,   /* that are remembered of a slot */
};

static const char list_counters[] = "list counters table ip sbxfs\n";

/* Until when an address may be sent to under a name. */
struct lease {
	char id[EGRESS_ID_SIZE];
	uint32_t addr;
	int64_t until_ms;
};

struct held {
	uint32_t serial;
	bool is_known;        /* whether @rules are what is there */
	struct egress rules;  /* owned */
	struct nft_ctx *nft;  /* of the namespace; NULL: not opened yet; owned */
	struct lease *leases; /* owned; those that are over may be among them */
	size_t lease_count;
};

static void *all; /* a tree of struct held; guarded by side.c's lock */

/* ---- what is known ------------------------------------------------------------------------------- */

static bool is_default(const struct egress *g)
{
	return g->allow && g->count == 0;
}

static int held_compare(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return (x->serial > y->serial) - (x->serial < y->serial);
}

static struct held *held_find(uint32_t serial)
{
	struct held key = {.serial = serial};
	void *node = tfind(&key, &all, held_compare);

	return node ? *(struct held **)node : NULL;
}

/* One that is by default as long as nobody says otherwise. */
static struct held *held_make(uint32_t serial, struct err *e)
{
	struct held *h = held_find(serial);

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (h) {
		h->serial = serial;
		h->is_known = true;
		h->rules = (struct egress)EGRESS_DEFAULT;
		if (tsearch(h, &all, held_compare))
			return h;
	}
	free(h);
	(void)err_set(e, ENOMEM, "no memory for egress rules");
	return NULL;
}

void egress_netns_forget(uint32_t serial)
{
	struct held *h = held_find(serial);

	if (!h)
		return;
	(void)tdelete(h, &all, held_compare); /* it is there */
	nft_close(h->nft);
	egress_done(&h->rules);
	free(h->leases);
	free(h);
}

int egress_netns_found(const struct slot *s, struct err *e)
{
	struct held *h = held_make(s->serial, e);

	if (!h)
		return -ENOMEM;
	h->is_known = false;
	return 0;
}

static int open_inside(void *arg, struct err *e)
{
	return nft_open(arg, e);
}

/* With its connection. One that has just been made goes again when there is none. */
static int held_open(const struct slot *s, struct held **ret, struct err *e)
{
	struct held *h = held_make(s->serial, e);
	AUTO_FD ns_fd = -1;
	int rc = h ? 0 : -ENOMEM;

	if (rc < 0 || h->nft) {
		*ret = h;
		return rc;
	}
	/* Who reads counts has no descriptor of it. */
	if (s->netns_fd < 0)
		rc = space_open(s->link, &ns_fd, e);
	if (rc == 0)
		rc = space_run(s->netns_fd < 0 ? ns_fd : s->netns_fd, open_inside, &h->nft, e);
	if (rc < 0 && h->is_known && is_default(&h->rules))
		egress_netns_forget(s->serial);
	*ret = h;
	return rc;
}

/* ---- changes ------------------------------------------------------------------------------------- */

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "no memory for the nftables commands");
}

/* Delete what is there by another name than one of @to; all of it when that is NULL. */
static int add_delete_others(struct held *h, const struct egress *to, struct buf *b, struct err *e)
{
	AUTO_BUF wanted = BUF_INIT;
	AUTO_BUF out = BUF_INIT;
	char id[EGRESS_ID_SIZE], word[EGRESS_ID_SIZE + 2];
	int rc = nft_run(h->nft, list_counters, &out, e);

	if (to)
		buf_addf(&wanted, " %s ", egress_policy_id(to));
	for (size_t i = 0; to && i < to->count; i++) {
		egress_id(&to->rules[i], id);
		buf_addf(&wanted, " %s ", id);
	}
	if (rc == 0 && buf_error(&wanted))
		rc = no_memory(e);
	for (const char *p = rc == 0 ? buf_text(&out) : NULL; p && (p = egress_next_id(p, id));) {
		(void)snprintf(word, sizeof(word), " %s ", id);
		if (!strstr(buf_text(&wanted), word))
			egress_delete(id, b);
	}
	return rc;
}

/* In the namespace alone: from what there is to @to. */
static int change_inside(struct net_side *side, struct held *h, const struct egress *to,
			 struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	int rc = 0;

	egress_commands(to, side->pool.block, &b);
	if (h->is_known)
		egress_delete_stale(&h->rules, to, &b);
	else
		rc = add_delete_others(h, to, &b, e);
	if (rc == 0 && buf_error(&b))
		rc = no_memory(e);
	if (rc == 0)
		rc = fault_point("egress-set", NULL, e);
	return rc < 0 ? rc : nft_run(h->nft, buf_text(&b), NULL, e);
}

/* Of names that are no more nothing is left. */
static void leases_reduce(struct held *h)
{
	char id[EGRESS_ID_SIZE];
	size_t kept = 0;

	for (size_t i = 0; i < h->lease_count; i++)
		for (size_t k = 0; k < h->rules.count; k++) {
			egress_id(&h->rules.rules[k], id);
			if (strcmp(id, h->leases[i].id) == 0) {
				h->leases[kept++] = h->leases[i];
				break;
			}
		}
	h->lease_count = kept;
}

static int change(struct net_side *side, struct held *h, const struct slot *s,
		  const struct egress *rules, struct err *e)
{
	struct egress next = EGRESS_DEFAULT, old = h->rules;
	AUTO_BUF opens = BUF_INIT;
	int rc = 0;

	egress_opens(rules, side->pool.block, s->link, &opens);
	if (buf_error(&opens) || egress_copy(rules, &next) < 0)
		return no_memory(e);
	rc = change_inside(side, h, rules, e);
	if (rc < 0) {
		egress_done(&next);
		return rc;
	}
	h->rules = next;
	rc = side_elements(side, s->link, ELEMENT_OPEN, buf_text(&opens), e);
	if (rc < 0 && h->is_known && change_inside(side, h, &old, NULL) == 0) {
		h->rules = old;
		egress_done(&next);
	} else {
		egress_done(&old);
	}
	h->is_known = h->is_known || rc == 0;
	leases_reduce(h);
	return rc;
}

int egress_netns(const struct slot *s, const struct egress *rules, const struct deadline *d,
		 struct err *e)
{
	struct net_side *side = NULL;
	struct held *h = NULL;
	int rc = side_lock(d, &side, e);

	if (rc < 0)
		return rc;
	h = held_find(s->serial);
	if (h ? h->is_known && egress_same(&h->rules, rules) : is_default(rules)) {
		side_unlock(side);
		return 0;
	}
	rc = held_open(s, &h, e);
	if (rc == 0)
		rc = change(side, h, s, rules, e);
	side_unlock(side);
	return rc;
}

int egress_netns_reset(struct net_side *side, const struct slot *s, struct err *e)
{
	const struct egress none = EGRESS_DEFAULT;
	struct held *h = NULL;
	AUTO_BUF b = BUF_INIT;
	int rc = held_open(s, &h, e);

	if (rc == 0)
		rc = side_elements(side, s->link, ELEMENT_OPEN, "", e);
	/* All counters go, the policy's as well: it begins anew. */
	buf_adds(&b, "flush chain ip sbxfs egress\n");
	if (rc == 0)
		rc = add_delete_others(h, NULL, &b, e);
	egress_commands(&none, side->pool.block, &b);
	if (rc == 0 && buf_error(&b))
		rc = no_memory(e);
	if (rc == 0)
		rc = nft_run(h->nft, buf_text(&b), NULL, e);
	if (rc < 0)
		return rc;
	egress_done(&h->rules);
	h->is_known = true;
	h->lease_count = 0;
	return 0;
}

void egress_netns_begin(const struct net_side *side, struct buf *b)
{
	struct egress none = EGRESS_DEFAULT;

	egress_commands(&none, side->pool.block, b);
}

int egress_netns_count(const struct slot *s, struct egress *rules, struct err *e)
{
	struct deadline d = deadline_in(COUNT_MS, -1);
	struct net_side *side = NULL;
	AUTO_BUF out = BUF_INIT;
	struct held *h = NULL;
	int rc = side_lock(&d, &side, e);

	if (rc < 0)
		return rc;
	rc = held_open(s, &h, e);
	if (rc == 0)
		rc = nft_run(h->nft, list_counters, &out, e);
	side_unlock(side);
	if (rc == 0)
		egress_counts_read(buf_text(&out), rules);
	return rc;
}

/* ---- names --------------------------------------------------------------------------------------- */

static struct lease *lease_find(struct held *h, const char *id, uint32_t addr)
{
	for (size_t i = 0; i < h->lease_count; i++)
		if (h->leases[i].addr == addr && strcmp(h->leases[i].id, id) == 0)
			return &h->leases[i];
	return NULL;
}

/* Remember it; with no room for that it is only let through once more the next time. */
static void lease_keep(struct held *h, const char *id, uint32_t addr, int64_t until_ms)
{
	struct lease *l = lease_find(h, id, addr);
	int64_t now = clock_ms();

	for (size_t i = 0; i < h->lease_count && !l; i++)
		if (h->leases[i].until_ms <= now)
			l = &h->leases[i];
	if (!l && h->lease_count < LEASES_MAX) {
		void *leases = reallocarray(h->leases, h->lease_count + 1, sizeof(*l));

		if (!leases)
			return;
		h->leases = leases;
		l = &h->leases[h->lease_count++];
	}
	if (!l)
		return;
	(void)snprintf(l->id, sizeof(l->id), "%s", id);
	l->addr = addr;
	l->until_ms = until_ms;
}

/* What a name stands for. */
struct answer {
	const uint32_t *addrs; /* @count of them */
	size_t count;
	uint32_t ttl_sec;
};

/* May it be sent to under a name at all, and is that new? */
static bool is_to_let(const struct net_side *side, struct held *h, const char *id, uint32_t addr,
		      int64_t until_ms)
{
	const struct lease *l = lease_find(h, id, addr);

	return !addr_is_closed(addr) &&
	       !addr_range_overlaps(side->pool.block, addr_range_of(addr, 32)) &&
	       (!l || l->until_ms < until_ms - LET_SLACK_MS);
}

/* With the lock held. @r: the rule that has the name. */
static int let(struct net_side *side, struct held *h, const struct egress_rule *r,
	       const struct answer *a, struct err *e)
{
	int64_t until = clock_ms() + (int64_t)a->ttl_sec * 1000;
	AUTO_BUF b = BUF_INIT;
	char id[EGRESS_ID_SIZE];
	int rc = 0;

	egress_id(r, id);
	for (size_t i = 0; i < a->count; i++)
		if (is_to_let(side, h, id, a->addrs[i], until))
			egress_let_commands(r, a->addrs[i], a->ttl_sec, &b);
	if (buf_error(&b))
		return no_memory(e);
	if (b.len > 0)
		rc = nft_run(h->nft, buf_text(&b), NULL, e);
	for (size_t i = 0; i < a->count && rc == 0; i++)
		if (is_to_let(side, h, id, a->addrs[i], until))
			lease_keep(h, id, a->addrs[i], until);
	return rc;
}

static const struct egress_rule *rule_for(const struct egress *g, const char *name)
{
	for (size_t i = 0; i < g->count; i++)
		if (egress_rule_has(&g->rules[i], name))
			return &g->rules[i];
	return NULL;
}

int egress_let(uint32_t serial, const char *name, const uint32_t *addrs, size_t count,
	       uint32_t ttl_sec, struct err *e)
{
	const struct answer answer = {.addrs = addrs, .count = count, .ttl_sec = ttl_sec};
	struct deadline d = deadline_in(LET_MS, -1);
	const struct egress_rule *rule = NULL;
	struct net_side *side = NULL;
	struct held *h = NULL;
	int rc = side_lock(&d, &side, e);

	if (rc < 0)
		return rc;
	h = held_find(serial);
	if (h && !h->is_known)
		rc = err_set(e, EAGAIN, "the rules of network slot %u are not known yet", serial);
	else if (h)
		rule = rule_for(&h->rules, name);
	if (rule)
		rc = let(side, h, rule, &answer, e);
	side_unlock(side);
	return rc;
}
