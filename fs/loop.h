/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/loop.h - the one thread that answers the kernel; it never blocks */
#ifndef SBXFS_FS_LOOP_H
#define SBXFS_FS_LOOP_H

#include <stddef.h>

#include "fs/queue.h"

struct fuse_session;

/* Have the loop run it; any thread. */
void loop_post(struct post *p);

/* End the mount once what is pending is answered; any thread. */
void loop_stop(void);

/**
 * loop_new() - The session of a mount to be
 * @argc, @argv: libfuse's own arguments (mount options)
 * Return: NULL when libfuse refuses them; it has logged why.
 */
struct fuse_session *loop_new(int argc, char **argv);

/* How a loop ended. */
enum loop_end {
	LOOP_HANDED,    /* the next daemon has the mount */
	LOOP_STOPPED,   /* by loop_stop() */
	LOOP_UNMOUNTED, /* from outside */
	LOOP_FAILED,    /* /dev/fuse cannot be read */
};

/* A copy of the request that is being answered, as it was read; the caller frees it. NULL: no memory. */
void *loop_request(size_t *ret_len);

/**
 * loop_run() - Answer requests until the mount ends
 * @se: mounted
 * @ready: called when the kernel has been answered for the first time
 * @on_signal: called for each SIGINT, SIGTERM and SIGHUP, which must be blocked in every thread; must not block
 * Context: starts and ends the threads of fs/.
 */
enum loop_end loop_run(struct fuse_session *se, void (*ready)(void), void (*on_signal)(int sig));

/* After loop_run(): have the last commands end and forget them. */
void loop_drain(void);

#endif
