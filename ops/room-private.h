/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/room-private.h - room on the disk, for those in ops/ who decide about it rather than ask for it */
#ifndef SBXFS_OPS_ROOM_PRIVATE_H
#define SBXFS_OPS_ROOM_PRIVATE_H

#include "base/deadline.h"
#include "ops/room.h"
#include "storage/volume.h"

/* The file system of the state directory, in bytes. */
struct room_space {
	uint64_t total, free, reserve; /* free: for anybody but root */
};

/* Return: 0; negative errno, and all is 0. */
int room_space(struct room_space *ret);
bool room_is_low(const struct room_space *space);

void room_ballast_init(void);
/* Remove the ballast when next to nothing is free, make it again when there is room. Any thread. */
void room_ballast_tend(void);
void room_ballast_done(void);

/* What act has to know of a look at a sandbox, and what the look learns of it. With the turn. */
struct room_news {
	unsigned said;  /* since the last call: a set of vm_said */
	unsigned tries; /* how often in a row it was let go on without its store having been full */
	struct volume_usage usage; /* now */
};

/**
 * room_news() - Take what was seen; from here on something new is queued again
 * @stands: its vCPUs stand because of the disk
 */
void room_news(struct sbx *s, bool stands, struct room_news *ret);

/**
 * room_grow() - See that there is room ahead of its guest, beyond the reserve; with the turn, its disk attached
 * Return: 0; -ENOSPC with how much is to be freed; -EIO, -EBADMSG its store is broken; -ETIMEDOUT, -ECANCELED.
 */
int room_grow(struct sbx *s, const struct deadline *d, struct err *e);

#endif
