/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/driver.h - the drivers, for slot.c and for tests of one of them */
#ifndef SBXFS_NET_DRIVER_H
#define SBXFS_NET_DRIVER_H

#include "net/slot.h"

/* The guest's own hardware address, the same in every slot: a saved memory image knows it. */
#define SLOT_GUEST_MAC "02:fc:00:00:00:05"

extern const struct slot_driver slot_netns; /* net/netns.c */
extern const struct slot_driver slot_user;  /* net/user.c */

#endif
