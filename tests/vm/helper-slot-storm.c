/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/helper-slot-storm.c - netns slots up and down from many threads at once; for cases/slot-netns.sh and slot-pool.sh
 *
 *   helper-slot-storm INSTANCE              each thread has indexes of its own and uses them again at once
 *   helper-slot-storm INSTANCE COUNT        so many by the daemon's table of slots, some of them ready ones, all up at once
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/driver.h"
#include "ops/host.h"
#include "ops/serial.h"
#include "ops/settings.h"
#include "ops/slots.h"

enum {
	THREADS = 8,
	ROUNDS = 10,
	LIMIT_MS = 60000, /* for one call, under emulation */
};

struct worker {
	pthread_t thread;
	uint32_t number;
	uint32_t share; /* of COUNT; 0: round trips */
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

/* Its share of all, up at once, then given back. */
static void *hold(void *arg)
{
	struct worker *w = arg;
	struct slot *s = calloc(w->share, sizeof(*s));
	uint32_t n = 0;

	while (s && n < w->share && !w->has_failed) {
		struct deadline d = deadline_in(LIMIT_MS, -1);

		w->has_failed = slots_get(&d, &s[n], &w->err) < 0;
		n += !w->has_failed;
	}
	while (n > 0)
		slots_release(&s[--n]);
	free(s);
	return NULL;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint32_t i = 0; i < ROUNDS && !w->has_failed; i++)
		w->has_failed = !round_trip(w, i);
	return NULL;
}

static int keep(const char *instance, uint32_t total, struct err *e)
{
	host.net = &slot_netns;
	(void)snprintf(host.instance, sizeof(host.instance), "%s", instance);
	(void)snprintf(host.state_dir, sizeof(host.state_dir), ".");
	host.state_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	settings.slots_ready = THREADS;
	slots_init(total, 0);
	return serial_init(e) < 0 ? -1 : slots_start(e);
}

static int run(struct worker *workers, uint32_t count)
{
	int status = 0;

	for (uint32_t i = 0; i < THREADS; i++) {
		workers[i].number = i;
		workers[i].share = count / THREADS;
		if (pthread_create(&workers[i].thread, NULL, count ? hold : work, &workers[i]))
			return 1;
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		(void)pthread_join(workers[i].thread, NULL); /* ours, joined once */
		if (workers[i].has_failed) {
			(void)fprintf(stderr, "thread %" PRIu32 ": %s\n", i, workers[i].err.text);
			status = 1;
		}
	}
	return status;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS];
	uint32_t total = 0, count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	struct err e = {.code = 0};
	int64_t start = 0;
	int status;

	log_open(false);
	if (argc < 2 || slot_netns.init(argv[1], "", &total, &e) < 0 ||
	    (count > 0 && keep(argv[1], total, &e) < 0)) {
		(void)fprintf(stderr, "init: %s\n", e.text);
		return 1;
	}
	start = clock_ms();
	status = run(workers, count);
	if (count > 0) {
		slots_stop();
		(void)close(host.state_fd);
	}
	(void)printf("%.1f\n", (double)(clock_ms() - start) / (count ? count : THREADS * ROUNDS));
	slot_netns.done();
	return status;
}
