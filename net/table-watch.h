/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/table-watch.h - somebody who flushes all tables of the host takes ours too: it is put back at once */
#ifndef SBXFS_NET_TABLE_WATCH_H
#define SBXFS_NET_TABLE_WATCH_H

#include "base/err.h"

/**
 * table_watch_start() - Have a thread see to it that the table stays; a second call does nothing
 * Context: in the host's namespace, without the lock of side.h.
 * Return: 0; negative errno.
 */
int table_watch_start(struct err *e);

/* Before the table is removed on purpose; without the lock of side.h. Content when there is no thread. */
void table_watch_stop(void);

#endif
