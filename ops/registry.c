/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/registry.c - the list of sandboxes, and renaming and removing one
 *
 * How it works: an array sorted by serial (serials only grow, so adding is appending) and a hash of the
 * names. The array holds one reference to each. What changes names or makes sandboxes takes registry_define_lock
 * around its disk work, so that the registry lock itself is held for memory only.
 */
#include "ops/registry-private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sum.h"
#include "base/timefmt.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/lifecycle.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/serial.h"
#include "ops/slots.h"
#include "ops/snapshot.h"
#include "ops/steps.h"

enum {
	NAME_BUCKETS = 16384, /* power of two */
};

pthread_mutex_t registry_define_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sbx **list; /* sorted by serial */
static size_t list_len, list_room;
static struct sbx *buckets[NAME_BUCKETS];

struct sbx *sbx_get(struct sbx *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

static void sbx_free(struct sbx *s)
{
	record_forget(s);
	free(s->ports);
	snapshot_list_free(s);
	config_done(&s->config);
	egress_done(&s->egress);
	sbx_drop_version(s);
	fd_close(s->console_fd);
	free(s->dir);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->save_lock);
	pthread_mutex_destroy(&s->vm_use);
	pthread_mutex_destroy(&s->snapshot_lock);
	free(s);
}

void sbx_put(struct sbx *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		sbx_free(s);
}

struct sbx *sbx_new(uint32_t serial, struct err *e)
{
	struct sbx *s = calloc(1, sizeof(*s));

	if (!s) {
		(void)err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	atomic_init(&s->refs, 1);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->save_lock, NULL);
	pthread_mutex_init(&s->vm_use, NULL);
	pthread_mutex_init(&s->snapshot_lock, NULL);
	s->serial = s->made_as = serial;
	s->console_fd = s->watch_fd = -1;
	s->slot =
		(struct slot){.index = UINT32_MAX, .serial = serial, .netns_fd = -1, .tap_fd = -1};
	s->level = LEVEL_DEFINED;
	if (asprintf(&s->dir, "%s/sandboxes/%" PRIu32, host.state_dir, serial) >= 0)
		return s;
	s->dir = NULL;
	sbx_put(s);
	(void)err_set(e, ENOMEM, "no memory");
	return NULL;
}

static struct sbx **bucket_of(const char *name)
{
	return &buckets[sum_of(name, strlen(name)) & (NAME_BUCKETS - 1)];
}

/* With the registry lock. */
static struct sbx *name_find(const char *name)
{
	struct sbx *s = *bucket_of(name);

	while (s && strcmp(s->name, name) != 0)
		s = s->name_next;
	return s;
}

static void name_add(struct sbx *s)
{
	struct sbx **bucket = bucket_of(s->name);

	s->name_next = *bucket;
	*bucket = s;
	s->listed = true;
}

static void name_remove(struct sbx *s)
{
	struct sbx **at = bucket_of(s->name);

	while (*at && *at != s)
		at = &(*at)->name_next;
	if (*at)
		*at = s->name_next;
	s->listed = false;
}

/* Index of the first with a serial of at least @serial; with the registry lock. */
static size_t list_index(uint32_t serial)
{
	size_t low = 0, high = list_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (list[mid]->serial < serial)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Takes a reference of its own. */
static int list_add(struct sbx *s)
{
	size_t at;

	if (list_len == list_room) {
		size_t room = list_room ? list_room * 2 : 256;
		struct sbx **bigger = reallocarray(list, room, sizeof(struct sbx *));

		if (!bigger)
			return -ENOMEM;
		list = bigger;
		list_room = room;
	}
	at = list_index(s->serial);
	memmove(list + at + 1, list + at, (list_len - at) * sizeof(struct sbx *));
	list[at] = sbx_get(s);
	list_len++;
	return 0;
}

void registry_forget(struct sbx *s)
{
	size_t at;
	bool found;

	pthread_mutex_lock(&registry_lock);
	at = list_index(s->serial);
	found = at < list_len && list[at] == s;
	if (found) {
		memmove(list + at, list + at + 1, (list_len - at - 1) * sizeof(struct sbx *));
		list_len--;
	}
	if (s->listed)
		name_remove(s);
	pthread_mutex_unlock(&registry_lock);
	event_tell(s->serial, EVENT_GONE);
	room_promise_loaded(s, 0);
	if (found)
		sbx_put(s);
}

struct sbx *registry_find_serial(uint32_t serial)
{
	struct sbx *s = NULL;
	size_t at;

	pthread_mutex_lock(&registry_lock);
	at = list_index(serial);
	if (at < list_len && list[at]->serial == serial)
		s = sbx_get(list[at]);
	pthread_mutex_unlock(&registry_lock);
	return s;
}

struct sbx *registry_find_made_as(uint32_t serial)
{
	struct sbx *s = NULL;

	pthread_mutex_lock(&registry_lock);
	for (size_t i = 0; i < list_len && !s; i++)
		if (list[i]->made_as == serial && list[i]->serial != serial)
			s = sbx_get(list[i]);
	pthread_mutex_unlock(&registry_lock);
	return s ? s : registry_find_serial(serial);
}

/* NAME~SERIAL names one whose teardown failed. */
static struct sbx *find_gone(const char *name)
{
	const char *tilde = strchr(name, '~');
	uint64_t serial;
	struct sbx *s;
	bool found;

	if (!tilde || parse_u64(tilde + 1, 1, UINT32_MAX, &serial) < 0)
		return NULL;
	s = registry_find_serial((uint32_t)serial);
	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	found = s->gone && strlen(s->name) == (size_t)(tilde - name) &&
		strncmp(s->name, name, (size_t)(tilde - name)) == 0;
	pthread_mutex_unlock(&s->lock);
	if (found)
		return s;
	sbx_put(s);
	return NULL;
}

struct sbx *registry_find(const char *name)
{
	struct sbx *s;

	pthread_mutex_lock(&registry_lock);
	s = name_find(name);
	if (s)
		sbx_get(s);
	pthread_mutex_unlock(&registry_lock);
	return s ? s : find_gone(name);
}

static struct sbx *next_where(uint32_t after, bool any)
{
	struct sbx *s = NULL;

	pthread_mutex_lock(&registry_lock);
	for (size_t at = list_index(after + 1); at < list_len && !s; at++)
		if (any || list[at]->listed || sbx_state(list[at]) == SBX_ERROR)
			s = sbx_get(list[at]);
	pthread_mutex_unlock(&registry_lock);
	return s;
}

struct sbx *registry_next(uint32_t after)
{
	return next_where(after, false);
}

struct sbx *registry_next_any(uint32_t after)
{
	return next_where(after, true);
}

bool registry_name_taken(const char *name)
{
	bool taken;

	pthread_mutex_lock(&registry_lock);
	taken = name_find(name) != NULL;
	pthread_mutex_unlock(&registry_lock);
	return taken;
}

int registry_add(struct sbx *s)
{
	int r;

	pthread_mutex_lock(&registry_lock);
	r = list_add(s);
	if (r == 0 && !s->gone)
		name_add(s);
	pthread_mutex_unlock(&registry_lock);
	return r;
}

/* Change the name in memory and on disk, or neither. */
static int rename_saved(struct sbx *s, const char *name, struct err *e)
{
	char old[sizeof(s->name)];
	int r;

	memcpy(old, s->name, sizeof(old));
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	pthread_mutex_unlock(&s->lock);
	r = record_save(s, e);
	if (r < 0) {
		pthread_mutex_lock(&s->lock);
		memcpy(s->name, old, sizeof(old));
		pthread_mutex_unlock(&s->lock);
	}
	return r;
}

/* Its name is looked up by others meanwhile: it is out of the hash while it changes. */
int registry_rename(struct sbx *s, const char *name, struct err *e)
{
	int r = 0;

	if (!name_is_valid(name))
		return err_set(e, EINVAL, "%s is not a name", name);
	pthread_mutex_lock(&registry_define_lock);
	pthread_mutex_lock(&registry_lock);
	if (!s->listed)
		r = err_set(e, ENOENT, "it is being destroyed");
	else if (name_find(name))
		r = err_set(e, EEXIST, "there is a sandbox %s", name);
	else
		name_remove(s);
	pthread_mutex_unlock(&registry_lock);
	if (r == 0) {
		r = rename_saved(s, name, e);
		pthread_mutex_lock(&registry_lock);
		name_add(s);
		pthread_mutex_unlock(&registry_lock);
	}
	pthread_mutex_unlock(&registry_define_lock);
	if (r == 0) {
		event_add(s->serial, name, "renamed", "%s", "");
		sbx_changed(s);
	}
	return r;
}

int registry_set_owner(struct sbx *s, uid_t uid, gid_t gid, mode_t mode, struct err *e)
{
	uid_t old_uid;
	gid_t old_gid;
	mode_t old_mode;
	int r;

	pthread_mutex_lock(&registry_define_lock);
	pthread_mutex_lock(&s->lock);
	old_uid = s->uid;
	old_gid = s->gid;
	old_mode = s->mode;
	s->uid = uid == (uid_t)-1 ? old_uid : uid;
	s->gid = gid == (gid_t)-1 ? old_gid : gid;
	s->mode = mode == (mode_t)-1 ? old_mode : mode & 0777;
	pthread_mutex_unlock(&s->lock);
	r = record_save(s, e);
	if (r < 0) {
		pthread_mutex_lock(&s->lock);
		s->uid = old_uid;
		s->gid = old_gid;
		s->mode = old_mode;
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&registry_define_lock);
	sbx_changed(s);
	return r;
}

bool registry_is_protected(struct sbx *s)
{
	bool yes = false;

	pthread_mutex_lock(&s->lock);
	(void)parse_bool(config_effective(&s->config, NULL, CONFIG_PROTECT),
			 &yes); /* it was checked when set */
	pthread_mutex_unlock(&s->lock);
	return yes;
}

static void set_gone(struct sbx *s, bool gone)
{
	pthread_mutex_lock(&s->lock);
	s->gone = gone;
	pthread_mutex_unlock(&s->lock);
}

int registry_retire(struct sbx *s, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&registry_define_lock);
	if (!s->gone) { /* else NAME~SERIAL: its teardown failed before */
		set_gone(s, true);
		r = s->damaged ? 0 : record_save(s, e);
		if (r < 0) {
			set_gone(s, false);
		} else {
			pthread_mutex_lock(&registry_lock);
			name_remove(s);
			pthread_mutex_unlock(&registry_lock);
		}
	}
	pthread_mutex_unlock(&registry_define_lock);
	return r;
}

int registry_remove(struct sbx *s, struct err *e)
{
	int r;

	if (registry_is_protected(s))
		return err_set(e, EPERM, "it is protected; set protect=no first");
	r = registry_retire(s, e);
	return r < 0 ? r : lifecycle_destroy_later(s, e);
}
