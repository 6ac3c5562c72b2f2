/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/sampler.c - the thread that reads once a second what has gone through each guest's network
 *
 * How it works: each sandbox with a slot has an entry with a copy of the slot, so that a look needs nothing of the sandbox but its
 * lock for the moment of the addition. The thread sleeps without a time limit while there is no entry. An entry's lock is held
 * over a look, one question to the kernel; no other lock is held then, and s->lock is taken inside it.
 */
#include "ops/sampler.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/net.h"

enum {
	SAMPLE_MS = 1000,
};

struct entry {
	struct sbx *s; /* a reference */
	struct slot slot;
	struct entry *next;   /* [list] */
	unsigned refs;        /* [list] */
	pthread_mutex_t lock; /* over a look */
	bool over;            /* there was the last; [lock] */
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t list_cond;
static struct entry *entries; /* [list] */
static bool stopping;         /* [list] */
static bool started;
static pthread_t thread;

/* ---- one look -------------------------------------------------------------------------------------------- */

/* Add what the slot has counted since the last look. It counts from nothing again when it was made anew. */
static void note(struct sbx *s, const struct slot *slot, const struct slot_counters *c, bool count)
{
	struct traffic *t = &s->traffic;

	pthread_mutex_lock(&s->lock);
	if (t->slot != slot->serial || c->rx_bytes < t->slot_rx || c->tx_bytes < t->slot_tx)
		t->slot_rx = t->slot_tx = 0;
	if (count) {
		t->rx_bytes += c->rx_bytes - t->slot_rx;
		t->tx_bytes += c->tx_bytes - t->slot_tx;
		t->known = true;
	}
	t->slot = slot->serial;
	t->slot_rx = c->rx_bytes;
	t->slot_tx = c->tx_bytes;
	pthread_mutex_unlock(&s->lock);
}

/* A slot that does not answer is one that goes: what it had is added already, but for a second's worth. */
static void look(struct entry *l, bool count, bool last)
{
	struct slot_counters c;

	(void)pthread_mutex_lock(&l->lock); /* a plain mutex: cannot fail */
	if (!l->over && host.net->counters(&l->slot, &c, NULL) == 0)
		note(l->s, &l->slot, &c, count);
	l->over = l->over || last;
	(void)pthread_mutex_unlock(&l->lock);
}

/* ---- entries --------------------------------------------------------------------------------------------- */

/* With the list's lock. Return: the entry is to be freed, without it. */
static bool unref(struct entry *l)
{
	return --l->refs == 0;
}

static void entry_free(struct entry *l)
{
	(void)pthread_mutex_destroy(&l->lock); /* nobody has it any more */
	sbx_put(l->s);
	free(l);
}

static void let_go(struct entry *l)
{
	bool last;

	(void)pthread_mutex_lock(&list_lock);
	last = unref(l);
	(void)pthread_mutex_unlock(&list_lock);
	if (last)
		entry_free(l);
}

static struct entry **entry_at(const struct sbx *s)
{
	struct entry **at = &entries;

	while (*at && (*at)->s != s)
		at = &(*at)->next;
	return at;
}

void sampler_add(struct sbx *s, bool adopted)
{
	struct entry *l;

	if (!host.net->counters || s->hidden)
		return;
	l = calloc(1, sizeof(*l));
	if (!l) {
		log_warning("no memory to count what goes through its network, ignoring");
		return;
	}
	*l = (struct entry){.s = sbx_get(s), .slot = s->shown, .refs = 1};
	(void)pthread_mutex_init(&l->lock, NULL); /* a plain mutex: cannot fail */
	look(l, adopted, false);
	(void)pthread_mutex_lock(&list_lock); /* as above, and below */
	l->next = entries;
	entries = l;
	(void)pthread_cond_signal(&list_cond);
	(void)pthread_mutex_unlock(&list_lock);
}

void sampler_remove(struct sbx *s)
{
	struct entry **at, *l;

	(void)pthread_mutex_lock(&list_lock);
	at = entry_at(s);
	l = *at;
	if (l)
		*at = l->next;
	(void)pthread_mutex_unlock(&list_lock);
	if (!l)
		return;
	look(l, true, true);
	let_go(l);
}

/* ---- the thread ------------------------------------------------------------------------------------------ */

/* All that there are, held. Return: how many; 0 also when it is to end, or there is no memory to look at any. */
static size_t hold_all(struct entry ***ret)
{
	size_t count = 0;

	*ret = NULL;
	(void)pthread_mutex_lock(&list_lock); /* as above, and below */
	for (struct entry *l = stopping ? NULL : entries; l; l = l->next)
		count++;
	if (count)
		*ret = calloc(count, sizeof(struct entry *));
	count = 0;
	for (struct entry *l = *ret ? entries : NULL; l; l = l->next) {
		l->refs++;
		(*ret)[count++] = l;
	}
	(void)pthread_mutex_unlock(&list_lock);
	return count;
}

static bool is_over(void)
{
	bool over;

	(void)pthread_mutex_lock(&list_lock);
	over = stopping;
	(void)pthread_mutex_unlock(&list_lock);
	return over;
}

static void wait_second(int64_t began_ms)
{
	int64_t at_ms = began_ms + SAMPLE_MS;
	struct timespec until = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};

	(void)pthread_mutex_lock(&list_lock);
	while (!stopping && clock_ms() < at_ms)
		(void)pthread_cond_timedwait(&list_cond, &list_lock,
					     &until); /* what came is looked at */
	while (!stopping && !entries)
		(void)pthread_cond_wait(&list_cond, &list_lock);
	(void)pthread_mutex_unlock(&list_lock);
}

/* By default everything is let pass, and nothing is counted of that. */
static bool has_rules(struct sbx *s)
{
	bool has;

	pthread_mutex_lock(&s->lock);
	has = s->egress.count > 0 || !s->egress.allow;
	pthread_mutex_unlock(&s->lock);
	return has;
}

/* One look at all, of each at traffic first. */
static void pass(void)
{
	struct entry **all = NULL;
	size_t count = hold_all(&all);

	for (size_t i = 0; i < count && !is_over(); i++)
		look(all[i], true, false);
	for (size_t i = 0; i < count && !is_over(); i++)
		if (has_rules(all[i]->s))
			egress_refresh(all[i]->s);
	for (size_t i = 0; i < count; i++)
		let_go(all[i]);
	free(all);
}

static void *run(void *arg)
{
	(void)arg;
	while (!is_over()) {
		int64_t began_ms = clock_ms();

		pass();
		wait_second(began_ms);
	}
	return NULL;
}

int sampler_init(struct err *e)
{
	pthread_condattr_t attr;
	int r;

	(void)pthread_condattr_init(&attr); /* these fail for values out of range alone */
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&list_cond, &attr);
	(void)pthread_condattr_destroy(&attr);
	stopping = false;
	r = pthread_create(&thread, NULL, run, NULL);
	started = r == 0;
	return r ? err_sys(e, r, "cannot start the sampler") : 0;
}

void sampler_done(void)
{
	(void)pthread_mutex_lock(&list_lock);
	stopping = true;
	(void)pthread_cond_signal(&list_cond);
	(void)pthread_mutex_unlock(&list_lock);
	if (started)
		(void)pthread_join(thread, NULL); /* it was started, and is joined once */
	started = false;
	while (entries) {
		struct entry *l = entries;

		entries = l->next;
		entry_free(l);
	}
}

/* ---- the record ------------------------------------------------------------------------------------------ */

int sampler_add_json(const struct sbx *s, struct json_object *o)
{
	const struct traffic *t = &s->traffic;
	struct json_object *m = t->known ? json_object_new_object() : NULL;
	int r = 0;

	if (!t->known)
		return 0;
	if (!m || json_object_object_add(o, "traffic", m) < 0) {
		json_object_put(m);
		return -ENOMEM;
	}
	r = json_add_int(m, "rx_bytes", (int64_t)t->rx_bytes);
	r = r ? r : json_add_int(m, "tx_bytes", (int64_t)t->tx_bytes);
	r = r ? r : json_add_int(m, "slot", t->slot);
	r = r ? r : json_add_int(m, "slot_rx", (int64_t)t->slot_rx);
	return r ? r : json_add_int(m, "slot_tx", (int64_t)t->slot_tx);
}

void sampler_from_json(struct sbx *s, struct json_object *o)
{
	struct traffic *t = &s->traffic;

	t->known = json_at(o, "traffic") != NULL;
	t->rx_bytes = (uint64_t)json_int_at(o, "traffic/rx_bytes", 0);
	t->tx_bytes = (uint64_t)json_int_at(o, "traffic/tx_bytes", 0);
	t->slot = (uint32_t)json_int_at(o, "traffic/slot", 0);
	t->slot_rx = (uint64_t)json_int_at(o, "traffic/slot_rx", 0);
	t->slot_tx = (uint64_t)json_int_at(o, "traffic/slot_tx", 0);
}
