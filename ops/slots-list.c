/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots-list.c - lists of slots that nobody has, each with a time before which nothing happens to it */
#include "ops/slots-private.h"

void slot_list_add(struct slot_list *l, struct slot_kept *k)
{
	struct slot_kept **at = &l->first;

	while (*at)
		at = &(*at)->next;
	k->next = NULL;
	*at = k;
	l->count++;
}

struct slot_kept *slot_list_take(struct slot_list *l, int64_t now_ms)
{
	struct slot_kept **at = &l->first, *k;

	while (*at && (*at)->at_ms > now_ms)
		at = &(*at)->next;
	k = *at;
	if (k) {
		*at = k->next;
		l->count--;
	}
	return k;
}

uint32_t slot_list_due(const struct slot_list *l, int64_t now_ms)
{
	uint32_t n = 0;

	for (const struct slot_kept *k = l->first; k; k = k->next)
		n += k->at_ms <= now_ms;
	return n;
}

int64_t slot_list_next_ms(const struct slot_list *l)
{
	int64_t ms = INT64_MAX;

	for (const struct slot_kept *k = l->first; k; k = k->next)
		ms = k->at_ms < ms ? k->at_ms : ms;
	return ms;
}
