/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/snapshot-private.h - what the files of snapshots share; for snapshot*.c only
 *
 * In sandboxes/SERIAL/snapshots: NAME is a whole one, .NAME.new one that is being made, .NAME.removed.N one that is being deleted, .clone.ID
 * what clones on their way are made from (clone.h).
 */
#ifndef SBXFS_OPS_SNAPSHOT_PRIVATE_H
#define SBXFS_OPS_SNAPSHOT_PRIVATE_H

#include "ops/memory.h"
#include "ops/snapshot.h"
#include "ops/template.h"

enum {
	SNAPSHOT_DIR_MAX = 320, /* bytes of the path of a directory in snapshots/ */
};

/* One that is being made, under a name that begins with '.'. */
struct snapshot_fresh {
	struct snapshot *snapshot; /* owned until it is listed */
	int all_fd;                /* snapshots/; owned */
	int fd;                    /* its directory; owned */
	char temp[NAME_MAX_LEN + 8];
};

#define SNAPSHOT_FRESH_NONE                                                                        \
	{                                                                                          \
		.all_fd = -1, .fd = -1                                                             \
	}

/**
 * snapshot_begin() - Make an empty directory for a new one
 * @s: with the turn
 * Return: 0; -EINVAL the name; -EEXIST; -ENOSPC, …. snapshot_fresh_done() is the caller's either way.
 */
int snapshot_begin(struct sbx *s, const char *name, struct snapshot_fresh *ret, struct err *e);

/**
 * snapshot_finish() - Write its record, give it its name, durably, and list it
 * @f:       holds the data, durably
 * @current: the sandbox goes on from it: it follows the one that the sandbox came from
 * Return: 0; a failure leaves it as it was before.
 */
int snapshot_finish(struct sbx *s, struct snapshot_fresh *f, bool current, struct err *e);

/**
 * snapshot_begin_hidden() - As snapshot_begin(), for what never gets a name
 * @temp: of its directory, begins with '.'
 */
int snapshot_begin_hidden(struct sbx *s, const char *temp, struct snapshot_fresh *ret,
			  struct err *e);

/**
 * snapshot_keep() - Copy the data of a sandbox into a fresh one's directory, and save its memory if it is to be a full one
 * @s: with the turn, as snapshot_create()
 * @f: its snapshot's kind says what; the rest is filled in
 */
int snapshot_keep(struct sbx *s, struct snapshot_fresh *f, const struct deadline *d,
		  struct buf *out, struct err *e);

/* Remove what has not been finished. */
void snapshot_fresh_done(struct snapshot_fresh *f);
#define AUTO_FRESH __attribute__((cleanup(snapshot_fresh_done))) struct snapshot_fresh

/* One to read: it is not deleted until it is given back. NULL with -ENOENT in @e. */
struct snapshot *snapshot_take(struct sbx *s, const char *name, struct err *e);
void snapshot_give_back(struct sbx *s, struct snapshot *n);

/* Put one into the list, in order of time. With s->lock. */
void snapshot_insert(struct sbx *s, struct snapshot *n);
struct snapshot *snapshot_find(struct sbx *s, const char *name);

/* Its record on disk. */
int snapshot_record_write(int dir_fd, const struct snapshot *n, struct err *e);
int snapshot_record_read(int dir_fd, const char *name, struct snapshot **ret, struct err *e);
int snapshot_record_reparent(int all_fd, const char *name, const char *parent, struct err *e);

/* What is put in place, of whose, for what. */
struct snapshot_source {
	const char *verb; /* "rollback" or "clone", for the names of fault points */
	struct sbx *owner;
	const struct snapshot *snapshot; /* taken, or hidden */
	const char *dir_name;            /* of its directory in the owner's snapshots/ */
	bool shared;                     /* its memory is to be mapped privately */
};

/* What one save of the record changes together. */
struct snapshot_origin {
	char data_dir[sizeof(((struct sbx *)0)->data_dir)];
	char template_pin[NAME_MAX_LEN + 1 + 13];
	char parent[NAME_MAX_LEN + 1];
	const struct volume_driver *store;
	uint64_t data_mib;
	int64_t started_ms;
	struct memory_saved memory;
};

/**
 * snapshot_place() - Prepare copies of data and memory, then have one save of the record put them in place
 * @s:          with the turn. What runs goes on running with its old disk: data_spec() tells of that until s->moved is cleared.
 * @ret_before: what there was, for snapshot_place_end()
 * Return: 0; else nothing has changed.
 */
int snapshot_place(struct sbx *s, const struct snapshot_source *from, const struct deadline *d,
		   struct snapshot_origin *ret_before, struct err *e);

/* Nothing runs (any more): the level follows, and what was before is removed. */
void snapshot_place_end(struct sbx *s, const struct snapshot_origin *before);

/* Would this host's VMM take the memory of a full one? Return: 0; -ENOTSUP; -EBADMSG. */
int snapshot_check_memory(const struct snapshot_source *from, struct err *e);

/* Open the directory of one. */
int snapshot_source_open(const struct snapshot_source *from, int *ret_fd, struct err *e);

/* Allocated bytes of the data in a directory; 0 when there is none. */
uint64_t snapshot_data_bytes(const struct volume_driver *store, int dir_fd);

/* What its store has to know of the data of one: in a directory of snapshots/, over a version. */
struct snapshot_spec {
	struct volume_spec volume; /* borrows dir and the version's path */
	char dir[SNAPSHOT_DIR_MAX];
};
void snapshot_spec(const struct sbx *s, const char *dir_name, int dir_fd,
		   const struct template_version *v, struct snapshot_spec *ret);

/* At start: remove what begins with @prefix in snapshots/. A failure is logged. */
void snapshot_remove_hidden(struct sbx *s, const char *prefix);

/* Tell those who follow it. */
void snapshot_tell(struct sbx *s, const char *verb, const char *name);

#endif
