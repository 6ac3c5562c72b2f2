/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/helper-slot-storm.c - netns slots up and down from many threads at once; for cases/slot-netns.sh
 *
 *   helper-slot-storm INSTANCE
 *
 * Each thread has indexes of its own and uses them again at once, as the pool of slots would.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/driver.h"

enum {
	THREADS = 8,
	ROUNDS = 10,
	LIMIT_MS = 60000, /* for one call, under emulation */
};

struct worker {
	pthread_t thread;
	uint32_t number;
	bool has_failed;
	struct err err;
};

static bool round_trip(struct worker *w, uint32_t round)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	uint32_t serial = 1 + w->number * 1000 + round;
	struct slot s;

	if (slot_netns.up(w->number, serial, &d, &s, &w->err) < 0)
		return false;
	d = deadline_in(LIMIT_MS, -1);
	return slot_netns.down(&s, &d, &w->err) == 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint32_t i = 0; i < ROUNDS && !w->has_failed; i++)
		w->has_failed = !round_trip(w, i);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS];
	struct err e = {.code = 0};
	int64_t start = 0;
	uint32_t total = 0;
	int status = 0;

	log_open(false);
	if (argc != 2 || slot_netns.init(argv[1], "", &total, &e) < 0) {
		(void)fprintf(stderr, "init: %s\n", e.text);
		return 1;
	}
	start = clock_ms();
	for (uint32_t i = 0; i < THREADS; i++) {
		workers[i].number = i;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		(void)pthread_join(workers[i].thread, NULL); /* ours, joined once */
		if (workers[i].has_failed) {
			(void)fprintf(stderr, "thread %" PRIu32 ": %s\n", i, workers[i].err.text);
			status = 1;
		}
	}
	(void)printf("%.1f\n", (double)(clock_ms() - start) / (THREADS * ROUNDS));
	slot_netns.done();
	return status;
}
