/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/leave.h - the loop's part in passing the mount on: what is finished first, what is kept for the next daemon
 *
 * All of it belongs to the loop thread.
 */
#ifndef SBXFS_FS_LEAVE_H
#define SBXFS_FS_LEAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuse_session;

/* The next daemon can ask at this socket; owned from now on. */
void leave_offer(int fd);

/* Descriptor to poll for that; -1: none. */
int leave_fd(void);

/* It is readable. */
void leave_accept(void);

/* A request was read. Return: true when it is kept for the next daemon rather than answered. */
bool leave_keep(const void *request, size_t len);

/* Milliseconds until leave_tick() has something to do; -1: nothing. */
int leave_left_ms(void);

/**
 * leave_tick() - Once nothing is under way any more, or it has taken too long and was cut short, pass the mount on
 * Context: between two requests.
 * Return: true: it is the next daemon's, and nothing may be answered any more.
 */
bool leave_tick(struct fuse_session *se);

#endif
