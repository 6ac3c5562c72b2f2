/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/egress-netns.c - egress rules of the netns driver's slots: what holds in which
 *
 * How it works: a slot begins with the default rules, and nothing is kept of it. Once it has others there is
 * a connection to its nftables and a copy of what was put there, so that the next change knows what to delete. After a
 * restart of the daemon that is read from the names of the counters. Everything but reading counts is done with the lock of side.c.
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
#include "net/lease.h"
#include "net/nft.h"
#include "net/nl-counter.h"
#include "net/space.h"

enum {
	LET_MS = 5000,        /* for others that change slots */
	LET_SLACK_MS = 10000, /* more is not worth a change */
};

struct held {
	uint32_t serial;
	bool is_known;        /* whether @rules are what is there */
	struct egress rules;  /* owned */
	struct nft_ctx *nft;  /* of the namespace; NULL: not opened yet; owned */
	struct leases leases; /* of names' addresses */
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
	leases_done(&h->leases);
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
static int add_delete_others(const struct slot *s, const struct egress *to, struct buf *b,
			     struct err *e)
{
	struct counters there = COUNTERS_NONE;
	AUTO_BUF wanted = BUF_INIT;
	char id[EGRESS_ID_SIZE], word[COUNTER_NAME_SIZE + 2];
	int rc = counters_read(s, &there, e);

	if (to)
		buf_addf(&wanted, " %s ", egress_policy_id(to));
	for (size_t i = 0; to && i < to->count; i++) {
		egress_id(&to->rules[i], id);
		buf_addf(&wanted, " %s ", id);
	}
	if (rc == 0 && buf_error(&wanted))
		rc = no_memory(e);
	for (size_t i = 0; rc == 0 && i < there.count; i++) {
		(void)snprintf(word, sizeof(word), " %s ", there.all[i].name);
		if (!strstr(buf_text(&wanted), word))
			egress_delete(there.all[i].name, b);
	}
	counters_done(&there);
	return rc;
}

/* In the namespace alone: from what there is to @to. */
static int change_inside(struct net_side *side, struct held *h, const struct slot *s,
			 const struct egress *to, struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	int rc = 0;

	egress_commands(to, side->pool.block, &b);
	if (h->is_known)
		egress_delete_stale(&h->rules, to, &b);
	else
		rc = add_delete_others(s, to, &b, e);
	if (rc == 0 && buf_error(&b))
		rc = no_memory(e);
	if (rc == 0)
		rc = fault_point("egress-set", NULL, e);
	return rc < 0 ? rc : nft_run(h->nft, buf_text(&b), NULL, e);
}

static int key_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of names that are no more nothing is left. */
static void forget_names(struct held *h)
{
	uint64_t names[EGRESS_RULES_MAX] = {0};
	size_t count = 0;

	for (size_t i = 0; i < h->rules.count; i++)
		if (h->rules.rules[i].is_name)
			names[count++] = egress_name_key(&h->rules.rules[i]);
	qsort(names, count, sizeof(*names), key_compare);
	leases_reduce(&h->leases, names, count);
}

static int change(struct net_side *side, struct held *h, const struct slot *s,
		  const struct egress *rules, struct err *e)
{
	struct egress next = EGRESS_DEFAULT, old = h->rules;
	AUTO_BUF opens = BUF_INIT;
	bool went_back = false;
	int rc = 0;

	egress_opens(rules, side->pool.block, s->link, &opens);
	if (buf_error(&opens) || egress_copy(rules, &next) < 0)
		return no_memory(e);
	rc = change_inside(side, h, s, rules, e);
	if (rc < 0) {
		egress_done(&next);
		return rc;
	}
	h->rules = next;
	rc = side_elements(side, s->link, ELEMENT_OPEN, buf_text(&opens), e);
	went_back = rc < 0 && h->is_known && change_inside(side, h, s, &old, NULL) == 0;
	if (went_back)
		h->rules = old;
	egress_done(went_back ? &next : &old);
	/* Otherwise what is open in the host's table is not what these rules say. */
	h->is_known = rc == 0 || went_back;
	forget_names(h);
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
		rc = add_delete_others(s, NULL, &b, e);
	egress_commands(&none, side->pool.block, &b);
	if (rc == 0 && buf_error(&b))
		rc = no_memory(e);
	if (rc == 0)
		rc = nft_run(h->nft, buf_text(&b), NULL, e);
	if (rc < 0)
		return rc;
	egress_done(&h->rules);
	h->is_known = true;
	leases_done(&h->leases);
	return 0;
}

void egress_netns_begin(const struct net_side *side, struct buf *b)
{
	struct egress none = EGRESS_DEFAULT;

	egress_commands(&none, side->pool.block, b);
}

int egress_netns_count(const struct slot *s, struct egress *rules, struct err *e)
{
	struct counters there = COUNTERS_NONE;
	const struct counter *c = NULL;
	char id[EGRESS_ID_SIZE];
	int rc = counters_read(s, &there, e);

	if (rc < 0)
		return rc;
	c = counters_find(&there, egress_policy_id(rules));
	rules->packets = c ? c->packets : 0;
	rules->bytes = c ? c->bytes : 0;
	for (size_t i = 0; i < rules->count; i++) {
		egress_id(&rules->rules[i], id);
		c = counters_find(&there, id);
		rules->rules[i].packets = c ? c->packets : 0;
		rules->rules[i].bytes = c ? c->bytes : 0;
	}
	counters_done(&there);
	return 0;
}

/* ---- names --------------------------------------------------------------------------------------- */

/* What a name stands for. */
struct answer {
	const uint32_t *addrs; /* @count of them */
	size_t count;
	uint32_t ttl_sec;
};

/* May it be sent to under a name at all? */
static bool is_open(const struct net_side *side, uint32_t addr)
{
	return !addr_is_closed(addr) &&
	       !addr_range_overlaps(side->pool.block, addr_range_of(addr, 32));
}

/* With the lock held. @r: the rule that has the name. */
static int let(struct net_side *side, struct held *h, const struct egress_rule *r,
	       const struct answer *a, struct err *e)
{
	int64_t now = clock_ms(), until = now + (int64_t)a->ttl_sec * 1000;
	AUTO_FREE uint32_t *addrs = calloc(a->count + 1, sizeof(*addrs));
	uint64_t name = egress_name_key(r);
	size_t count = 0, fresh = 0;
	AUTO_BUF b = BUF_INIT;
	int rc = 0;

	for (size_t i = 0; addrs && i < a->count; i++) {
		int64_t before = lease_until(&h->leases, name, a->addrs[i], now);

		if (!is_open(side, a->addrs[i]) || before >= until - LET_SLACK_MS)
			continue;
		fresh += before == 0;
		addrs[count++] = a->addrs[i];
		egress_let_commands(r, a->addrs[i], a->ttl_sec, &b);
	}
	if (!addrs || buf_error(&b))
		return no_memory(e);
	if (count > 0)
		rc = leases_take(&h->leases, count, fresh, now, e);
	if (count > 0 && rc == 0)
		rc = nft_run(h->nft, buf_text(&b), NULL, e);
	for (size_t i = 0; i < count && rc == 0; i++)
		lease_set(&h->leases, name, addrs[i], until);
	return rc;
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
		rule = egress_rule_for(&h->rules, name);
	if (rule)
		rc = let(side, h, rule, &answer, e);
	side_unlock(side);
	return rc;
}
