/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/reply.h - the last reply of each command file, for who reads it without having written
 *
 * Kept up to REPLY_KEPT_BYTES altogether; the ones not touched for longest go first. Any thread.
 */
#ifndef SBXFS_FS_REPLY_H
#define SBXFS_FS_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	REPLY_KEPT_BYTES = 32 << 20, /* thirty of the longest, or the short ones of a whole host */
};

/* Remember @text for the file with that st_ino; silently not when there is no memory. */
void reply_keep(uint64_t ino, const struct buf *text);

/* Append it. Nothing when there is none. */
void reply_add(uint64_t ino, struct buf *b);

size_t reply_size(uint64_t ino);
void reply_forget(uint64_t ino);

#endif
