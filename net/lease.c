/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/lease.c - until when a guest may send to which addresses under which names
 *
 * How it works: an array in the order in which they came, and an index of chains through it. What is over is taken out
 * when there is no room left, all at once, and the index made anew. What may be let through is a bucket that fills with time.
 */
#include "net/lease.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	PART = 1000, /* thousandths, so that a millisecond adds a whole number */
};

void leases_done(struct leases *l)
{
	free(l->all);
	free(l->index);
	*l = (struct leases)LEASES_NONE;
}

static size_t place_of(uint64_t name, uint32_t addr)
{
	uint64_t mixed = (name ^ addr) * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(mixed >> 32) % LEASE_NAMES;
}

static struct lease *find(const struct leases *l, uint64_t name, uint32_t addr)
{
	size_t at = l->index ? l->index[place_of(name, addr)] : 0;

	while (at && (l->all[at - 1].name != name || l->all[at - 1].addr != addr))
		at = l->all[at - 1].next;
	return at ? &l->all[at - 1] : NULL;
}

int64_t lease_until(const struct leases *l, uint64_t name, uint32_t addr, int64_t now_ms)
{
	const struct lease *lease = find(l, name, addr);

	return lease && lease->until_ms > now_ms ? lease->until_ms : 0;
}

static void add(struct leases *l, const struct lease *lease)
{
	uint16_t *head = &l->index[place_of(lease->name, lease->addr)];

	l->all[l->count] = *lease;
	l->all[l->count].next = *head;
	*head = (uint16_t)++l->count;
}

static bool has_name(const uint64_t *names, size_t count, uint64_t name)
{
	size_t from = 0;

	while (count > 0) {
		size_t half = count / 2;

		if (names[from + half] == name)
			return true;
		if (names[from + half] < name) {
			from += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return false;
}

/* Those stay that end after @now_ms, and have one of these names; @names: NULL: whichever. */
static void sift(struct leases *l, int64_t now_ms, const uint64_t *names, size_t name_count)
{
	size_t count = l->count;

	if (!l->index)
		return;
	memset(l->index, 0, LEASE_NAMES * sizeof(*l->index));
	l->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct lease lease = l->all[i];

		if (lease.until_ms > now_ms && (!names || has_name(names, name_count, lease.name)))
			add(l, &lease);
	}
}

void leases_reduce(struct leases *l, const uint64_t *names, size_t count)
{
	sift(l, INT64_MIN, names, count);
}

static int make_room(struct leases *l, size_t fresh, struct err *e)
{
	size_t room = l->count + fresh + LEASE_GROWTH;
	void *more;

	if (!l->index)
		l->index = calloc(LEASE_NAMES, sizeof(*l->index));
	if (!l->index)
		return err_set(e, ENOMEM, "no memory for a guest's addresses");
	if (l->count + fresh <= l->room)
		return 0;
	more = reallocarray(l->all, room, sizeof(*l->all));
	if (!more)
		return err_set(e, ENOMEM, "no memory for a guest's addresses");
	l->all = more;
	l->room = room;
	return 0;
}

static int spend(struct leases *l, size_t count, int64_t now_ms, struct err *e)
{
	int64_t back = (now_ms - l->spent_ms) * LEASE_PER_SEC;
	int64_t spent = back < l->spent ? l->spent - back : 0;

	if (count > LEASE_BURST || spent + (int64_t)count * PART > (int64_t)LEASE_BURST * PART)
		return err_set(
			e, EBUSY,
			"the guest asks for addresses faster than %d a second may be let through",
			LEASE_PER_SEC);
	l->spent = spent + (int64_t)count * PART;
	l->spent_ms = now_ms;
	return 0;
}

int leases_take(struct leases *l, size_t count, size_t fresh, int64_t now_ms, struct err *e)
{
	int rc;

	if (l->count + fresh > LEASES_MAX)
		sift(l, now_ms, NULL, 0);
	if (l->count + fresh > LEASES_MAX)
		return err_set(e, ENOSPC, "names stand for %d addresses, more are not let through",
			       LEASES_MAX);
	rc = make_room(l, fresh, e);
	return rc < 0 ? rc : spend(l, count, now_ms, e);
}

void lease_set(struct leases *l, uint64_t name, uint32_t addr, int64_t until_ms)
{
	struct lease *lease = find(l, name, addr);

	if (lease)
		lease->until_ms = until_ms;
	else if (l->count < l->room)
		add(l, &(struct lease){.name = name, .addr = addr, .until_ms = until_ms});
}
