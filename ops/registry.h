/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/registry.h - all sandboxes, by name and by serial */
#ifndef SBXFS_OPS_REGISTRY_H
#define SBXFS_OPS_REGISTRY_H

#include <sys/types.h>

#include "base/err.h"
#include "ops/sbx.h"

/* All of these give references that the caller drops with sbx_put(). */

/* The sandbox of that name, or NAME~SERIAL for one whose teardown failed; NULL. */
struct sbx *registry_find(const char *name);
struct sbx *registry_find_serial(uint32_t serial);

/* The one that has what was made under that serial: its own, or one taken from the pool. With a reference; NULL. */
struct sbx *registry_find_made_as(uint32_t serial);

/**
 * registry_next() - Walk all that a listing shows, in order of their serials
 * @after: serial of the last one seen, 0 to begin
 * Return: the next one or NULL. Those being destroyed are shown only in state error.
 */
struct sbx *registry_next(uint32_t after);

/* As registry_next(), but really all of them: for counting and for shutting down. */
struct sbx *registry_next_any(uint32_t after);

/**
 * registry_create() - Define a sandbox: what mkdir does; durable when it returns
 * @w: its owner
 * @ret: a reference
 * Return: 0; -EINVAL name; -EEXIST; -ENOSPC; -EIO.
 */
int registry_create(const char *name, const struct writer *w, struct sbx **ret, struct err *e);

/**
 * registry_create_hidden() - Define one of the daemon's own: in no listing, and gone from the beginning for the next daemon
 * @name: of a sandbox; shown only should its teardown fail
 * @pin:  the version that it is of, which holds
 * Return: 0; -ENOSPC; -EIO.
 */
int registry_create_hidden(const char *name, const char *pin, struct sbx **ret, struct err *e);

/* As registry_create(), of one that is real only once what @mark names is gone: clone.h. */
int registry_create_clone(const char *name, const char *mark, const struct writer *w,
			  struct sbx **ret, struct err *e);

/**
 * registry_rename() - Give it another name; durable
 * Return: 0; -EINVAL; -EEXIST; -EIO.
 */
int registry_rename(struct sbx *s, const char *name, struct err *e);

/**
 * registry_set_owner() - chmod and chown of its directory; durable
 * @uid, @gid: (uid_t)-1 keeps; @mode: (mode_t)-1 keeps
 */
int registry_set_owner(struct sbx *s, uid_t uid, gid_t gid, mode_t mode, struct err *e);

/**
 * registry_retire() - Free its name, durably: from here on there is only the way down
 * Return: 0, also when that was done before; -EIO, … when the intent could not be written: nothing has changed then.
 */
int registry_retire(struct sbx *s, struct err *e);

/**
 * registry_remove() - What rmdir does: the name is free when it returns, the teardown goes on behind it
 * Return: 0; -EPERM protected; -EIO when not even the intent could be written.
 */
int registry_remove(struct sbx *s, struct err *e);

/* protect=yes: destroy and rmdir are refused. */
bool registry_is_protected(struct sbx *s);

/* It is in no list any more. */
void registry_forget(struct sbx *s);

/* Load every record; at start, before any thread. Those that cannot be read are listed in state error, untouched. */
int registry_load(struct err *e);

/* After registry_load(), once workers may run: undo or finish what an earlier daemon left. */
void registry_recover(void);

/* At the end: forget all. */
void registry_done(void);

#endif
