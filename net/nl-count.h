/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-count.h - how much has gone through links of other namespaces */
#ifndef SBXFS_NET_NL_COUNT_H
#define SBXFS_NET_NL_COUNT_H

#include "net/slot.h"

/* The driver's counters(): any thread; one at a time asks, and none waits for the lock of side.h. */
int count_slot(struct slot *s, struct slot_counters *ret, struct err *e);

/* Connect to the kernel, in the calling thread's namespace; at once, so that it costs no one later. Return: 0; -EIO. */
int count_open(struct err *e);

/* Close the connection to the kernel; the next count_slot() opens another. */
void count_close(void);

#endif
