/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/space.h - the network namespace of a slot, and its name below /run/netns */
#ifndef SBXFS_NET_SPACE_H
#define SBXFS_NET_SPACE_H

#include <stdbool.h>

#include "base/err.h"
#include "net/name.h"

#define SPACE_TAP  "tap0" /* the guest's side */
#define SPACE_LINK "eth0" /* the host's side */

struct nlr;
struct nft_ctx;

/* A namespace and connections into it, usable from any thread; all owned. */
struct space {
	int ns_fd;
	int tap_fd; /* of SPACE_TAP; -1: none */
	struct nlr *nl;
	struct nft_ctx *nft;
};

#define SPACE_NONE                                                                                 \
	{                                                                                          \
		.ns_fd = -1, .tap_fd = -1                                                          \
	}

/* A new namespace with forwarding on, IPv6 off, SPACE_TAP and nothing else. It has no name, so it goes with its
 * descriptors. */
int space_make(struct space *ret, struct err *e);

/**
 * space_enter() - Connections into a namespace that was made before
 * @ns_fd: borrowed; @ret has one of its own
 * @alias: what SPACE_LINK must say about itself
 * Return: 0, with tap_fd -1 when another process has it; -ENODEV when it is not that slot's, or not complete.
 */
int space_enter(int ns_fd, const char *alias, struct space *ret, struct err *e);

/* In the calling thread's namespace, as in space_run(): open SPACE_TAP, which is made if there is none. -EBUSY: somebody else has it. */
int space_tap_open(int *ret_fd, struct err *e);

/**
 * space_tap_remove() - Remove SPACE_TAP with all that hangs on it: queue, filters, offloads, limits, counters
 * @fd: of it; -1: not open; closed and -1 afterwards
 * Context: as above; waits for the kernel, some 10 ms.
 * Return: 0, also when there was none; -EBUSY: somebody else has it.
 */
int space_tap_remove(int *fd, struct err *e);

/* Call @fn in a thread that is in the namespace: what it opens there works there, in any thread. Return: what @fn returned; negative errno. */
int space_run(int ns_fd, int (*fn)(void *arg, struct err *e), void *arg, struct err *e);

/* Closes what is open; takes SPACE_NONE. */
void space_done(struct space *s);

/**
 * space_dir_lock() - Make NETNS_DIR what `ip netns` needs and lock it against other programs that do the same
 * Return: 0 and @ret_fd, closing it unlocks; -EIO.
 */
int space_dir_lock(int *ret_fd, struct err *e);

/* Give the namespace a name, with which it outlives the process. A failed call leaves no name. -EEXIST: taken. */
int space_mount(const char *name, int ns_fd, struct err *e);

/* Open the namespace of this name. Return: 0 and @ret_fd; -ENOENT; -ESTALE when the file is no namespace. */
int space_open(const char *name, int *ret_fd, struct err *e);

/* Take the name away. Return: 0, also when there was none; -EIO. */
int space_unmount(const char *name, struct err *e);

/* Call @fn for every name in the directory. Return: 0, also when there is no directory; negative errno. */
int space_names(void (*fn)(const char *name, void *arg), void *arg, struct err *e);

/* Does @name stand for the namespace of the slot with this alias, or for nothing at all (an empty file)? */
bool space_is_ours(const char *name, const char *alias);

#endif
