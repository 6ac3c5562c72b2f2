/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/freeze-mounts.h - the file systems on disks, to be held and let go */
#ifndef SBXFS_AGENT_FREEZE_MOUNTS_H
#define SBXFS_AGENT_FREEZE_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	FREEZE_MAX = 64, /* file systems */
};

/* Each file system once, in the order in which they were mounted. */
struct freeze_set {
	unsigned count;
	struct {
		dev_t dev;
		int fd; /* of its top; owned */
		bool held;
	} fs[FREEZE_MAX];
};

/**
 * freeze_find() - Open every writable file system that lies on a block device
 * Return: 0; -E2BIG more than FREEZE_MAX; -EIO. freeze_set_done() in any case.
 */
int freeze_find(struct freeze_set *ret, struct err *e);
void freeze_set_done(struct freeze_set *s);

/**
 * freeze_hold() - Flush them and hold all writes, those first that were mounted last: one may lie in a file on another
 * Context: blocks for as long as the flushing takes.
 * Return: 0; -ENOTSUP none of them can be held; -EBUSY somebody else holds one; -EPERM, …: none is held then.
 */
int freeze_hold(struct freeze_set *s, struct err *e);

/* Let them go in the other order. */
void freeze_let_go(struct freeze_set *s);

#endif
