/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/disk-full.c - a guest whose disk lets it stand
 *
 * How it works: with the turn its vCPUs are stopped (they may be already), the store is made larger, and they go on;
 * the state stays running. Where there is no room on the host the state becomes frozen, exit_reason says so,
 * and thaw tries again. An error that is not about room is tried a few times: what was in the store's way may have gone by
 * the time that the event is seen. Then it is frozen as well, since going on would only be stopped again.
 */
#include "ops/disk-full.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/own.h"
#include "ops/record.h"
#include "ops/room-private.h"
#include "vm/vm.h"

enum {
	ACT_MS = 15000, /* for VMM and store together */
	TRIES_MAX = 3,  /* without the store being full */
};

/* It is not to go on: what status and the record tell. */
static void show_reason(struct sbx *s, int code, const char *text)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->exit_reason, sizeof(s->exit_reason), "%s",
		       code == ENOSPC ? "disk-full" : "disk-error");
	(void)snprintf(s->last_error, sizeof(s->last_error), "%s", text);
	pthread_mutex_unlock(&s->lock);
}

static void tell_reason(struct sbx *s)
{
	char name[sizeof(s->name)];

	log_warning("its disk stops it: %s", s->last_error);
	sbx_name(s, name);
	event_add(s->serial, name, s->exit_reason, "%s", "");
}

static void stay(struct sbx *s, int code, const char *text)
{
	struct err e = {0};

	show_reason(s, code, text);
	tell_reason(s);
	sbx_set_state(s, SBX_FROZEN);
	room_ballast_tend(); /* the record needs a little room */
	if (record_save(s, &e) < 0)
		log_warning("%s, ignoring", e.text);
}

static int judge(const struct room_news *news, bool stands, struct err *e)
{
	if (news->usage.health == VOLUME_BROKEN)
		return err_set(
			e, EIO,
			"the store of its disk is broken or gone; go back to a snapshot, or destroy it");
	if (!stands || news->usage.health != VOLUME_WELL || news->tries <= TRIES_MAX)
		return 0;
	if (news->said & VM_SAID_DISK_FULL)
		return err_set(
			e, ENOSPC,
			"the host has no room for its disk, though its file system seems to: a quota? "
			"Make room, then thaw it");
	return err_set(e, EIO,
		       "its disk fails requests again and again, and not for want of room; see the "
		       "host's kernel log, then thaw it");
}

static void tell_grown(struct sbx *s)
{
	char name[sizeof(s->name)];
	struct room_news now;

	room_news(s, false, &now);
	sbx_name(s, name);
	log_info("its disk stopped it, was given room, and it goes on");
	event_add(s->serial, name, "disk-grown", ",\"used\":%" PRIu64 ",\"total\":%" PRIu64,
		  now.usage.used_bytes, now.usage.total_bytes);
}

/* Its vCPUs stand, for whatever reason, and nobody writes. */
static void act_stopped(struct sbx *s, const struct room_news *news, bool stands,
			const struct deadline *d)
{
	struct err e = {0};
	int r = judge(news, stands, &e);

	if (r == 0)
		r = room_grow(s, d, &e);
	if (r == 0)
		r = vm_driver_of(s->vm)->thaw(s->vm, d, &e);
	if (r < 0)
		stay(s, e.code, e.text);
	else if (stands || news->usage.health != VOLUME_WELL)
		tell_grown(s);
}

/* With the turn: what was seen may be over, or another command's by now. */
static int act(struct sbx *s, struct err *e)
{
	struct deadline d = deadline_in(ACT_MS, -1);
	struct room_news news;
	bool stands = false;
	int r = 0;

	if (s->vm && sbx_state(s) == SBX_RUNNING)
		r = vm_driver_of(s->vm)->disk_stopped(s->vm, &d, &stands, e);
	room_news(s, stands, &news);
	if (!s->vm || sbx_state(s) != SBX_RUNNING)
		return 0; /* thaw looks after itself */
	if (r == 0 && !stands)
		r = vm_driver_of(s->vm)->freeze(s->vm, &d, e);
	if (r < 0)
		return r; /* the VMM has ended, which is seen to elsewhere, or does not answer */
	act_stopped(s, &news, stands, &d);
	return 0;
}

int disk_full_later(struct sbx *s, struct err *e)
{
	return own_submit(s, JOB_LIFECYCLE, act, e);
}

int disk_full_shutdown(struct sbx *s, bool frozen, const struct deadline *d, struct err *e)
{
	bool stands = frozen;
	int r = frozen ? 0 : vm_driver_of(s->vm)->disk_stopped(s->vm, d, &stands, e);

	if (r < 0 || !stands)
		return r;
	r = room_grow(s, d, e);
	return r < 0 ? r : vm_driver_of(s->vm)->thaw(s->vm, d, e);
}

int disk_full_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct err why = {0};
	bool stands = false;
	int r;

	/* Its vCPUs stand too when a daemon died while its disk was being read: thaw is for both. */
	if (s->was_frozen) /* perhaps not yet, or not any more: the daemon died over it */
		return vm_driver_of(s->vm)->freeze(s->vm, d, e);
	r = vm_driver_of(s->vm)->disk_stopped(s->vm, d, &stands, e);
	if (r < 0)
		return r;
	if (stands)
		r = room_grow(s, d, &why);
	if (r == 0)
		r = vm_driver_of(s->vm)->thaw(s->vm, d, &why);
	if (r == 0)
		return 0;
	if (!stands)
		return err_set(e, -r, "%s", why.text);
	show_reason(s, why.code, why.text);
	tell_reason(s);
	s->was_frozen = true;
	return 0;
}
