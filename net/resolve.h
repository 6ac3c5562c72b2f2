/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/resolve.h - the resolver in a slot's namespace; who asks it and what it answers: dns.h */
#ifndef SBXFS_NET_RESOLVE_H
#define SBXFS_NET_RESOLVE_H

#include "base/err.h"
#include "net/slot.h"

/**
 * resolve_up() - Serve the guest of a slot, as the defaults say
 * @ns_fd: its namespace, borrowed; it need not have addresses yet
 * Return: 0, dns_remove() ends it; -EADDRINUSE a slot of this serial is served, or another process serves this one;
 *         another negative errno.
 */
int resolve_up(const struct slot *s, int ns_fd, struct err *e);

/* For a slot that was there before this process, or is served already: from when its rules are known, dns_rules(). What fails is logged: the slot is
 * of use without. */
void resolve_again(const struct slot *s, int ns_fd);

#endif
