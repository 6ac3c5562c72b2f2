/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots.c - which indexes are taken, and the serial of the slot that has each */
#include "ops/slots.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "ops/host.h"
#include "ops/slots-private.h"

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place {
	bool is_taken;
	uint32_t serial;
} places[SLOTS_MAX];
static uint32_t total, taken, next;

void slots_init(uint32_t count, uint32_t first)
{
	total = count < SLOTS_MAX ? count : SLOTS_MAX;
	next = total ? first % total : 0;
}

int slots_take(uint32_t serial, uint32_t *ret_index, struct err *e)
{
	int r = -ENOSPC;

	pthread_mutex_lock(&slots_lock);
	for (uint32_t tried = 0; tried < total && r < 0; tried++) {
		uint32_t i = (next + tried) % total;

		if (places[i].is_taken)
			continue;
		places[i] = (struct place){true, serial};
		taken++;
		next = i + 1;
		*ret_index = i;
		r = 0;
	}
	pthread_mutex_unlock(&slots_lock);
	return r < 0 ? err_set(e, ENOSPC, "all %u network slots are in use; stop a sandbox", total)
		     : 0;
}

int slots_take_this(uint32_t index, uint32_t serial)
{
	int r = -EBUSY;

	pthread_mutex_lock(&slots_lock);
	if (index < total && !places[index].is_taken) {
		places[index] = (struct place){true, serial};
		taken++;
		r = 0;
	} else if (index < total && places[index].serial == serial) {
		r = -EALREADY;
	}
	pthread_mutex_unlock(&slots_lock);
	return r;
}

void slots_put(uint32_t index)
{
	pthread_mutex_lock(&slots_lock);
	if (index < total && places[index].is_taken) {
		places[index].is_taken = false;
		taken--;
	}
	pthread_mutex_unlock(&slots_lock);
}

uint32_t slots_taken(uint32_t *ret_total)
{
	uint32_t n;

	*ret_total = total;
	pthread_mutex_lock(&slots_lock);
	n = taken;
	pthread_mutex_unlock(&slots_lock);
	return n;
}

static bool is_taken_by(uint32_t serial)
{
	bool known = false;

	pthread_mutex_lock(&slots_lock);
	for (uint32_t i = 0; i < total && !known; i++)
		known = places[i].is_taken && places[i].serial == serial;
	pthread_mutex_unlock(&slots_lock);
	return known;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The serials of all of them, in order, to be freed. Return: their number; -ENOMEM. */
static int all_serials(uint32_t **ret)
{
	uint32_t *serials = calloc(total + 1, sizeof(*serials));
	uint32_t n = 0;

	if (!serials)
		return -ENOMEM;
	pthread_mutex_lock(&slots_lock);
	for (uint32_t i = 0; i < total; i++)
		if (places[i].is_taken)
			serials[n++] = places[i].serial;
	pthread_mutex_unlock(&slots_lock);
	qsort(serials, n, sizeof(*serials), compare);
	*ret = serials;
	return (int)n;
}

struct known {
	uint32_t *serials; /* owned; in order */
	int count;
};

/* One that was known before the kernel was asked may be on its way down; one of later is being made. */
static bool is_known(uint32_t serial, void *arg)
{
	const struct known *k = arg;

	return bsearch(&serial, k->serials, (size_t)k->count, sizeof(serial), compare) ||
	       is_taken_by(serial);
}

int slots_sweep(struct err *e)
{
	struct known k = {.serials = NULL};
	int r;

	if (!host.net)
		return 0;
	k.count = all_serials(&k.serials);
	if (k.count < 0)
		return err_set(e, ENOMEM, "no memory for the list of network slots");
	r = host.net->sweep(host.instance, is_known, &k, e);
	free(k.serials);
	return r;
}
