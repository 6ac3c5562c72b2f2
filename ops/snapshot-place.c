// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot-place.c - a snapshot's data and memory in the place of what a sandbox has
 *
 * How it works: the data is copied into a new directory data.N of the sandbox, the files of memory get names in a new memory.N. One
 * save of the record then changes all that belongs together: which directories hold them, of which store, over which
 * template's version. Neither can be there without the other in between, as nothing else saves what is only prepared. The
 * level follows, and what was before is removed; a crash in between is settled at the next start (data_settle(), memory_settle()).
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
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/memory.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"
#include "ops/vmm.h"

static int point(const struct snapshot_source *from, const char *what, const struct deadline *d,
		 struct err *e)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "%s-%s", from->verb, what);
	return fault_point(name, d, e);
}

int snapshot_source_open(const struct snapshot_source *from, int *ret_fd, struct err *e)
{
	AUTO_FD all_fd = -1;
	int r = snapshot_open_all(from->owner, false, &all_fd, e);

	return r < 0 ? r : file_open_dir(all_fd, from->dir_name, ret_fd, e);
}

/* ---- does its memory fit? -------------------------------------------------------------------------------- */

static int check_with(const struct snapshot_source *from, const struct vm_host *vmm, struct err *e)
{
	const struct memory_saved *m = &from->snapshot->memory;
	char path[SNAPSHOT_DIR_MAX + sizeof(MEMORY_DIR)];
	AUTO_FD dir = -1;
	AUTO_FD fd = -1;
	struct vm_saved saved = {.dir = path,
				 .memory = from->shared ? VM_MEMORY_SHARED : VM_MEMORY_OWN};
	struct vm_spec spec = {.saved = &saved,
			       .template = from->snapshot->template_pin,
			       .host = vmm,
			       .vcpus = m->vcpus,
			       .memory_mib = m->mib,
			       .net = host.net->is_user ? VM_NET_USER : VM_NET_TAP,
			       .tap_fd = -1,
			       .netns_fd = -1,
			       .console_fd = -1,
			       .stderr_fd = -1};
	int r = snapshot_source_open(from, &dir, e);

	if (r == 0)
		r = file_open_dir(dir, MEMORY_DIR, &fd, e);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/snapshots/%s/" MEMORY_DIR, from->owner->dir,
		       from->dir_name); /* fits: see STATE_DIR_MAX */
	saved.dir_fd = fd;
	return vmm->driver->check_saved(&spec, e);
}

int snapshot_check_memory(const struct snapshot_source *from, struct err *e)
{
	const struct memory_saved *m = &from->snapshot->memory;
	const struct vm_host *vmm = vmm_host(vm_driver_named(m->vmm));

	if (!vmm)
		return err_set(e, ENOTSUP, "its memory was saved by %s, which is not there%s%s",
			       m->vmm, host.vm ? "" : ": ", host.vm ? "" : host.vm_why);
	if (!host.net)
		return err_set(e, ENOTSUP, "%s", host.net_why);
	if (strcmp(m->net, host.net->name) != 0)
		return err_set(
			e, ENOTSUP,
			"its memory was saved with the network %s, and this daemon has %s: one with "
			"--net %s can go on with it",
			m->net, host.net->name, m->net);
	return check_with(from, vmm, e);
}

/* ---- what is prepared ------------------------------------------------------------------------------------ */

/* Is its disk one that this sandbox may have, and is there room for what it may grow to? */
static int admit(struct sbx *s, const struct snapshot *n, const struct template_version *v,
		 struct err *e)
{
	uint64_t disk_mb;

	pthread_mutex_lock(&s->lock);
	disk_mb = template_disk_mb(&s->config, v);
	pthread_mutex_unlock(&s->lock);
	if (disk_mb << 20 < n->disk_bytes)
		return err_set(e, EINVAL,
			       "disk_mb=%llu is less than the disk of %s%s; set disk_mb=%llu first",
			       (unsigned long long)disk_mb,
			       n->name[0] ? "snapshot " : "what is cloned", n->name,
			       (unsigned long long)(n->disk_bytes >> 20));
	/* Data that is there is counted already. */
	return s->level == LEVEL_DEFINED ? room_promise(s, disk_mb << 20, e) : 0;
}

static int copy_data(const struct snapshot_source *from, const struct template_version *v,
		     int to_fd, const struct deadline *d, struct err *e)
{
	const struct snapshot *n = from->snapshot;
	struct snapshot_spec spec;
	AUTO_FD fd = -1;
	int r = snapshot_source_open(from, &fd, e);

	if (r == 0)
		r = point(from, "copy", d, e);
	if (r < 0)
		return r;
	r = room_check(snapshot_data_bytes(n->store, fd), e);
	if (r < 0)
		return r;
	snapshot_spec(from->owner, from->dir_name, fd, v, &spec);
	spec.volume.size_bytes = n->disk_bytes;
	return n->store->copy(&spec.volume, to_fd, d, e);
}

static int prepare_data(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
			struct snapshot_origin *o, struct err *e)
{
	const struct snapshot *n = from->snapshot;
	struct template_version v;
	AUTO_FD fd = -1;
	int r = template_version_find(n->template_pin, &v, e);

	if (r < 0)
		return r;
	r = admit(s, n, &v, e);
	if (r == 0)
		r = data_make_dir(s, o->data_dir, &fd, e);
	if (r == 0)
		r = copy_data(from, &v, fd, d, e);
	template_version_done(&v);
	return r;
}

static int link_memory(const struct snapshot_source *from, int to_fd, const struct deadline *d,
		       struct err *e)
{
	AUTO_FD dir = -1;
	AUTO_FD fd = -1;
	int r = snapshot_source_open(from, &dir, e);

	if (r == 0)
		r = file_open_dir(dir, MEMORY_DIR, &fd, e);
	if (r == 0)
		r = point(from, "memory", d, e);
	return r < 0 ? r : memory_link(fd, to_fd, e);
}

/* Not memory_give(): what else saves the record of one that runs must not name it yet. */
static int prepare_memory(struct sbx *s, const struct snapshot_source *from,
			  const struct deadline *d, struct snapshot_origin *o, struct err *e)
{
	struct memory_saved m = from->snapshot->memory;
	AUTO_FD fd = -1;
	int r = memory_make_dir(s, m.dir, &fd, e);

	if (r < 0)
		return r;
	r = link_memory(from, fd, d, e);
	if (r < 0) {
		memory_remove(s, m.dir);
		return r;
	}
	m.foreign = strcmp(m.token, s->token) != 0;
	m.shared = from->shared;
	m.stale = false;
	o->memory = m;
	return 0;
}

/* It had no data when it was made: neither has the sandbox then, but a directory of its own for the data to come. */
static int prepare_nothing(struct sbx *s, struct snapshot_origin *o, struct err *e)
{
	AUTO_FD fd = -1;

	o->started_ms = 0;
	return data_make_dir(s, o->data_dir, &fd, e);
}

static int prepare(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
		   struct snapshot_origin *o, struct err *e)
{
	const struct snapshot *n = from->snapshot;
	int r;

	*o = (struct snapshot_origin){
		.store = n->store, .data_mib = n->disk_bytes >> 20, .started_ms = s->started_ms};
	memcpy(o->template_pin, n->template_pin, sizeof(o->template_pin));
	if (from->owner == s) /* another's snapshots are not among its own */
		memcpy(o->parent, n->name, sizeof(o->parent));
	r = n->store ? prepare_data(s, from, d, o, e) : prepare_nothing(s, o, e);
	if (r == 0 && n->kind == SNAPSHOT_FULL)
		r = prepare_memory(s, from, d, o, e);
	return r;
}

static void remove_dir(struct sbx *s, const char *name)
{
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	struct err e = {0};

	if (dir >= 0 && name[0] && file_remove_tree(dir, name, &e) < 0)
		log_warning("%s, ignoring: the next start removes it", e.text);
}

/* ---- the one save ---------------------------------------------------------------------------------------- */

/* Put @o in place; it is what was there then. */
static void swap(struct sbx *s, struct snapshot_origin *o)
{
	struct snapshot_origin old;

	pthread_mutex_lock(&s->lock);
	old.store = s->store;
	old.data_mib = s->data_mib;
	old.started_ms = s->started_ms;
	old.memory = s->memory;
	memcpy(old.data_dir, s->data_dir, sizeof(old.data_dir));
	memcpy(old.template_pin, s->template_pin, sizeof(old.template_pin));
	memcpy(old.parent, s->snapshot_parent, sizeof(old.parent));
	s->store = o->store;
	s->data_mib = o->data_mib;
	s->started_ms = o->started_ms;
	s->memory = o->memory;
	memcpy(s->data_dir, o->data_dir, sizeof(o->data_dir));
	memcpy(s->template_pin, o->template_pin, sizeof(o->template_pin));
	memcpy(s->snapshot_parent, o->parent, sizeof(o->parent));
	pthread_mutex_unlock(&s->lock);
	*o = old;
}

/**
 * save() - Change to @o in memory and on disk, or neither
 * @o:          in: the new; out: what was there before, on success
 * @ret_unsure: true: it failed, and perhaps the disk has the new all the same
 */
static int save(struct sbx *s, struct snapshot_origin *o, bool *ret_unsure, struct err *e)
{
	int r;

	swap(s, o);
	r = record_save(s, e);
	if (r == 0)
		return 0;
	swap(s, o);
	/* It may have reached the disk, and failed after that. */
	*ret_unsure = record_save(s, NULL) < 0;
	return r;
}

/* While its disk is attached it is found where it was. */
static void attached_stays(struct sbx *s)
{
	if (s->level <= LEVEL_DATA)
		return;
	memcpy(s->moved_from, s->data_dir, sizeof(s->moved_from));
	s->moved = true;
}

int snapshot_place(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
		   struct snapshot_origin *ret_before, struct err *e)
{
	struct snapshot_origin *o = ret_before, made;
	bool unsure = false;
	int r = prepare(s, from, d, o, e);

	made = *o;
	if (r == 0 && deadline_cancelled(d))
		r = err_set(e, ECANCELED, "cancelled before it was put in place");
	if (r == 0)
		r = point(from, "commit", NULL, e);
	if (r == 0) {
		attached_stays(s);
		r = save(s, o, &unsure, e);
	}
	if (r < 0) {
		s->moved = false;
		if (!unsure) {
			remove_dir(s, made.data_dir);
			remove_dir(s, made.memory.dir);
		}
	}
	return r;
}

/* ---- afterwards ------------------------------------------------------------------------------------------ */

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

static void drop_data(struct sbx *s, const struct snapshot_origin *before)
{
	struct err e = {0};
	int r = fault_point("rollback-drop", NULL, &e);

	if (r == 0)
		r = data_drop(s, before->data_dir, before->store, &e);
	if (r < 0)
		log_warning("the data from before is left: %s, ignoring: the next start removes it",
			    e.text);
}

void snapshot_place_end(struct sbx *s, const struct snapshot_origin *before)
{
	bool had_data = s->level == LEVEL_DATA && before->store;

	s->moved = false;
	level_follow(s, s->store ? LEVEL_DATA : LEVEL_DEFINED);
	if (had_data)
		drop_data(s, before);
	else
		remove_dir(s, before->data_dir);
	remove_dir(s, before->memory.dir);
}
