/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/disk-full.h - a guest whose disk lets it stand: it goes on when room can be made, else it is frozen
 *
 * A guest sees no error meanwhile: its VMM keeps the requests that failed, and repeats them when it goes on.
 */
#ifndef SBXFS_OPS_DISK_FULL_H
#define SBXFS_OPS_DISK_FULL_H

#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

/* Queue the seeing to it. Any thread. Return: as own_submit(). */
int disk_full_later(struct sbx *s, struct err *e);

/**
 * disk_full_shutdown() - Let a guest go on so that it can shut down, if it does not run
 * @s:      with the turn
 * @frozen: its vCPUs were stopped; else only the disk may have stopped them
 * Return: 0: its vCPUs run; -ENOSPC, -EIO, …: they cannot, and waiting for the guest is of no use.
 */
int disk_full_shutdown(struct sbx *s, bool frozen, const struct deadline *d, struct err *e);

/**
 * disk_full_adopt() - In recovery: what stands though nobody froze it goes on
 * @s: with the turn, its VM taken up
 *
 * A daemon that died may have left vCPUs stopped, or not seen that the disk stopped them. Without room it becomes
 * a frozen one: s->was_frozen, with exit_reason and last_error.
 * Return: 0; -EIO, -ETIMEDOUT the VMM does not obey.
 */
int disk_full_adopt(struct sbx *s, const struct deadline *d, struct err *e);

#endif
