/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots.c - a bit for each network slot */
#include "ops/slots.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static bool taken[SLOTS_MAX];
static uint32_t total, used, next;

void slots_init(uint32_t count, uint32_t first)
{
	total = count < SLOTS_MAX ? count : SLOTS_MAX;
	next = total ? first % total : 0;
}

int slots_take(uint32_t *ret_index, struct err *e)
{
	int r = -ENOSPC;

	pthread_mutex_lock(&slots_lock);
	for (uint32_t tried = 0; tried < total && r < 0; tried++) {
		uint32_t i = (next + tried) % total;

		if (taken[i])
			continue;
		taken[i] = true;
		used++;
		next = i + 1;
		*ret_index = i;
		r = 0;
	}
	pthread_mutex_unlock(&slots_lock);
	return r < 0 ? err_set(e, ENOSPC, "all %u network slots are in use; stop a sandbox", total)
		     : 0;
}

int slots_take_this(uint32_t index)
{
	int r = -EBUSY;

	pthread_mutex_lock(&slots_lock);
	if (index < total && !taken[index]) {
		taken[index] = true;
		used++;
		r = 0;
	}
	pthread_mutex_unlock(&slots_lock);
	return r;
}

void slots_put(uint32_t index)
{
	pthread_mutex_lock(&slots_lock);
	if (index < total && taken[index]) {
		taken[index] = false;
		used--;
	}
	pthread_mutex_unlock(&slots_lock);
}

uint32_t slots_used(void)
{
	uint32_t n;

	pthread_mutex_lock(&slots_lock);
	n = used;
	pthread_mutex_unlock(&slots_lock);
	return n;
}

uint32_t slots_total(void)
{
	return total;
}
