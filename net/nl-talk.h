/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-talk.h - requests over netlink and their answers; for net/nl*.c and track.c alone */
#ifndef SBXFS_NET_NL_TALK_H
#define SBXFS_NET_NL_TALK_H

#include <netlink/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A request under construction; a failed append makes req_run() fail with -ENOMEM. */
struct req {
	struct nl_msg *msg;
	bool failed;
};

typedef void (*reply_fn)(struct nlmsghdr *h, void *arg);

/* A connection in the calling thread's namespace, to be given to nl_socket_free(). Return: 0; -ENOMEM; -EIO. */
int req_open(int protocol, struct nl_sock **ret, struct err *e);

/* @type and NLM_F_… as of the kernel; NLM_F_ACK or NLM_F_DUMP has to be among them. */
struct req req_begin(int type, int flags, void *head, size_t head_len);

void req_put(struct req *r, int attr, const void *data, size_t len);
void req_put_text(struct req *r, int attr, const char *text);
void req_put_u32(struct req *r, int attr, uint32_t value);
void req_put_addr(struct req *r, int attr, uint32_t addr); /* host byte order */

struct nlattr *req_nest(struct req *r, int attr);
void req_nest_end(struct req *r, struct nlattr *nest);

/**
 * req_run() - Send the request and take all of its answer
 * @reply: called for each message of the answer; NULL: none is wanted
 * Owner:  consumes @r.
 * Return: 0; the kernel's negative errno; -EAGAIN the list changed while it was dumped.
 */
int req_run(struct nl_sock *sock, struct req *r, reply_fn reply, void *arg);

#endif
