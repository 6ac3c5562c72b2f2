/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/own.h - work that the daemon itself queues on a sandbox's lane */
#ifndef SBXFS_OPS_OWN_H
#define SBXFS_OPS_OWN_H

#include "base/err.h"
#include "ops/lane.h"
#include "ops/sbx.h"

/**
 * own_submit() - Queue @act to be run with the turn
 * @kind: a lifecycle one is kept whatever overtakes it: what it sees to would be forgotten otherwise
 * @act:  its failure is logged
 * Context: any thread.
 * Return: 0; -ENOENT it has been destroyed; -EAGAIN, -ENOMEM, …: it is not queued.
 */
int own_submit(struct sbx *s, enum job_kind kind, int (*act)(struct sbx *s, struct err *e),
	       struct err *e);

#endif
