/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/track.h - the connections that pass a network namespace, as its connection tracking knows them */
#ifndef SBXFS_NET_TRACK_H
#define SBXFS_NET_TRACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct track;

/* In the calling thread's namespace, whatever thread uses it. Return: 0 and @ret; -EIO. track_close() takes NULL. */
int track_open(struct track **ret, struct err *e);
void track_close(struct track *t);

/* One way of a connection, as it comes in: before what is translated on its way out. Host byte order. */
struct track_way {
	uint32_t from, to;
	uint16_t from_port, to_port;
};

struct track_conn {
	struct track_way there, back; /* of who began it, and of the answers */
	uint8_t protocol;             /* IPPROTO_TCP or IPPROTO_UDP */
};

/**
 * track_list() - Call @fn for each TCP connection that has been answered and not ended yet
 * Return: 0; -ENOTSUP a kernel without it; another negative errno. One may be told of twice when the list changes meanwhile.
 */
int track_list(struct track *t, void (*fn)(const struct track_conn *c, void *arg), void *arg,
	       struct err *e);

/* Of a slot, as the host sees it: where its connections out come from, and who answers those into it. */
struct track_ends {
	uint32_t from, to;
};

/**
 * track_forget() - Forget every connection of any protocol from or to these slots
 * @ends: @count of them
 * Return: 0; -ENOTSUP as above; another negative errno.
 */
int track_forget(struct track *t, const struct track_ends *ends, size_t count, struct err *e);

/* Forget all there are. Return: 0, and there is none; -EBUSY there are new ones already; as above. */
int track_flush(struct track *t, struct err *e);

/* Forget it. Return: 0, also when it was gone; negative errno. */
int track_delete(struct track *t, const struct track_conn *c, struct err *e);

/* Call @fn for each connection of TCP and UDP, whatever its state; it must not use @t itself. Return: as of track_list(). */
int track_flows(struct track *t, void (*fn)(const struct track_conn *c, void *arg), void *arg,
		struct err *e);

#endif
