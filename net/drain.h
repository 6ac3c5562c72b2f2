/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/drain.h - a slot without connections: the new ones refused, the old ones waited for and cut */
#ifndef SBXFS_NET_DRAIN_H
#define SBXFS_NET_DRAIN_H

#include "base/deadline.h"
#include "base/err.h"
#include "net/slot.h"

struct net_side;

/* As slot_driver.drain() and undrain(). */
int drain_begin(const struct slot *s, const struct deadline *d, struct err *e);
int drain_undo(const struct slot *s, struct err *e);

/* The same within side_lock(). */
int drain_undo_locked(const struct slot *s, struct err *e);

#endif
