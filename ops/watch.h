/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/watch.h - one thread that notices when a VMM ends, and keeps console logs short */
#ifndef SBXFS_OPS_WATCH_H
#define SBXFS_OPS_WATCH_H

#include "base/err.h"
#include "ops/sbx.h"

int watch_init(struct err *e);
/* End the thread: it queues nothing any more. watch_remove() works until watch_done(). */
void watch_stop(void);
void watch_done(void);

/* Notice when this sandbox's VMM ends: a job for it is queued then. With the turn. */
void watch_add(struct sbx *s);
void watch_remove(struct sbx *s);

#endif
