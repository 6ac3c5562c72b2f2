/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/limit.h - how many bytes a second go through a slot */
#ifndef SBXFS_NET_LIMIT_H
#define SBXFS_NET_LIMIT_H

#include "net/slot.h"

/* The driver's limit(). */
int limit_set(const struct slot *s, uint64_t bytes_per_sec, const struct deadline *d,
	      struct err *e);

#endif
