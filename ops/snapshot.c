// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot.c - the list of a sandbox's snapshots: making, listing and deleting one
 *
 * How it works: what is made or taken in gets a directory .NAME.new, into which the data is copied while the
 * sandbox stands still. Its record, its name and its place in the list then follow under snapshot_lock, which
 * deletions take too: so parents always name what is there. A deletion takes the name away first, durably; whoever reads a
 * snapshot's data is counted in it and keeps it from being deleted.
 */
#include "ops/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/data.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/lifecycle.h"
#include "ops/quiesce.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"

/* ---- the list -------------------------------------------------------------------------------------------- */

struct snapshot *snapshot_find(struct sbx *s, const char *name)
{
	struct snapshot *n = s->snapshots;

	while (n && strcmp(n->name, name) != 0)
		n = n->next;
	return n;
}

void snapshot_insert(struct sbx *s, struct snapshot *n)
{
	struct snapshot **at = &s->snapshots;

	while (*at && (*at)->created_ms <= n->created_ms)
		at = &(*at)->next;
	n->next = *at;
	*at = n;
}

static void unlist(struct sbx *s, const struct snapshot *n)
{
	struct snapshot **at = &s->snapshots;

	while (*at && *at != n)
		at = &(*at)->next;
	if (*at)
		*at = n->next;
}

void snapshot_list_free(struct sbx *s)
{
	struct snapshot *next;

	for (struct snapshot *n = s->snapshots; n; n = next) {
		next = n->next;
		free(n);
	}
	s->snapshots = NULL;
}

struct snapshot *snapshot_take(struct sbx *s, const char *name, struct err *e)
{
	struct snapshot *n;

	pthread_mutex_lock(&s->lock);
	n = snapshot_find(s, name);
	if (n && n->going)
		n = NULL;
	if (n)
		n->uses++;
	pthread_mutex_unlock(&s->lock);
	if (!n)
		(void)err_set(e, ENOENT, "there is no snapshot %s", name);
	return n;
}

void snapshot_give_back(struct sbx *s, struct snapshot *n)
{
	pthread_mutex_lock(&s->lock);
	n->uses--;
	pthread_mutex_unlock(&s->lock);
}

static const char *kind_name(enum snapshot_kind kind)
{
	return kind == SNAPSHOT_FULL ? "full" : "disk";
}

void snapshot_render(struct sbx *s, struct buf *b)
{
	char when[TIME_TEXT_SIZE];

	buf_adds(b, "name kind created size_bytes parent\n");
	pthread_mutex_lock(&s->lock);
	for (const struct snapshot *n = s->snapshots; n; n = n->next)
		buf_addf(b, "%s %s %s %llu %s\n", n->name, kind_name(n->kind),
			 time_text(n->created_ms, when), (unsigned long long)n->size_bytes,
			 n->parent[0] ? n->parent : "-");
	pthread_mutex_unlock(&s->lock);
}

unsigned snapshot_pins(struct sbx *s, const char *pin)
{
	size_t len = strlen(pin);
	bool any = len > 0 && pin[len - 1] == '@';
	unsigned count = 0;

	for (const struct snapshot *n = s->snapshots; n; n = n->next)
		count += strncmp(n->template_pin, pin, len) == 0 && (any || !n->template_pin[len]);
	return count;
}

void snapshot_tell(struct sbx *s, const char *verb, const char *name)
{
	char sandbox[NAME_MAX_LEN + 1];

	sbx_name(s, sandbox);
	event_add(s->serial, sandbox, "snapshot", ",\"name\":\"%s\",\"verb\":\"%s\"", name, verb);
	sbx_changed(s);
}

/* ---- a new one ------------------------------------------------------------------------------------------- */

/* With @ret->all_fd open. */
static int make_temp(struct snapshot_fresh *ret, struct err *e)
{
	int r = file_remove_tree(ret->all_fd, ret->temp, e);

	if (r == 0 && mkdirat(ret->all_fd, ret->temp, 0700) < 0)
		r = err_sys(e, errno, "cannot make a directory for the snapshot");
	return r < 0 ? r : file_open_dir(ret->all_fd, ret->temp, &ret->fd, e);
}

/* Of no two the same, or a record would not tell which was first. With the turn. */
static int64_t new_time(const struct sbx *s)
{
	int64_t ms = wall_ms();

	for (const struct snapshot *n = s->snapshots; n; n = n->next)
		if (n->created_ms == ms)
			ms++;
	return ms;
}

int snapshot_begin_hidden(struct sbx *s, const char *temp, struct snapshot_fresh *ret,
			  struct err *e)
{
	struct snapshot *n = ret->snapshot = calloc(1, sizeof(*n));
	int r;

	if (!n) {
		(void)err_set(e, ENOMEM, "no memory");
		return -ENOMEM;
	}
	n->kind = SNAPSHOT_DISK;
	n->created_ms = new_time(s);
	r = snapshot_open_all(s, true, &ret->all_fd, e);
	if (r < 0)
		return r;
	(void)snprintf(ret->temp, sizeof(ret->temp), "%s", temp);
	return make_temp(ret, e);
}

int snapshot_begin(struct sbx *s, const char *name, struct snapshot_fresh *ret, struct err *e)
{
	char temp[sizeof(ret->temp)];
	AUTO_FD all_fd = -1;
	int r;

	if (!name_is_valid(name))
		return err_set(
			e, EINVAL,
			"%s is not a name: 1 to 63 of a-z A-Z 0-9 . _ -, a letter or digit first",
			name);
	r = snapshot_open_all(s, true, &all_fd, e);
	if (r < 0)
		return r;
	if (faccessat(all_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, EEXIST, "there is a snapshot %s", name);
	(void)snprintf(temp, sizeof(temp), ".%s.new", name);
	r = snapshot_begin_hidden(s, temp, ret, e);
	if (r == 0)
		(void)snprintf(ret->snapshot->name, sizeof(ret->snapshot->name), "%s", name);
	return r;
}

void snapshot_fresh_done(struct snapshot_fresh *f)
{
	struct err e = {0};

	if (f->snapshot && f->temp[0] && file_remove_tree(f->all_fd, f->temp, &e) < 0)
		log_warning("%s, ignoring: the next start removes it", e.text);
	free(steal_ptr(&f->snapshot));
	fd_close(steal_fd(&f->fd));
	fd_close(steal_fd(&f->all_fd));
}

/* It follows what the sandbox came from, and the sandbox goes on from it. @ret_before: what to go back to. */
static void make_current(struct sbx *s, struct snapshot *n, char ret_before[NAME_MAX_LEN + 1])
{
	pthread_mutex_lock(&s->lock);
	memcpy(ret_before, s->snapshot_parent, sizeof(s->snapshot_parent));
	memcpy(s->snapshot_parent, n->name, sizeof(s->snapshot_parent));
	pthread_mutex_unlock(&s->lock);
}

static void take_back(struct sbx *s, const char *before)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->snapshot_parent, sizeof(s->snapshot_parent), "%s", before);
	pthread_mutex_unlock(&s->lock);
}

/* With snapshot_lock: a name on disk, and the sandbox's own record; or neither. */
static int name_it(struct sbx *s, struct snapshot_fresh *f, bool current, struct err *e)
{
	char before[NAME_MAX_LEN + 1] = "";
	const char *name = f->snapshot->name;
	int r = 0;

	if (current) {
		pthread_mutex_lock(&s->lock);
		memcpy(f->snapshot->parent, s->snapshot_parent, sizeof(s->snapshot_parent));
		pthread_mutex_unlock(&s->lock);
	}
	r = snapshot_record_write(f->fd, f->snapshot, e);
	if (r == 0)
		r = fault_point("snapshot-name", NULL, e);
	if (r == 0 && renameat(f->all_fd, f->temp, f->all_fd, name) < 0)
		r = err_sys(e, errno, "cannot name the snapshot");
	if (r < 0)
		return r;
	r = file_sync_dir(f->all_fd, e);
	if (r == 0 && current) {
		make_current(s, f->snapshot, before);
		r = record_save(s, e);
		if (r < 0)
			take_back(s, before);
	}
	if (r < 0 && renameat(f->all_fd, name, f->all_fd, f->temp) < 0)
		log_error("cannot take the name of snapshot %s away again", name);
	return r;
}

int snapshot_finish(struct sbx *s, struct snapshot_fresh *f, bool current, struct err *e)
{
	int r;

	pthread_mutex_lock(&s->snapshot_lock);
	r = name_it(s, f, current, e);
	if (r == 0) {
		pthread_mutex_lock(&s->lock);
		snapshot_insert(s, steal_ptr(&f->snapshot));
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&s->snapshot_lock);
	return r;
}

uint64_t snapshot_data_bytes(const struct volume_driver *store, int dir_fd)
{
	const char *name = store->data_name(dir_fd);
	struct stat st;

	if (!name || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

int snapshot_create(struct sbx *s, const char *name, enum snapshot_kind kind,
		    const struct deadline *d, struct buf *out, struct err *e)
{
	AUTO_FRESH f = SNAPSHOT_FRESH_NONE;
	int r = lifecycle_settle(s, e);

	if (r == 0)
		r = snapshot_begin(s, name, &f, e);
	if (r < 0 || !f.snapshot)
		return r;
	f.snapshot->kind = kind;
	if (s->level >= LEVEL_DATA)
		r = snapshot_keep(s, &f, d, out, e);
	if (r == 0)
		r = snapshot_finish(s, &f, true, e);
	if (r == 0)
		snapshot_tell(s, "create", name);
	return r;
}

/* ---- deleting -------------------------------------------------------------------------------------------- */

static struct snapshot *take_to_delete(struct sbx *s, const char *name, struct err *e)
{
	struct snapshot *n;

	pthread_mutex_lock(&s->lock);
	n = snapshot_find(s, name);
	if (!n || n->going) {
		n = NULL;
		(void)err_set(e, ENOENT, "there is no snapshot %s", name);
	} else if (n->uses > 0) {
		n = NULL;
		(void)err_set(e, EBUSY, "snapshot %s is being exported or gone back to", name);
	} else {
		n->going = true;
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* The next one that followed @gone gets its parent. @ret_name "": it was the sandbox itself. Return: was there one? */
static bool reparent_next(struct sbx *s, const struct snapshot *gone,
			  char ret_name[NAME_MAX_LEN + 1])
{
	char *parent = NULL;

	ret_name[0] = '\0';
	pthread_mutex_lock(&s->lock);
	if (strcmp(s->snapshot_parent, gone->name) == 0)
		parent = s->snapshot_parent;
	for (struct snapshot *n = s->snapshots; n && !parent; n = n->next) {
		if (strcmp(n->parent, gone->name) != 0)
			continue;
		parent = n->parent;
		memcpy(ret_name, n->name, sizeof(n->name));
	}
	if (parent)
		memcpy(parent, gone->parent, sizeof(gone->parent));
	pthread_mutex_unlock(&s->lock);
	return parent != NULL;
}

/* Return: 0; a record could not be written: the directory has to stay until the next start tells from it. */
static int reparent_all(struct sbx *s, const struct snapshot *gone, int all_fd)
{
	char name[NAME_MAX_LEN + 1];
	struct err e = {0};
	int r, first = 0;

	while (reparent_next(s, gone, name)) {
		r = name[0] ? snapshot_record_reparent(all_fd, name, gone->parent, &e)
			    : record_save(s, &e);
		if (r < 0)
			log_warning("%s, ignoring: the next start mends that", e.text);
		first = first ? first : r;
	}
	return first;
}

/* With snapshot_lock. */
static int take_name_away(struct sbx *s, const struct snapshot *n, int all_fd, const char *aside,
			  struct err *e)
{
	int r = file_remove_tree(all_fd, aside, e);

	if (r == 0)
		r = fault_point("snapshot-delete", NULL, e);
	if (r == 0 && renameat(all_fd, n->name, all_fd, aside) < 0)
		r = err_sys(e, errno, "cannot remove snapshot %s", n->name);
	if (r < 0)
		return r;
	r = file_sync_dir(all_fd, e);
	if (r < 0) {
		if (renameat(all_fd, aside, all_fd, n->name) < 0)
			log_error("cannot give snapshot %s its name back", n->name);
		return r;
	}
	pthread_mutex_lock(&s->lock);
	unlist(s, n);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* What is left is nobody's. Its record stays when it has to tell the next start something. */
static void remove_rest(int all_fd, const char *aside, const struct snapshot *n, bool keep_record)
{
	AUTO_FD fd = -1;
	struct err e = {0};
	const char *data;

	if (!keep_record) {
		if (file_remove_tree(all_fd, aside, &e) < 0)
			log_warning("%s, ignoring: the next start tries again", e.text);
		return;
	}
	if (!n->store || file_open_dir(all_fd, aside, &fd, &e) < 0)
		return;
	data = n->store->data_name(fd);
	if ((data && unlinkat(fd, data, 0) < 0) || file_remove_tree(fd, MEMORY_DIR, &e) < 0)
		log_warning("cannot remove the data of snapshot %s, ignoring: the next start does",
			    n->name);
}

int snapshot_delete(struct sbx *s, const char *name, struct err *e)
{
	static atomic_uint count; /* the one before may be being removed still */
	char aside[NAME_MAX_LEN + 24];
	AUTO_FD all_fd = -1;
	struct snapshot *n = take_to_delete(s, name, e);
	bool unsaved = false;
	int r;

	if (!n)
		return e ? -e->code : -ENOENT;
	(void)snprintf(aside, sizeof(aside), ".%s.removed.%u", name, atomic_fetch_add(&count, 1));
	r = snapshot_open_all(s, false, &all_fd, e);
	pthread_mutex_lock(&s->snapshot_lock);
	if (r == 0)
		r = take_name_away(s, n, all_fd, aside, e);
	if (r == 0)
		unsaved = reparent_all(s, n, all_fd) < 0;
	pthread_mutex_unlock(&s->snapshot_lock);
	if (r < 0) {
		pthread_mutex_lock(&s->lock);
		n->going = false;
		pthread_mutex_unlock(&s->lock);
		return r;
	}
	remove_rest(all_fd, aside, n, unsaved);
	free(n);
	snapshot_tell(s, "delete", name);
	return 0;
}
