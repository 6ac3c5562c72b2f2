/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/clone.h - new sandboxes that go on from where another one is, all of those asked for or none
 *
 * What they are made from is a snapshot, or a hidden one made now. Each gets a copy of the data, and names for the files of memory in a
 * directory of its own, so that nothing of the source is needed afterwards.
 * All or none holds across a crash as well: the record of each names a directory .clone.ID in the snapshots/ of the source, and
 * while that is there they are on their way, and the next start destroys them. Taking its name away is what makes them real.
 */
#ifndef SBXFS_OPS_CLONE_H
#define SBXFS_OPS_CLONE_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

struct clone_order {
	char *const *names; /* of the new ones */
	unsigned count;
	const char *from; /* a snapshot; NULL: as it is now */
	const struct writer *writer;
};

/**
 * clone_make() - Make them
 * @s:   with the turn, in any lasting state but error; it goes on as it was
 * @out: what a guest that did not go on wrote last
 *
 * Those of one that runs, is frozen or paused, and those of a full snapshot, run; others are stopped, or created without data.
 * Return: 0; -EINVAL a name; -EEXIST one is taken; -EACCES the writer may not make sandboxes; -ENOENT no such snapshot; -ENOTSUP, -ENOSPC,
 *         -ENOMEM, -ETIMEDOUT, -ECANCELED, -EIO: none of them is there.
 */
int clone_make(struct sbx *s, const struct clone_order *o, const struct deadline *d,
	       struct buf *out, struct err *e);

/* At start, all being loaded: those that were on their way are to be destroyed. */
void clone_settle(void);

#endif
