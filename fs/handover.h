/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/handover.h - a live mount passed from one daemon to the next
 *
 * What goes over: the kernel's descriptor, the request that began the mount (the kernel never repeats it, and libfuse wants it first),
 * what each open file knows, and requests that were read and not answered: commands that had not begun, readers of streams that wait.
 * For who uses the mount nothing has happened but a moment's delay.
 */
#ifndef SBXFS_FS_HANDOVER_H
#define SBXFS_FS_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"

struct fuse_session;

/* What one daemon gives and the next one takes. */
struct handover {
	int fuse_fd;      /* of /dev/fuse; owned */
	int conn_fd;      /* to the other daemon; it ends with that one; owned */
	struct buf init;  /* the first request of the mount, as it was read */
	struct buf opens; /* of open files, see handover.c */
	bool lost; /* the daemon before ended without a word: what it had read is to be said again */
	struct buf pending; /* requests, each behind its length as a uint32_t */
	struct buf host;    /* what the next daemon has to fit: host_describe() */
};

/* clang-format off */
#define HANDOVER_NONE { .fuse_fd = -1, .conn_fd = -1, .init = BUF_INIT, .opens = BUF_INIT, .pending = BUF_INIT, .host = BUF_INIT }
/* clang-format on */

void handover_done(struct handover *h);

/* One request more that is to be answered by the next one. */
void handover_add(struct buf *pending, const void *request, size_t len);

/* Walk @pending: the one at @at, which moves on. Return: NULL at the end. */
const void *handover_next(const struct buf *pending, size_t *at, size_t *ret_len);

/**
 * handover_listen() - Where the next daemon asks for the mount
 * @path: of a socket that only this user can reach; what is there is removed
 * Return: 0 and @ret_fd; negative errno.
 */
int handover_listen(const char *path, int *ret_fd, struct err *e);

/* The daemon that asks; -1: there is none after all, or it is another user's. */
int handover_accept(int listen_fd);

/**
 * handover_give() - Pass all on and wait until it has arrived
 * @h: its conn_fd leads to the next daemon; the fuse_fd stays open here too
 * Return: 0: it is the next one's from now on; a negative errno: it is ours as before.
 */
int handover_give(const struct handover *h, struct err *e);

/**
 * handover_ask() - Take the mount from the daemon that has it
 * @path: of its socket
 * @d: for it to finish what it is doing
 * @fits: given its host_describe(); when that refuses, the mount stays with the daemon that has it
 * Return: 0 and @ret, with its end to be waited for at conn_fd; -ENOENT, -ECONNREFUSED there is none; what @fits refused with;
 *         -ETIMEDOUT; -EPROTO; -EIO.
 */
int handover_ask(const char *path, const struct deadline *d,
		 int (*fits)(const char *text, struct err *e), struct handover *ret, struct err *e);

/* Wait until the other daemon has let go of everything. Return: 0; -ETIMEDOUT. */
int handover_wait_end(struct handover *h, const struct deadline *d, struct err *e);

/* What all open files know, appended. */
void handover_save_opens(struct buf *b);

/* Make them again, once sandboxes and templates are known. Those that another version wrote begin anew when they are used. */
void handover_restore_opens(const struct buf *b);

/**
 * handover_attach() - Have a session go on with a mount
 * @h: borrowed for as long as the session lives; its fuse_fd is the session's own from now on
 * Return: 0; negative errno.
 */
int handover_attach(struct fuse_session *se, struct handover *h, struct err *e);

/* Does a request of this kind change anything? */
bool handover_changes(uint32_t opcode);

/* After what was handed over has been read: have the kernel say again what a daemon before had read and not answered. */
void handover_ask_again(void);

/**
 * handover_refuse() - Something that changes things and was said before: whether it was done nobody knows
 * Return: true when it was such a one; its sender got EINTR.
 */
bool handover_refuse(int fd, const void *request, size_t len);

/* Is there a request that was handed over and not read from the session yet? */
bool handover_has_more(void);

#endif
