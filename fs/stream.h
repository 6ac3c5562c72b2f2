/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/stream.h - events and .events: reads that wait for the next line
 *
 * Loop thread only.
 */
#ifndef SBXFS_FS_STREAM_H
#define SBXFS_FS_STREAM_H

#include "fs/open.h"

/* The event number that an open stream begins at. */
uint64_t stream_begin(const struct open *o);

/* read(2): answer now, or when something comes. */
void stream_read(fuse_req_t req, struct open *o, size_t size, bool nonblock);

/* "since=SEQ" was written. Return: 0; -EINVAL. */
int stream_since(struct open *o, const char *text, size_t len);

/* poll() events. */
unsigned stream_poll(struct open *o);

/* There may be a line of this sandbox (0: the daemon's own), or it is gone: answer who waits. */
void stream_wake(uint32_t serial);

/* Answer EINTR to those whose reader got a signal; called after each request. */
void stream_tick(void);

/* The requests of all that wait, for the next daemon: they are not answered here. */
void stream_hand_over(struct buf *pending);

/* Answer EINTR to all that wait on this open; with NULL on every one. */
void stream_end(struct open *o);

#endif
