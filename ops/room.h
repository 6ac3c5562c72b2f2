/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/room.h - room on the host's disk: promised, kept ahead of guests, and what happens when there is none
 *
 * A store whose host disk is full loses data, so the daemon never lets it come to that: it keeps a reserve free and allocates ahead of
 * each guest; when the reserve is reached it stops guests before they can write on.
 */
#ifndef SBXFS_OPS_ROOM_H
#define SBXFS_OPS_ROOM_H

#include <stdint.h>

#include "base/err.h"
#include "ops/sbx.h"

/* The thread that looks at disks; started once the registry is loaded. room_stop() before lane_done(), room_done() after it. */
int room_init(struct err *e);
void room_stop(void);
void room_done(void);

/* A running sandbox's disk is looked at from now on / not any more: with the turn. After room_unwatch() no look is under way. */
void room_watch(struct sbx *s);
void room_unwatch(const struct sbx *s);

/**
 * room_promise() - Count a sandbox's disk as promised, replacing what was counted for it before
 * @s:     with the turn
 * @bytes: that its data may grow to; 0: it has none any more (always succeeds)
 * Return: 0; -ENOSPC beyond what disk_overcommit allows, or less than the reserve is free. Nothing has changed then.
 */
int room_promise(struct sbx *s, uint64_t bytes, struct err *e);

/* As it was before this daemon: counted without asking. At start. */
void room_promise_loaded(struct sbx *s, uint64_t bytes);

uint64_t room_promised_bytes(void);

/* Is there room for @bytes more beyond the reserve? Asked before copies. Return: 0; -ENOSPC with how much is missing. */
int room_check(uint64_t bytes, struct err *e);

/* What must stay free on the file system of the state directory. */
uint64_t room_reserve_bytes(void);

#endif
