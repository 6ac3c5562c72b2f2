/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots-keep.c - ready slots, released ones, dirty ones: what the network thread does
 *
 * How it works: a slot that nobody has is in one of three lists, or in the thread's hands. Released ones come first: somebody may
 * wait for their indexes. They go down side by side, since most of the time of each is the kernel's. Ready ones are made when
 * there is nothing else to do.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/settings.h"
#include "ops/slots-private.h"

enum {
	DOWN_MAX = 64,    /* at once: for that long whoever changes a slot may wait */
	WORK_MS = 15000,  /* for one slot to be made or made new, or some to go */
	STOP_MS = 20000,  /* for all to go at the end */
	FREED_MS = 15000, /* for those on their way down, when no other is free */
	FILL_RETRY =
		1000, /* ms before making ready ones is tried again; then twice as long, as with teardowns */
};

static pthread_mutex_t keep_lock = PTHREAD_MUTEX_INITIALIZER; /* memory only; all of these */
static pthread_cond_t keep_cond = PTHREAD_COND_INITIALIZER;   /* there is something to do */
static pthread_t keeper;
static bool is_running, is_stopping;
static struct slot_list ready, released, dirty;
static uint32_t in_hand; /* that the thread makes new or takes down; in_hand of each says so */
static uint64_t freed;   /* counts what the thread is done with */
static unsigned waiters; /* for a change of freed */
static int64_t fill_ms;  /* no ready one is made before */
static int64_t fill_pause_ms = FILL_RETRY;
static int freed_fd = -1; /* eventfd, one for each waiter */
static int stop_fd = -1;  /* eventfd, readable at the end: what is being made is not wanted */

void slots_count(struct slots_counts *ret)
{
	uint32_t idle;

	pthread_mutex_lock(&keep_lock);
	ret->ready = slot_list_due(&ready, clock_ms());
	idle = ready.count + released.count + dirty.count + in_hand;
	ret->dirty = idle - ret->ready;
	pthread_mutex_unlock(&keep_lock);
	ret->used = slots_taken(&ret->total);
	ret->used -= idle < ret->used ? idle : ret->used;
}

void slots_none(struct slot *s)
{
	*s = (struct slot){.index = UINT32_MAX, .netns_fd = -1, .tap_fd = -1};
}

/* ---- what the thread does --------------------------------------------------------------------------------- */

static uint32_t wanted_ready(void)
{
	return host.net->is_user
		       ? 0
		       : (uint32_t)settings.slots_ready; /* there is nothing to make ahead */
}

static void done_with(struct slot_kept *k)
{
	slots_put(k->slot.index);
	pthread_mutex_lock(&keep_lock);
	in_hand -= k->in_hand;
	pthread_mutex_unlock(&keep_lock);
	free(k);
}

static void keep(struct slot_list *l, struct slot_kept *k)
{
	pthread_mutex_lock(&keep_lock);
	in_hand -= k->in_hand;
	k->in_hand = false;
	slot_list_add(l, k);
	pthread_mutex_unlock(&keep_lock);
}

/* It stays, and so does its index. */
static void keep_dirty(struct slot_kept *k, const struct err *e)
{
	int64_t ms = SLOT_RETRY_MS;

	for (unsigned i = 0; i < k->tries && ms < SLOT_RETRY_MAX_MS; i++)
		ms *= 2;
	if (k->tries++ == 0)
		log_warning("network slot %" PRIu32 " (%s) stays for now: %s", k->slot.index,
			    k->slot.link, e->text);
	k->at_ms = clock_ms() + (ms < SLOT_RETRY_MAX_MS ? ms : SLOT_RETRY_MAX_MS);
	keep(&dirty, k);
}

static void down_some(struct slot_kept *const *k, unsigned n, const struct deadline *d)
{
	struct slot *slots[DOWN_MAX];
	struct err errs[DOWN_MAX];
	int rcs[DOWN_MAX] = {0};

	for (unsigned i = 0; i < n; i++) {
		slots[i] = &k[i]->slot;
		errs[i] = (struct err){0};
		if (!host.net->down_all)
			rcs[i] = host.net->down(slots[i], d, &errs[i]);
	}
	if (n > 0 && host.net->down_all)
		host.net->down_all(slots, n, d, rcs, errs);
	for (unsigned i = 0; i < n; i++) {
		if (rcs[i] < 0)
			keep_dirty(k[i], &errs[i]);
		else
			done_with(k[i]);
	}
}

/* Is it ready for another? */
static bool renew(struct slot_kept *k, const struct deadline *d)
{
	struct err e = {0};
	int r;

	if (k->tries > 0 || k->slot.netns_fd < 0 || !host.net->recycle)
		return false;
	r = host.net->recycle(&k->slot, d, &e);
	if (r < 0)
		log_info("network slot %" PRIu32 " is not used again: %s", k->slot.index, e.text);
	return r == 0;
}

static void add_ready(struct slot_kept *k, int64_t rest_ms)
{
	k->tries = 0;
	k->at_ms = clock_ms() + rest_ms;
	keep(&ready, k);
}

/* Released or dirty ones whose time has come, with the lock. Return: their number. */
static unsigned take_some(struct slot_kept **ret, int64_t now_ms)
{
	unsigned n = 0;

	while (n < DOWN_MAX && (ret[n] = slot_list_take(&released, now_ms)))
		n++;
	while (n < DOWN_MAX && (ret[n] = slot_list_take(&dirty, now_ms)))
		n++;
	for (unsigned i = 0; i < n; i++)
		ret[i]->in_hand = true;
	in_hand = n;
	return n;
}

/* @wanted: so many may become ready ones. The others go first: somebody may wait for an index. */
static void work_on(struct slot_kept **k, unsigned n, uint32_t wanted, const struct deadline *d)
{
	unsigned kept = wanted < n ? wanted : n, left = 0;
	struct deadline soon = deadline_within(d, WORK_MS);

	down_some(k + kept, n - kept, &soon);
	for (unsigned i = 0; i < kept; i++) {
		soon = deadline_within(d, WORK_MS);
		if (renew(k[i], &soon))
			add_ready(k[i], SLOT_REST_MS);
		else
			k[left++] = k[i];
	}
	soon = deadline_within(d, WORK_MS);
	down_some(k, left, &soon);
}

static void tell_freed(void)
{
	const uint64_t n = waiters;

	freed++;
	fill_ms = 0; /* there may be room for another ready one */
	if (n > 0 && write(freed_fd, &n, sizeof(n)) < 0)
		log_debug("eventfd: it is full, so they will wake");
}

static void fill_one(void)
{
	const struct deadline d = deadline_in(WORK_MS, stop_fd);
	struct slot_kept *k = calloc(1, sizeof(*k));
	struct err e = {0};
	int r = -ENOMEM;

	if (k)
		r = slots_make(&d, &k->slot, &e);
	else
		(void)err_set(&e, ENOMEM, "no memory");
	if (k && r == 0) {
		fill_pause_ms = FILL_RETRY;
		add_ready(k, 0);
		return;
	}
	free(k);
	if (r != -ENOSPC && r != -ECANCELED && fill_pause_ms == FILL_RETRY)
		log_warning("no network slot can be made ahead: %s; it is tried again", e.text);
	fill_ms = clock_ms() + fill_pause_ms;
	if (fill_pause_ms < SLOT_RETRY_MAX_MS)
		fill_pause_ms *= 2;
}

static void wait_until(int64_t ms)
{
	struct timespec at = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (ms == INT64_MAX)
		pthread_cond_wait(&keep_cond, &keep_lock);
	else
		pthread_cond_clockwait(&keep_cond, &keep_lock, CLOCK_MONOTONIC, &at);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* With the lock; @d: for what there is. Return: was there anything? */
static bool work(const struct deadline *d, int64_t now_ms)
{
	struct slot_kept *some[DOWN_MAX];
	unsigned n = take_some(some, now_ms);
	uint32_t wanted = is_stopping ? 0 : wanted_ready();

	if (n == 0)
		return false;
	wanted -= ready.count < wanted ? ready.count : wanted;
	pthread_mutex_unlock(&keep_lock);
	work_on(some, n, wanted, d);
	pthread_mutex_lock(&keep_lock);
	tell_freed();
	return true;
}

/* All that is nobody's, once more or for the first time, with the lock. */
static void work_last(void)
{
	const struct deadline d = deadline_in(STOP_MS, -1);
	struct slot_kept *k;

	while ((k = slot_list_take(&ready, INT64_MAX)))
		slot_list_add(&released, k);
	while ((k = slot_list_take(&dirty, INT64_MAX)))
		slot_list_add(&released, k);
	for (k = released.first; k; k = k->next)
		k->at_ms = 0;
	while (deadline_left_ms(&d) > 0 && released.count > 0)
		(void)work(&d, 0); /* what will not go is among the dirty, with a time to come */
}

static void *keeper_main(void *arg)
{
	const struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};

	(void)arg;
	pthread_mutex_lock(&keep_lock);
	while (!is_stopping) {
		int64_t now_ms = clock_ms();
		bool lacks = ready.count < wanted_ready();

		if (work(&never, now_ms))
			continue;
		if (lacks && fill_ms <= now_ms) {
			pthread_mutex_unlock(&keep_lock);
			fill_one();
			pthread_mutex_lock(&keep_lock);
			continue;
		}
		wait_until(earlier(slot_list_next_ms(&dirty), lacks ? fill_ms : INT64_MAX));
	}
	work_last();
	pthread_mutex_unlock(&keep_lock);
	return NULL;
}

/* ---- start and end ---------------------------------------------------------------------------------------- */

int slots_start(struct err *e)
{
	int r;

	if (!host.net)
		return 0;
	is_stopping = false;
	fill_ms = 0;
	fill_pause_ms = FILL_RETRY;
	freed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (freed_fd < 0 || stop_fd < 0)
		return err_sys(e, errno, "cannot make an eventfd");
	r = pthread_create(&keeper, NULL, keeper_main, NULL);
	if (r)
		return err_sys(e, r, "cannot start the network thread");
	is_running = true;
	return 0;
}

/* What the next start sweeps. */
static void give_up(struct slot_list *l)
{
	struct slot_kept *k;

	while ((k = slot_list_take(l, INT64_MAX))) {
		log_warning("network slot %" PRIu32
			    " (%s) is still there; the next start removes it",
			    k->slot.index, k->slot.link);
		fd_close(k->slot.tap_fd);
		fd_close(k->slot.netns_fd);
		done_with(k);
	}
}

void slots_stop(void)
{
	const uint64_t one = 1;

	if (is_running) {
		pthread_mutex_lock(&keep_lock);
		is_stopping = true;
		if (write(stop_fd, &one, sizeof(one)) < 0)
			log_debug("eventfd: what is being made is made first");
		pthread_cond_signal(&keep_cond);
		pthread_mutex_unlock(&keep_lock);
		(void)pthread_join(keeper, NULL); /* ours, joined once */
		is_running = false;
	}
	give_up(&released);
	give_up(&dirty);
	give_up(&ready);
	fd_close(steal_fd(&freed_fd));
	fd_close(steal_fd(&stop_fd));
}

void slots_heed(void)
{
	struct slot_kept *k;

	pthread_mutex_lock(&keep_lock);
	while (is_running && ready.count > wanted_ready() &&
	       (k = slot_list_take(&ready, INT64_MAX))) {
		k->at_ms = 0;
		slot_list_add(&released, k);
	}
	fill_ms = 0;
	pthread_cond_signal(&keep_cond);
	pthread_mutex_unlock(&keep_lock);
}

/* ---- for everybody ---------------------------------------------------------------------------------------- */

static bool take_ready(int64_t now_ms, struct slot *ret)
{
	struct slot_kept *k;

	pthread_mutex_lock(&keep_lock);
	k = slot_list_take(&ready, now_ms);
	if (k)
		pthread_cond_signal(&keep_cond); /* for another one */
	pthread_mutex_unlock(&keep_lock);
	if (!k)
		return false;
	*ret = k->slot;
	free(k);
	return true;
}

static uint64_t freed_now(void)
{
	uint64_t n;

	pthread_mutex_lock(&keep_lock);
	n = freed;
	pthread_mutex_unlock(&keep_lock);
	return n;
}

/* Wait until more than @before have been freed. Return: 0 look again; -ENOSPC none is on its way; -ECANCELED. */
static int wait_freed(uint64_t before, const struct deadline *d)
{
	struct pollfd fd = {.events = POLLIN};
	uint64_t one;
	int r = 0;

	pthread_mutex_lock(&keep_lock);
	if (freed == before && (!is_running || released.count + in_hand == 0))
		r = -ENOSPC;
	if (freed != before || r < 0) {
		pthread_mutex_unlock(&keep_lock);
		return r;
	}
	waiters++;
	fd.fd = freed_fd;
	pthread_mutex_unlock(&keep_lock);
	r = deadline_poll(d, &fd, 1);
	if (r > 0 && read(fd.fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: another has read it");
	pthread_mutex_lock(&keep_lock);
	waiters--;
	pthread_mutex_unlock(&keep_lock);
	return r > 0 ? 0 : r == -ECANCELED ? r : -ENOSPC;
}

int slots_get(const struct deadline *d, struct slot *ret, struct err *e)
{
	const struct deadline soon = deadline_within(d, FREED_MS);
	int r;

	for (;;) {
		uint64_t before = freed_now();

		if (take_ready(clock_ms(), ret))
			return 0;
		r = slots_make(d, ret, e);
		if (r != -ENOSPC)
			return r;
		if (take_ready(INT64_MAX, ret)) /* better than none, if it has not rested */
			return 0;
		r = wait_freed(before, &soon);
		if (r == -ECANCELED)
			return err_set(e, ECANCELED, "cancelled while network slots went down");
		if (r < 0)
			return r;
	}
}

void slots_release(struct slot *s)
{
	const struct deadline d = deadline_in(WORK_MS, -1);
	struct slot_kept *k = s->index != UINT32_MAX ? calloc(1, sizeof(*k)) : NULL;

	if (s->index != UINT32_MAX && !k)
		log_error("no memory to take down network slot %" PRIu32
			  "; the next start removes it",
			  s->index);
	if (k) {
		k->slot = *s;
		pthread_mutex_lock(&keep_lock);
		if (is_running) {
			slot_list_add(&released, k);
			pthread_cond_signal(&keep_cond);
			k = NULL;
		}
		pthread_mutex_unlock(&keep_lock);
	}
	if (k) /* only before the start, or in tests */
		down_some(&k, 1, &d);
	slots_none(s);
}

void slots_retry(void)
{
	pthread_mutex_lock(&keep_lock);
	for (struct slot_kept *k = dirty.first; k; k = k->next)
		k->at_ms = 0;
	pthread_cond_signal(&keep_cond);
	pthread_mutex_unlock(&keep_lock);
}
