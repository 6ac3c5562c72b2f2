// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot-rollback.c - a snapshot's disk in the place of the present one
 *
 * How it works: the snapshot's data is copied into a new directory data.N of the sandbox. One save of the record then
 * changes all that belongs together: which directory holds the data, of which store, over which template's version. The
 * level follows, and what was before is removed; a crash in between is settled at the next start (data_settle()).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/data.h"
#include "ops/journal.h"
#include "ops/lifecycle.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"

/* What one save of the record changes together. */
struct origin {
	char data_dir[DATA_DIR_SIZE];
	char template_pin[NAME_MAX_LEN + 1 + 13];
	char parent[NAME_MAX_LEN + 1];
	const struct volume_driver *store;
	uint64_t data_mib;
	int64_t started_ms;
};

/* Put @o in place; it is what was there then. */
static void origin_swap(struct sbx *s, struct origin *o)
{
	struct origin old;

	pthread_mutex_lock(&s->lock);
	old.store = s->store;
	old.data_mib = s->data_mib;
	old.started_ms = s->started_ms;
	memcpy(old.data_dir, s->data_dir, sizeof(old.data_dir));
	memcpy(old.template_pin, s->template_pin, sizeof(old.template_pin));
	memcpy(old.parent, s->snapshot_parent, sizeof(old.parent));
	s->store = o->store;
	s->data_mib = o->data_mib;
	s->started_ms = o->started_ms;
	memcpy(s->data_dir, o->data_dir, sizeof(o->data_dir));
	memcpy(s->template_pin, o->template_pin, sizeof(o->template_pin));
	memcpy(s->snapshot_parent, o->parent, sizeof(o->parent));
	pthread_mutex_unlock(&s->lock);
	*o = old;
}

/**
 * origin_save() - Change to @o in memory and on disk, or neither
 * @o:          in: the new; out: what was there before, on success
 * @ret_unsure: true: it failed, and perhaps the disk has the new all the same
 */
static int origin_save(struct sbx *s, struct origin *o, bool *ret_unsure, struct err *e)
{
	int r = fault_point("rollback-commit", NULL, e);

	if (r < 0)
		return r;
	origin_swap(s, o);
	r = record_save(s, e);
	if (r == 0)
		return 0;
	origin_swap(s, o);
	/* It may have reached the disk, and failed after that. */
	*ret_unsure = record_save(s, NULL) < 0;
	return r;
}

/* The level that goes with it. What cannot be written down now is found out by the next start. */
static void level_follow(struct sbx *s, unsigned level)
{
	struct err e = {0};

	if (s->level == level)
		return;
	s->level = level;
	if (journal_write(s, &e) < 0)
		log_warning("%s, ignoring: the next start settles it", e.text);
}

static void drop_old(struct sbx *s, const struct origin *old)
{
	struct err e = {0};
	int r = fault_point("rollback-drop", NULL, &e);

	if (r == 0)
		r = data_drop(s, old->data_dir, old->store, &e);
	if (r < 0)
		log_warning("the data from before is left: %s, ignoring: the next start removes it",
			    e.text);
}

/* Is its disk one that this sandbox may have, and is there room for what it may grow to? */
static int admit(struct sbx *s, const struct snapshot *n, const struct template_version *v,
		 struct err *e)
{
	uint64_t disk_mb;

	pthread_mutex_lock(&s->lock);
	disk_mb = template_disk_mb(&s->config, v);
	pthread_mutex_unlock(&s->lock);
	if (disk_mb << 20 < n->disk_bytes)
		return err_set(
			e, EINVAL,
			"disk_mb=%llu is less than the disk of snapshot %s; set disk_mb=%llu first",
			(unsigned long long)disk_mb, n->name,
			(unsigned long long)(n->disk_bytes >> 20));
	/* Data that is there is counted already. */
	return s->level == LEVEL_DEFINED ? room_promise(s, disk_mb << 20, e) : 0;
}

static int copy_back(struct sbx *s, const struct snapshot *n, const struct template_version *v,
		     int to_fd, const struct deadline *d, struct err *e)
{
	AUTO_FD all_fd = -1;
	AUTO_FD fd = -1;
	struct snapshot_spec spec;
	int r = snapshot_open_all(s, false, &all_fd, e);

	if (r == 0)
		r = file_open_dir(all_fd, n->name, &fd, e);
	if (r == 0)
		r = fault_point("rollback-copy", d, e);
	if (r < 0)
		return r;
	snapshot_spec(s, n->name, fd, v, &spec);
	spec.volume.size_bytes = n->disk_bytes;
	return n->store->copy(&spec.volume, to_fd, d, e);
}

static void remove_dir(struct sbx *s, const char *name)
{
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	struct err e = {0};

	if (dir >= 0 && file_remove_tree(dir, name, &e) < 0)
		log_warning("%s, ignoring: the next start removes it", e.text);
}

static int put_data(struct sbx *s, const struct snapshot *n, const struct deadline *d,
		    struct origin *o, struct err *e)
{
	struct template_version v;
	AUTO_FD fd = -1;
	int r = template_version_find(n->template_pin, &v, e);

	if (r < 0)
		return r;
	r = admit(s, n, &v, e);
	if (r == 0)
		r = room_check(n->size_bytes, e);
	if (r == 0)
		r = data_make_dir(s, o->data_dir, &fd, e);
	if (r == 0)
		r = copy_back(s, n, &v, fd, d, e);
	template_version_done(&v);
	return r;
}

/* It had no data when it was made: neither has the sandbox then, but a directory of its own for the data to come. */
static int put_nothing(struct sbx *s, struct origin *o, struct err *e)
{
	AUTO_FD fd = -1;

	o->started_ms = 0;
	return data_make_dir(s, o->data_dir, &fd, e);
}

static int put_back(struct sbx *s, const struct snapshot *n, const struct deadline *d,
		    struct err *e)
{
	struct origin o = {
		.store = n->store, .data_mib = n->disk_bytes >> 20, .started_ms = s->started_ms};
	unsigned before = s->level;
	char made[DATA_DIR_SIZE];
	bool unsure = false;
	int r;

	memcpy(o.template_pin, n->template_pin, sizeof(o.template_pin));
	memcpy(o.parent, n->name, sizeof(o.parent));
	r = n->store ? put_data(s, n, d, &o, e) : put_nothing(s, &o, e);
	memcpy(made, o.data_dir, sizeof(made));
	if (r == 0)
		r = origin_save(s, &o, &unsure, e);
	if (r < 0) {
		if (made[0] && !unsure)
			remove_dir(s, made);
		return r;
	}
	level_follow(s, n->store ? LEVEL_DATA : LEVEL_DEFINED);
	if (before == LEVEL_DATA && o.store)
		drop_old(s, &o);
	else if (o.data_dir[0])
		remove_dir(s, o.data_dir);
	return 0;
}

static void now_rests(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->exit_reason[0] = '\0';
	s->last_error[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	sbx_set_state(s, s->level == LEVEL_DATA ? SBX_STOPPED : SBX_CREATED);
}

int snapshot_rollback(struct sbx *s, const char *name, const struct deadline *d, struct err *e)
{
	struct snapshot *n;
	struct err why = {0};
	int r = lifecycle_settle(s, e);

	if (r < 0)
		return r;
	n = snapshot_take(s, name, e);
	if (!n)
		return e ? -e->code : -ENOENT;
	sbx_drop_version(s);
	r = put_back(s, n, d, e);
	if (s->level == LEVEL_DEFINED) /* it has no data now, or not yet */
		(void)room_promise(s, 0, NULL);
	sbx_drop_version(s);
	snapshot_give_back(s, n);
	if (r < 0)
		return r;
	now_rests(s);
	if (record_save(s, &why) < 0) /* that it is no error any more */
		log_warning("%s, ignoring", why.text);
	snapshot_tell(s, "rollback", name);
	return 0;
}
