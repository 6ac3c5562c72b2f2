/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/notify.h - telling the kernel that something has changed
 *
 * The kernel may wait for a request that the loop has not answered yet before it takes a notification, so
 * they are sent from a thread of their own, never from a handler.
 */
#ifndef SBXFS_FS_NOTIFY_H
#define SBXFS_FS_NOTIFY_H

#include <fuse_lowlevel.h>
#include <stdint.h>

#include "fs/queue.h"

/* Return: 0; -EAGAIN. */
int notify_start(struct fuse_session *se);
void notify_stop(void);

/* Have the loop run @p once all that was told before has reached the kernel; from the loop. */
void notify_then(struct post *p);

/* Wake who polls; takes over what @ph points to and leaves NULL. */
void notify_poll(struct fuse_pollhandle **ph);

/* The attributes of a node are not what they were, or it is gone. */
void notify_inval(uint64_t id);

#endif
