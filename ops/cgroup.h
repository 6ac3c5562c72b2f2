/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/cgroup.h - a cgroup (v2) for each VMM, below the daemon's own
 *
 * It keeps what belongs to one sandbox together for those who look, and survives the daemon. Where no cgroup
 * can be made (no cgroup2 mount, no right to write there) VMMs run without.
 */
#ifndef SBXFS_OPS_CGROUP_H
#define SBXFS_OPS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	CGROUP_PATH_SIZE = 512,
};

/* Once: find where to make them, and remove empty ones that an earlier daemon left. */
void cgroup_init(const char *instance);
void cgroup_done(void);

/**
 * cgroup_add() - Make the cgroup of a sandbox
 * @path: its directory; "" when there can be none
 */
void cgroup_add(uint32_t serial, char path[CGROUP_PATH_SIZE]);

/* Remove the empty ones of serials that are not wanted. Return: their number. */
int cgroup_sweep(bool (*wanted)(uint32_t serial, void *arg));

/* Remove it once its processes have ended. Return: 0, also when there is none; -EBUSY something runs in it. */
int cgroup_remove(uint32_t serial, struct err *e);

#endif
