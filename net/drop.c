/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/drop.c - taking slots down, one by one or all that nobody wants
 *
 * How it works: the namespace is dropped, and then the kernel is waited for to report that the host's link is gone,
 * which it is some 30 ms later. To delete the link would take as long, with the lock over all links held.
 * Only when somebody else holds the namespace (a shell in it, or a copy of /run/netns in a private mount
 * namespace) the link is deleted. The wait is done without our lock, so removals overlap.
 *
 * Ours is a link whose alias names the instance and the serial, a namespace in which such a link is, and what
 * is in our own table. A name alone is no proof.
 */
#include "net/drop.h"

#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/dns.h"
#include "net/egress-netns.h"
#include "net/nl-counter.h"
#include "net/nl.h"
#include "net/space.h"

enum {
	DROP_MS = 2000,   /* a dropped namespace goes within 50 ms, under emulation within 1000 */
	SWEEP_MS = 30000, /* for all slots of a sweep */
};

/* Wait for the host's link to go after its namespace was dropped. */
int drop_wait(int watch_fd, const char *name, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_within(d, DROP_MS);
	struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};
	struct nlr_link link = {.index = 0};
	struct net_side *h = NULL;
	int rc = nlr_watch_gone(watch_fd, name, &soon);

	if (rc == 0)
		return 0;
	/* Somebody holds the namespace, or there is no time to wait: this deletes it before it returns. */
	rc = side_lock(&never, &h, e);
	if (rc < 0)
		return rc;
	rc = nlr_link_get(h->nl, name, &link, e);
	if (rc == 0)
		rc = nlr_link_delete(h->nl, link.index, e);
	side_unlock(h);
	return rc == -ENODEV ? 0 : rc;
}

/* Cut a slot off and drop its namespace. @ret_has_link: there is a link of ours to wait for. */
int drop_begin(struct net_side *h, struct slot *s, bool *ret_has_link, struct err *e)
{
	bool is_known = s->netns_fd >= 0; /* from up() or alive(), which have looked */
	struct nlr_link link = {.index = 0};
	char name[SLOT_NAME_SIZE];
	char alias[ALIAS_SIZE];
	int rc = 0;

	dns_remove(s->serial); /* its sockets would keep the namespace */
	(void)slot_name(h->instance, s->serial, name);
	(void)slot_alias(h->instance, s->serial, alias);
	egress_netns_forget(s->serial); /* its connection holds the namespace */
	rc = nlr_link_get(h->nl, name, &link, e);
	*ret_has_link = rc == 0 && strcmp(link.alias, alias) == 0;
	if (rc < 0 && rc != -ENODEV)
		return rc;
	rc = fault_point("slot-drop", NULL, e);
	if (rc == 0)
		rc = side_expel(h, name, e);
	if (rc == 0)
		rc = fault_point("slot-unname", NULL, e);
	if (rc == 0 && (is_known || space_is_ours(name, alias)))
		rc = space_unmount(name, e);
	if (rc < 0)
		return rc;
	counters_forget(s->serial); /* likewise; without the name none is opened again */
	fd_close(steal_fd(&s->tap_fd));
	fd_close(steal_fd(&s->netns_fd));
	return 0;
}

struct track_ends drop_ends(const struct net_side *h, uint32_t index)
{
	return (struct track_ends){.from = pool_inner(&h->pool, index),
				   .to = pool_guest(&h->pool, index)};
}

int drop_forget(const struct track_ends *ends, size_t count, struct err *e)
{
	struct track *t = NULL;
	int rc = count > 0 ? track_open(&t, e) : 0;

	if (rc == 0 && t)
		rc = track_forget(t, ends, count, e);
	track_close(t);
	if (rc == -ENOTSUP) {
		log_debug("%s, ignoring", e ? e->text : "no list of connections");
		rc = 0;
	}
	return rc;
}

/* A slot on its way down. */
struct leaving {
	char name[SLOT_NAME_SIZE];
	struct track_ends ends;
	bool has_link, has_index;
};

static int leave_all(struct slot *const *s, unsigned count, struct leaving *all,
		     const struct deadline *d, int *ret_rcs, struct err *errs)
{
	struct net_side *h = NULL;
	int rc = side_lock(d, &h, &errs[0]);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < count; i++) {
		(void)slot_name(h->instance, s[i]->serial, all[i].name);
		all[i].has_index = s[i]->index < h->pool.total;
		all[i].ends = drop_ends(h, s[i]->index);
		ret_rcs[i] = drop_begin(h, s[i], &all[i].has_link, &errs[i]);
	}
	side_unlock(h);
	return 0;
}

/* Those that have gone, all at once: to look for one takes as long. */
static void forget_all(const struct leaving *all, unsigned count, int *ret_rcs, struct err *errs)
{
	AUTO_FREE struct track_ends *ends = calloc(count, sizeof(*ends));
	struct err e = {0};
	size_t n = 0;
	int rc = 0;

	for (unsigned i = 0; ends && i < count; i++)
		if (ret_rcs[i] == 0 && all[i].has_index)
			ends[n++] = all[i].ends;
	rc = ends ? drop_forget(ends, n, &e) : err_set(&e, ENOMEM, "no memory");
	for (unsigned i = 0; rc < 0 && i < count; i++) {
		if (ret_rcs[i] < 0)
			continue;
		ret_rcs[i] = rc;
		errs[i] = e;
	}
}

void drop_slots(struct slot *const *s, unsigned count, const struct deadline *d, int *ret_rcs,
		struct err *errs)
{
	AUTO_FREE struct leaving *all = calloc(count, sizeof(*all));
	AUTO_FD watch_fd = -1;
	int rc = all ? nlr_watch_open(&watch_fd, &errs[0]) : err_set(&errs[0], ENOMEM, "no memory");

	if (rc == 0 && all)
		rc = leave_all(s, count, all, d, ret_rcs, errs);
	if (rc < 0 || !all) {
		for (unsigned i = 0; i < count; i++) {
			ret_rcs[i] = rc;
			errs[i] = errs[0];
		}
		return;
	}
	for (unsigned i = 0; i < count; i++)
		if (ret_rcs[i] == 0 && all[i].has_link)
			ret_rcs[i] = drop_wait(watch_fd, all[i].name, d, &errs[i]);
	forget_all(all, count, ret_rcs, errs);
}

/* Serials that bear our name somewhere; each may be in it several times. */
struct found {
	const struct net_side *host;
	uint32_t *serials; /* owned */
	size_t count, room;
	struct track_ends *ends; /* owned; after found_reduce(), of as many as have an address */
	size_t ends_count;
	bool failed;
};

static void found_add(struct found *f, uint32_t serial)
{
	if (f->count == f->room) {
		size_t room = f->room ? f->room * 2 : 64;
		void *serials = reallocarray(f->serials, room, sizeof(serial));

		f->failed = f->failed || !serials;
		if (!serials)
			return;
		f->serials = serials;
		f->room = room;
	}
	f->serials[f->count++] = serial;
}

static void found_link(const struct nlr_link *link, void *arg)
{
	struct found *f = arg;
	char alias[ALIAS_SIZE];
	uint32_t serial = 0;

	/* One that has no alias yet goes by itself, with the namespace that its maker had not named: it is waited for. */
	if (slot_name_parse(f->host->instance, link->name, &serial) &&
	    (link->alias[0] == '\0' ||
	     strcmp(link->alias, slot_alias(f->host->instance, serial, alias)) == 0))
		found_add(f, serial);
}

static void found_space(const char *name, void *arg)
{
	struct found *f = arg;
	char alias[ALIAS_SIZE];
	uint32_t serial = 0;

	if (slot_name_parse(f->host->instance, name, &serial) &&
	    space_is_ours(name, slot_alias(f->host->instance, serial, alias)))
		found_add(f, serial);
}

static void found_element(const char *name, void *arg)
{
	struct found *f = arg;
	uint32_t serial = 0;

	if (slot_name_parse(f->host->instance, name, &serial))
		found_add(f, serial);
}

static int serial_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Each serial once, in order, without those that are wanted. */
static void found_reduce(struct found *f, bool (*wanted)(uint32_t serial, void *arg), void *arg)
{
	size_t kept = 0;

	if (f->count)
		qsort(f->serials, f->count, sizeof(*f->serials), serial_compare);
	for (size_t i = 0; i < f->count; i++) {
		uint32_t serial = f->serials[i];

		if ((kept == 0 || f->serials[kept - 1] != serial) && !wanted(serial, arg))
			f->serials[kept++] = serial;
	}
	f->count = kept;
}

/* The route to a guest is where an address is known by the name of its link. */
static void found_route(const struct nlr_route *r, void *arg)
{
	struct found *f = arg;
	char name[IF_NAMESIZE];
	uint32_t serial = 0;

	if (r->prefix != 32 || !r->gateway || f->ends_count == f->count ||
	    !if_indextoname((unsigned)r->index, name) ||
	    !slot_name_parse(f->host->instance, name, &serial) ||
	    !bsearch(&serial, f->serials, f->count, sizeof(serial), serial_compare))
		return;
	f->ends[f->ends_count++] = (struct track_ends){.from = r->gateway, .to = r->dst};
}

static int found_ends(struct net_side *h, struct found *f, struct err *e)
{
	f->ends = calloc(f->count + 1, sizeof(*f->ends));
	if (!f->ends)
		return err_set(e, ENOMEM, "no memory");
	return f->count > 0 ? nlr_routes(h->nl, found_route, f, e) : 0;
}

static int found_fill(struct net_side *h, struct found *f, struct err *e)
{
	int rc = nlr_links(h->nl, found_link, f, e);

	if (rc == 0)
		rc = space_names(found_space, f, e);
	if (rc == 0)
		rc = side_admitted(h, found_element, f, e);
	if (rc == 0 && f->failed)
		rc = err_set(e, ENOMEM, "no memory for the list of network slots");
	return rc;
}

/* @has_link: as long as the list; which of them have a link that is proved to be ours. */
static int drop_all(struct net_side *h, struct found *f, bool *has_link, struct err *e)
{
	for (size_t i = 0; i < f->count; i++) {
		struct slot s = {.serial = f->serials[i], .netns_fd = -1, .tap_fd = -1};
		int rc = drop_begin(h, &s, &has_link[i], e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Return: how many have gone: what is not proved to be ours may stay; negative errno. */
static int wait_swept(int watch_fd, const struct found *f, const char *instance,
		      const bool *has_link, const struct deadline *d, struct err *e)
{
	char name[SLOT_NAME_SIZE];
	int gone = 0;

	for (size_t i = 0; i < f->count; i++) {
		struct deadline soon = deadline_within(d, DROP_MS);
		int rc = 0;

		(void)slot_name(instance, f->serials[i], name);
		if (has_link[i])
			rc = drop_wait(watch_fd, name, d, e);
		else if (nlr_watch_gone(watch_fd, name, &soon) < 0)
			continue;
		if (rc < 0)
			return rc;
		gone++;
	}
	return gone;
}

int drop_unwanted(bool (*wanted)(uint32_t serial, void *arg), void *arg, struct err *e)
{
	struct deadline d = deadline_in(SWEEP_MS, -1);
	char instance[INSTANCE_LEN + 1];
	struct found f = {.serials = NULL};
	AUTO_FREE bool *has_link = NULL;
	AUTO_FREE struct track_ends *ends = NULL;
	AUTO_FD watch_fd = -1;
	struct net_side *h = NULL;
	int gone = 0, rc = nlr_watch_open(&watch_fd, e);

	if (rc == 0)
		rc = side_lock(&d, &h, e);
	if (rc)
		return rc;
	f.host = h;
	memcpy(instance, h->instance, sizeof(instance));
	rc = found_fill(h, &f, e);
	if (rc == 0) {
		found_reduce(&f, wanted, arg);
		has_link = calloc(f.count + 1, sizeof(*has_link));
		rc = has_link ? found_ends(h, &f, e) : err_set(e, ENOMEM, "no memory");
		ends = f.ends;
	}
	if (rc == 0 && has_link)
		rc = drop_all(h, &f, has_link, e);
	side_unlock(h);
	if (rc == 0 && has_link) {
		gone = wait_swept(watch_fd, &f, instance, has_link, &d, e);
		rc = gone < 0 ? gone : drop_forget(ends, f.ends_count, e);
	}
	free(f.serials);
	return rc < 0 ? rc : gone;
}
