/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/snapshot-private.h - what the files of snapshots share; for snapshot*.c only
 *
 * In sandboxes/SERIAL/snapshots: NAME is a whole one, .NAME.new one that is being made, .NAME.removed.N one that is being deleted.
 */
#ifndef SBXFS_OPS_SNAPSHOT_PRIVATE_H
#define SBXFS_OPS_SNAPSHOT_PRIVATE_H

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

/* Allocated bytes of the data in a directory; 0 when there is none. */
uint64_t snapshot_data_bytes(const struct volume_driver *store, int dir_fd);

/* What its store has to know of the data of one: in a directory of snapshots/, over a version. */
struct snapshot_spec {
	struct volume_spec volume; /* borrows dir and the version's path */
	char dir[SNAPSHOT_DIR_MAX];
};
void snapshot_spec(const struct sbx *s, const char *dir_name, int dir_fd,
		   const struct template_version *v, struct snapshot_spec *ret);

/* Tell those who follow it. */
void snapshot_tell(struct sbx *s, const char *verb, const char *name);

#endif
