/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-tc.h - how fast a link sends */
#ifndef SBXFS_NET_NL_TC_H
#define SBXFS_NET_NL_TC_H

#include <stdint.h>

#include "base/err.h"

struct tc;

/* A connection in the calling thread's namespace. Return: 0 and @ret; -EIO. tc_close() takes NULL. */
int tc_open(struct tc **ret, struct err *e);
void tc_close(struct tc *t);

/**
 * tc_limit() - Have a link send no more than so much, in place of any limit that it has
 * @link: its index
 * @bytes_per_sec: 0: no limit
 * Return: 0; -ENOTSUP the kernel has no token bucket filter; another negative errno.
 */
int tc_limit(struct tc *t, unsigned link, uint64_t bytes_per_sec, struct err *e);

#endif
