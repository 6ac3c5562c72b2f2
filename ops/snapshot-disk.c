// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot-disk.c - snapshots on disk: their records, and what an earlier daemon left */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/snapshot-private.h"

enum {
	SNAPSHOT_RECORD_MAX = 64 << 10,
};

int snapshot_open_all(struct sbx *s, bool make, int *ret_fd, struct err *e)
{
	AUTO_FD dir = -1;
	int r;

	*ret_fd = sbx_open(s, "snapshots", O_RDONLY | O_DIRECTORY);
	if (*ret_fd >= 0)
		return 0;
	if (errno != ENOENT || !make)
		return err_sys(e, errno, "cannot open the directory of its snapshots");
	dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	if (dir < 0 || (mkdirat(dir, "snapshots", 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "cannot make a directory for snapshots");
	r = file_sync_dir(dir, e);
	return r < 0 ? r : file_open_dir(dir, "snapshots", ret_fd, e);
}

void snapshot_spec(const struct sbx *s, const char *dir_name, int dir_fd,
		   const struct template_version *v, struct snapshot_spec *ret)
{
	*ret = (struct snapshot_spec){.volume = {.instance = host.instance,
						 .serial = s->serial,
						 .dir_fd = dir_fd,
						 .base = v->rootfs}};
	(void)snprintf(ret->dir, sizeof(ret->dir), "%s/snapshots/%s", s->dir,
		       dir_name); /* fits: see STATE_DIR_MAX */
	ret->volume.dir = ret->dir;
}

/* ---- records --------------------------------------------------------------------------------------------- */

static int put_members(struct json_object *o, const struct snapshot *n)
{
	int r = json_add_text(o, "kind", n->kind == SNAPSHOT_FULL ? "full" : "disk");

	r = r ? r : json_add_int(o, "created_ms", n->created_ms);
	r = r ? r : json_add_int(o, "size_bytes", (int64_t)n->size_bytes);
	r = r ? r : json_add_int(o, "disk_bytes", (int64_t)n->disk_bytes);
	r = r ? r : json_add_text(o, "parent", n->parent);
	r = r ? r : json_add_text(o, "template", n->template_pin);
	r = r ? r : json_add_text(o, "storage", n->store ? n->store->name : NULL);
	return r ? r : memory_add_json(&n->memory, o);
}

static int write_object(int dir_fd, struct json_object *o, struct err *e)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);

	if (!text)
		return err_set(e, ENOMEM, "no memory");
	return file_replace(dir_fd, "record", 0600, text, strlen(text), e);
}

int snapshot_record_write(int dir_fd, const struct snapshot *n, struct err *e)
{
	AUTO_JSON o = json_object_new_object();

	if (!o || put_members(o, n) < 0)
		return err_set(e, ENOMEM, "no memory");
	return write_object(dir_fd, o, e);
}

static int read_object(int dir_fd, struct json_object **ret, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	int r = file_read(dir_fd, "record", SNAPSHOT_RECORD_MAX, &text, e);

	return r < 0 ? r : json_parse(buf_text(&text), text.len, ret, e);
}

/* Only that is changed: it may have members that this version does not know. */
int snapshot_record_reparent(int all_fd, const char *name, const char *parent, struct err *e)
{
	AUTO_FD dir = -1;
	AUTO_JSON o = NULL;
	int r = file_open_dir(all_fd, name, &dir, e);

	if (r == 0)
		r = read_object(dir, &o, e);
	if (r == 0 && json_add_text(o, "parent", parent) < 0)
		r = err_set(e, ENOMEM, "no memory");
	if (r == 0)
		r = write_object(dir, o, e);
	return r < 0 ? err_wrap(e, "cannot change the parent of snapshot %s", name) : 0;
}

/* Return: 0; -EBADMSG what it says cannot be used. */
static int take_members(struct snapshot *n, struct json_object *o, int dir_fd, struct err *e)
{
	const char *store = json_text_at(o, "storage", "");
	const char *kind = json_text_at(o, "kind", "");

	n->created_ms = json_int_at(o, "created_ms", 0);
	n->size_bytes = (uint64_t)json_int_at(o, "size_bytes", 0);
	n->disk_bytes = (uint64_t)json_int_at(o, "disk_bytes", 0);
	(void)snprintf(n->parent, sizeof(n->parent), "%s", json_text_at(o, "parent", ""));
	(void)snprintf(n->template_pin, sizeof(n->template_pin), "%s",
		       json_text_at(o, "template", ""));
	n->kind = strcmp(kind, "full") == 0 ? SNAPSHOT_FULL : SNAPSHOT_DISK;
	if (n->kind == SNAPSHOT_DISK && strcmp(kind, "disk") != 0)
		return err_set(e, EBADMSG, "it is of kind \"%s\"", kind);
	if (n->kind == SNAPSHOT_FULL)
		memory_from_json(o, &n->memory);
	if (n->kind == SNAPSHOT_FULL && (strcmp(n->memory.dir, MEMORY_DIR) != 0 || !store[0]))
		return err_set(e, EBADMSG, "it is full and has no memory");
	if (!store[0])
		return 0;
	n->store = volume_driver_named(store);
	if (!n->store)
		return err_set(e, EBADMSG, "there is no store %s", store);
	if (!n->store->data_name(dir_fd))
		return err_set(e, EBADMSG, "it has no data");
	return 0;
}

int snapshot_record_read(int dir_fd, const char *name, struct snapshot **ret, struct err *e)
{
	AUTO_FREE struct snapshot *n = calloc(1, sizeof(*n));
	AUTO_JSON o = NULL;
	int r;

	if (!n)
		return err_set(e, ENOMEM, "no memory");
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	r = read_object(dir_fd, &o, e);
	if (r == 0)
		r = take_members(n, o, dir_fd, e);
	if (r == 0)
		*ret = steal_ptr(&n);
	return r;
}

/* ---- at start -------------------------------------------------------------------------------------------- */

/* ".NAME.removed.N": a deletion that a crash cut short. Return: its name's length, or 0. */
static size_t removed_name_len(const char *entry)
{
	static const char mark[] = ".removed.";
	const char *at = NULL;

	for (const char *next = strstr(entry, mark); next; next = strstr(next + 1, mark))
		at = next;
	if (!at || !at[strlen(mark)] ||
	    strspn(at + strlen(mark), "0123456789") != strlen(at + strlen(mark)))
		return 0;
	return (size_t)(at - entry) - 1;
}

/* Whatever followed the one that is gone follows its parent now. */
static void reparent_loaded(struct sbx *s, int all_fd, const char *gone, const char *parent)
{
	struct err e = {0};

	for (struct snapshot *n = s->snapshots; n; n = n->next) {
		if (strcmp(n->parent, gone) != 0)
			continue;
		(void)snprintf(n->parent, sizeof(n->parent), "%s", parent);
		if (snapshot_record_reparent(all_fd, n->name, parent, &e) < 0)
			log_warning("%s, ignoring", e.text);
	}
	if (strcmp(s->snapshot_parent, gone) == 0) /* on disk with its next save */
		(void)snprintf(s->snapshot_parent, sizeof(s->snapshot_parent), "%s", parent);
}

static void finish_removal(struct sbx *s, int all_fd, const char *entry)
{
	static const char clones[] =
		".clone."; /* clone_settle() sees to these, when all are loaded */
	size_t len = removed_name_len(entry);
	char name[NAME_MAX_LEN + 1];
	AUTO_FD dir = -1;
	AUTO_JSON o = NULL;
	struct err e = {0};

	if (strncmp(entry, clones, strlen(clones)) == 0)
		return;
	if (len > 0 && len < sizeof(name)) {
		(void)snprintf(name, sizeof(name), "%.*s", (int)len, entry + 1);
		if (!snapshot_find(s, name) && file_open_dir(all_fd, entry, &dir, &e) == 0 &&
		    read_object(dir, &o, &e) == 0)
			reparent_loaded(s, all_fd, name, json_text_at(o, "parent", ""));
	}
	if (file_remove_tree(all_fd, entry, &e) < 0)
		log_warning("%s, ignoring: the next start tries again", e.text);
}

static void load_one(struct sbx *s, int all_fd, const char *name)
{
	struct snapshot *n = NULL;
	struct err e = {0};
	AUTO_FD dir = -1;

	if (file_open_dir(all_fd, name, &dir, &e) < 0 ||
	    snapshot_record_read(dir, name, &n, &e) < 0) {
		log_error(
			"%s/snapshots/%s: %s: not listed; its name stays taken, its files are left as they are",
			s->dir, name, e.text);
		return;
	}
	snapshot_insert(s, n);
}

/* Each entry of snapshots/ that is, or is not, one to be removed. */
static int for_each(struct sbx *s, int all_fd, bool hidden,
		    void (*fn)(struct sbx *s, int all_fd, const char *name), struct err *e)
{
	AUTO_DIR dir = NULL;
	const struct dirent *entry;
	int r = file_open_list(all_fd, ".", &dir, e);

	while (r == 0 &&
	       (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (hidden == (entry->d_name[0] == '.') && (hidden || name_is_valid(entry->d_name)))
			fn(s, all_fd, entry->d_name);
	}
	return r;
}

/* A parent that is nowhere: nobody's name. */
static void check_parent(int all_fd, char parent[NAME_MAX_LEN + 1])
{
	if (parent[0] && faccessat(all_fd, parent, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		parent[0] = '\0';
}

int snapshot_load(struct sbx *s, struct err *e)
{
	AUTO_FD all_fd = -1;
	int r = snapshot_open_all(s, false, &all_fd, e);

	if (r == -ENOENT) {
		s->snapshot_parent[0] = '\0';
		return 0;
	}
	if (r == 0)
		r = for_each(s, all_fd, false, load_one, e);
	if (r == 0)
		r = for_each(s, all_fd, true, finish_removal, e);
	if (r < 0)
		return r;
	for (struct snapshot *n = s->snapshots; n; n = n->next)
		check_parent(all_fd, n->parent);
	check_parent(all_fd, s->snapshot_parent);
	return 0;
}

void snapshot_remove_hidden(struct sbx *s, const char *prefix)
{
	AUTO_DIR dir = NULL;
	AUTO_FD all_fd = -1;
	const struct dirent *entry;
	struct err e = {0};
	int r = snapshot_open_all(s, false, &all_fd, &e);

	if (r == 0)
		r = file_open_list(all_fd, ".", &dir, &e);
	while (r == 0 &&
	       (entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			r = file_remove_tree(all_fd, entry->d_name, &e);
	if (r < 0 && r != -ENOENT)
		log_warning("%s, ignoring: the next start tries again", e.text);
}
