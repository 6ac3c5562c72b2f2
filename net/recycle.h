/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/recycle.h - a slot as good as new, for another guest */
#ifndef SBXFS_NET_RECYCLE_H
#define SBXFS_NET_RECYCLE_H

#include "base/deadline.h"
#include "base/err.h"
#include "net/slot.h"

/* As slot_driver.recycle(); @driver: whose other functions take back what was asked of them. */
int recycle_slot(const struct slot_driver *driver, struct slot *s, const struct deadline *d,
		 struct err *e);

#endif
