/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/write.h - write(2): commands queued and answered later, input to consoles, where a stream begins
 *
 * Loop thread only.
 */
#ifndef SBXFS_FS_WRITE_H
#define SBXFS_FS_WRITE_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "ops/sbx.h"

/* FUSE operation. */
void write_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		 struct fuse_file_info *fi);

/**
 * write_tick() - Look at interrupted writers, cancel the commands of those who got one of the five signals
 * Return: milliseconds until it wants to be called again, -1: not before something else happens.
 */
int write_tick(void);

/* Cancel what is pending: at the end of the mount. @host_too: also .ctl, where `shutdown` may be written. */
void write_cancel_all(bool host_too, int why);

/* Is any write not answered yet? */
bool write_is_pending(void);

/* Who sent a request that is not answered yet. Any thread. */
void writer_of(fuse_req_t req, struct writer *ret);

#endif
