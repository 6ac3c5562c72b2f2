/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/room.c - the thread that looks at the disks of running sandboxes, and keeps room ahead of them
 *
 * How it works: each sandbox with a VM has an entry that holds all that a look takes, so that none needs the turn. The thread
 * goes over them four times a second: what has the VMM said, how full is the store, is there room ahead? Trouble is put on
 * the sandbox's lane (disk-full.c), where it can be stopped or let go on; the thread itself only does the one thing that
 * cannot wait, stopping the vCPUs when the reserve is reached.
 * While a sandbox starts or stops its lane is taken, but nobody else stops its vCPUs either: then the thread lets it go on.
 *
 * Locks: list_lock guards the list and the references. An entry's lock is held over a look and may be held for as long as
 * grow() takes; it is taken with no other lock held, and the locks of ops/sbx.h are taken inside it. room_unwatch() takes
 * it to wait until no look is under way.
 */
#include "ops/room.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/data.h"
#include "ops/disk-full.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/room-private.h"

enum {
	ROOM_TICK_MS = 250,
	GROW_AGAIN_MS =
		1000, /* asked again though nothing has been written: the host may have room now */
	GROW_MS = 10000, /* for a store to be enlarged */
	VMM_MS = 1000,   /* for a VMM to answer the thread, which others wait for */
	RETRY_MS = 5000, /* let go on again within this: the same trouble still */
	LEVEL_AGAIN = 5, /* percent that it has to fall before it is told again */
};

/* Percent of what the store can grow to; told when passed. */
static const unsigned levels[] = {80, 95};
enum { LEVELS = sizeof(levels) / sizeof(levels[0]) };

struct look {
	struct sbx *s; /* a reference */
	const struct volume_driver *store;
	struct vm *vm;         /* borrowed: room_unwatch() comes before its close */
	struct data_spec data; /* as it was attached, whatever the settings say by now */
	char *base;            /* the text in data; owned */
	struct look *next;     /* [list] */
	unsigned refs;         /* [list] */

	pthread_mutex_t lock;
	bool gone;          /* not to be looked at any more */
	bool queued;        /* the lane has a job about it */
	bool complained;    /* that it cannot be let go on while it starts or stops */
	unsigned said;      /* a set of vm_said, until the job takes it */
	unsigned level;     /* how many of levels[] have been told */
	unsigned tries;     /* see struct room_news */
	int64_t let_on_ms;  /* when the last of them was */
	uint64_t grew_used; /* used_bytes when grow() was last asked */
	int64_t grew_ms;
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct look *looks; /* all that are watched; [list] */
static size_t look_count;  /* [list] */

static int stop_fd = -1;
static pthread_t room_thread;
static bool low_told; /* the thread's own: the event was sent */

/* ---- entries --------------------------------------------------------------------------------------------- */

static void look_free(struct look *l)
{
	data_spec_done(&l->data);
	(void)pthread_mutex_destroy(&l->lock); /* nobody has it any more */
	free(l->base);
	sbx_put(l->s);
	free(l);
}

static void look_put(struct look *l)
{
	bool last;

	pthread_mutex_lock(&list_lock);
	last = --l->refs == 0;
	pthread_mutex_unlock(&list_lock);
	if (last)
		look_free(l);
}

/* Return: a sandbox's entry with its lock held, for look_done(); NULL. */
static struct look *look_begin(const struct sbx *s)
{
	struct look *l;

	pthread_mutex_lock(&list_lock);
	for (l = looks; l && l->s != s; l = l->next)
		;
	if (l)
		l->refs++;
	pthread_mutex_unlock(&list_lock);
	if (l)
		pthread_mutex_lock(&l->lock);
	return l;
}

static void look_done(struct look *l)
{
	pthread_mutex_unlock(&l->lock);
	look_put(l);
}

static struct look *look_new(struct sbx *s)
{
	struct look *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->refs = 1;
	l->s = sbx_get(s);
	l->vm = s->vm;
	l->store = sbx_store(s);
	(void)pthread_mutex_init(&l->lock, NULL); /* a plain mutex: cannot fail */
	data_spec(s, &l->data);
	l->base = l->data.volume.base ? strdup(l->data.volume.base) : NULL;
	l->data.volume.base = l->base;
	if (l->data.volume.dir_fd >= 0 && l->base)
		return l;
	look_free(l);
	return NULL;
}

void room_watch(struct sbx *s)
{
	struct look *l = look_new(s);

	if (!l) {
		log_warning("cannot watch its disk, ignoring: it may run out of room");
		return;
	}
	pthread_mutex_lock(&list_lock);
	l->next = looks;
	looks = l;
	look_count++;
	pthread_mutex_unlock(&list_lock);
}

void room_unwatch(const struct sbx *s)
{
	struct look *l = NULL, **at;

	pthread_mutex_lock(&list_lock);
	for (at = &looks; *at && (*at)->s != s; at = &(*at)->next)
		;
	l = *at;
	if (l) {
		*at = l->next;
		look_count--;
	}
	pthread_mutex_unlock(&list_lock);
	if (!l)
		return;
	pthread_mutex_lock(&l->lock); /* until a look that is under way is over */
	l->gone = true;
	pthread_mutex_unlock(&l->lock);
	look_put(l);
}

/* All entries, a reference each. Return: their number; 0 also without memory: then the next time. */
static size_t looks_take(struct look ***ret)
{
	size_t n = 0;

	pthread_mutex_lock(&list_lock);
	*ret = look_count ? calloc(look_count, sizeof(struct look *)) : NULL;
	for (struct look *l = *ret ? looks : NULL; l; l = l->next) {
		l->refs++;
		(*ret)[n++] = l;
	}
	pthread_mutex_unlock(&list_lock);
	return n;
}

/* ---- a look; its lock is held ------------------------------------------------------------------------------ */

static void level_tell(struct look *l, unsigned level, const struct volume_usage *u)
{
	char name[sizeof(l->s->name)];

	sbx_name(l->s, name);
	event_add(l->s->serial, name, "disk",
		  ",\"level\":%u,\"used\":%" PRIu64 ",\"total\":%" PRIu64, level, u->used_bytes,
		  u->total_bytes);
}

static void usage_note(struct look *l, const struct volume_usage *u)
{
	uint64_t percent = u->total_bytes ? u->used_bytes * 100 / u->total_bytes : 0;

	pthread_mutex_lock(&l->s->lock);
	l->s->cow_used_bytes = u->used_bytes;
	l->s->cow_total_bytes = u->total_bytes;
	pthread_mutex_unlock(&l->s->lock);
	while (l->level > 0 && percent + LEVEL_AGAIN < levels[l->level - 1])
		l->level--;
	for (; l->level < LEVELS && percent >= levels[l->level]; l->level++)
		level_tell(l, levels[l->level], u);
}

static int grow(struct look *l, const struct deadline *d, struct err *e)
{
	int r = room_check(0, e);

	return r < 0 ? r : l->store->grow(&l->data.volume, room_reserve_bytes(), d, e);
}

/* Is there room ahead? Asked when it has been written to, and now and then. */
static bool has_room_ahead(struct look *l, const struct volume_usage *u)
{
	struct deadline d = deadline_in(GROW_MS, -1);
	struct err e = {0};
	int r;

	if (u->used_bytes == l->grew_used && clock_ms() - l->grew_ms < GROW_AGAIN_MS)
		return true;
	r = grow(l, &d, &e);
	l->grew_used = u->used_bytes;
	l->grew_ms = clock_ms();
	if (r < 0)
		log_debug("serial %" PRIu32 ": no room ahead of its guest: %s", l->s->serial,
			  e.text);
	return r == 0;
}

/* It starts or stops: whoever has the turn waits for its guest. */
static void let_on(struct look *l)
{
	struct deadline d = deadline_in(GROW_MS, -1);
	struct err e = {0};
	bool stands = false;
	int r = vm_driver_of(l->vm)->disk_stopped(l->vm, &d, &stands, &e);

	if (r == 0 && !stands)
		return;
	if (r == 0)
		r = grow(l, &d, &e);
	if (r == 0)
		r = vm_driver_of(l->vm)->thaw(l->vm, &d, &e);
	if (r < 0 && !l->complained)
		log_warning("serial %" PRIu32 ": its disk lets it stand: %s", l->s->serial, e.text);
	l->complained = r < 0;
}

static void trouble(struct look *l, enum sbx_state state)
{
	const unsigned let_on_in =
		IN(SBX_STARTING) | IN(SBX_STOPPING) | IN(SBX_PAUSING) | IN(SBX_RESUMING);
	struct err e = {0};

	if (let_on_in & IN(state)) {
		l->said = 0;
		let_on(l);
	} else if (state == SBX_RUNNING && !l->queued) {
		l->queued = disk_full_later(l->s, &e) == 0;
		if (!l->queued)
			log_warning("serial %" PRIu32 ": %s; trying again", l->s->serial, e.text);
	}
}

static void look_at(struct look *l, bool low)
{
	enum sbx_state state = sbx_state(l->s);
	struct volume_usage u = {0};

	l->said |= vm_driver_of(l->vm)->said(l->vm);
	if (l->store->usage(&l->data.volume, &u) == 0)
		usage_note(l, &u);
	if (l->said || low || u.health != VOLUME_WELL ||
	    (state != SBX_FROZEN && !has_room_ahead(l, &u)))
		trouble(l, state);
}

/* Whatever else its lane is busy with: not a byte more. The lane's job then decides. */
static void stand_still(struct look *l)
{
	struct deadline d = deadline_in(VMM_MS, -1);
	struct err e = {0};

	if (sbx_state(l->s) == SBX_RUNNING && vm_driver_of(l->vm)->freeze(l->vm, &d, &e) < 0)
		log_warning("serial %" PRIu32 ": cannot stop it, though the disk is full: %s",
			    l->s->serial, e.text);
}

/* ---- the thread -------------------------------------------------------------------------------------------- */

static void low_tell(bool low, const struct room_space *space)
{
	if (low && !low_told) {
		log_warning("only %" PRIu64 " MiB are free in %s: running sandboxes are frozen",
			    space->free >> 20, host.state_dir);
		event_add(0, "", "disk-low", ",\"free\":%" PRIu64 ",\"reserve\":%" PRIu64,
			  space->free, space->reserve);
		low_told = true;
	} else if (space->free >= space->reserve + space->reserve / 8) {
		low_told = false;
	}
}

static void tick(void)
{
	AUTO_FREE struct look **all = NULL;
	size_t n = looks_take(&all);
	struct room_space space;
	bool low = room_space(&space) == 0 && room_is_low(&space);

	low_tell(low, &space);
	for (int pass = low ? 0 : 1; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			pthread_mutex_lock(&all[i]->lock);
			if (!all[i]->gone && pass == 0)
				stand_still(all[i]);
			else if (!all[i]->gone)
				look_at(all[i], low);
			pthread_mutex_unlock(&all[i]->lock);
		}
		room_ballast_tend(); /* after all stand still, who could take it for themselves */
	}
	for (size_t i = 0; i < n; i++)
		look_put(all[i]);
}

static void *room_run(void *arg)
{
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};

	(void)arg;
	while (poll(&stop, 1, ROOM_TICK_MS) <= 0)
		tick();
	return NULL;
}

int room_init(struct err *e)
{
	int r;

	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0)
		return err_sys(e, errno, "cannot set up the watch over disks");
	room_ballast_init();
	room_ballast_tend();
	r = pthread_create(&room_thread, NULL, room_run, NULL);
	return r ? err_sys(e, r, "cannot start the watch over disks") : 0;
}

void room_stop(void)
{
	uint64_t one = 1;

	(void)file_write_all(stop_fd, &one, sizeof(one)); /* an eventfd at 0 takes it */
	(void)pthread_join(room_thread, NULL);            /* it was started, and only once */
	fd_close(steal_fd(&stop_fd));
}

void room_done(void)
{
	while (looks) /* of sandboxes that could not be taken down */
		room_unwatch(looks->s);
	room_ballast_done();
}

/* ---- for disk-full.c ----------------------------------------------------------------------------------------- */

void room_news(struct sbx *s, bool stands, struct room_news *ret)
{
	struct look *l = look_begin(s);

	*ret = (struct room_news){0};
	if (!l)
		return;
	ret->said = l->said;
	l->said = 0;
	l->queued = false;
	(void)l->store->usage(&l->data.volume, &ret->usage); /* well, when it cannot be told */
	if (stands && ret->usage.health == VOLUME_WELL) {
		l->tries = clock_ms() - l->let_on_ms < RETRY_MS ? l->tries + 1 : 1;
		l->let_on_ms = clock_ms();
	}
	ret->tries = l->tries;
	look_done(l);
}

int room_grow(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct look *l = look_begin(s);
	int r;

	if (l) {
		r = grow(l, d, e);
		look_done(l);
		return r;
	}
	r = room_check(0, e);
	if (r < 0)
		return r;
	AUTO_DATA_SPEC spec;
	data_spec(s, &spec);
	return sbx_store(s)->grow(&spec.volume, room_reserve_bytes(), d, e);
}
