/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns.h - the guests' resolver: asks the host's own name servers, and only for what a guest may ask
 *
 * One thread serves all slots. Each slot has a socket for UDP and one for TCP, bound to its gateway's address in its own
 * namespace, so a guest can only be itself. A name that its rules do not allow does not exist (NXDOMAIN; anything else is
 * asked again and again). The addresses of an allowed one are let through before the guest learns of them, but for private
 * and other closed ones: those are left out of the answer, unless a rule with a range opens them anyway. Where the policy
 * is to allow, everything is asked and nothing let through.
 */
#ifndef SBXFS_NET_DNS_H
#define SBXFS_NET_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct egress;

/**
 * dns_init() - Start the thread
 * @let: called in it before an answer is passed on, while no lock of the resolver is held: may send to these @count
 *       addresses for @ttl_sec seconds (their time to live, which is a day at most, and half a minute more), by the first
 *       of the slot's rules that has the name. The slot may be gone by then, or its rules be others. A failure makes the
 *       answer SERVFAIL. NULL: nothing is to be let through
 * Return: 0, also when it runs already; negative errno.
 */
int dns_init(int (*let)(uint32_t serial, const char *name, const uint32_t *addrs, size_t count,
			uint32_t ttl_sec, struct err *e),
	     struct err *e);
/* Close all. Not to be called with a lock held that @let takes: it is waited for. */
void dns_done(void);

/**
 * dns_open() - The two sockets of a slot; to be called in its namespace (space_run())
 * @addr: of its gateway, in host byte order; no link need have it yet
 * Return: 0; -EADDRINUSE another process serves it; another negative errno.
 */
int dns_open(uint32_t addr, int *ret_udp_fd, int *ret_tcp_fd, struct err *e);

/**
 * dns_add() - Serve a slot from now on
 * @serial: the slot's
 * @udp_fd, @tcp_fd: from dns_open(); owned from now on, also on failure
 * @waits: its rules are not known: questions wait in the kernel until dns_rules(). Otherwise the defaults hold until then
 * Return: 0; -EEXIST it is served; -EIO before dns_init(); another negative errno.
 */
int dns_add(uint32_t serial, int udp_fd, int tcp_fd, bool waits, struct err *e);

bool dns_serves(uint32_t serial);

/* From now on the slot may ask for what these rules allow; copied. NULL: the defaults. Return: 0; -ENOENT no such slot; -ENOMEM. */
int dns_rules(uint32_t serial, const struct egress *rules, struct err *e);

/* Another guest's from now on: no question, connection or rule of the one before. Return: 0; -ENOENT no such slot. */
int dns_reset(uint32_t serial, struct err *e);

/* No longer; closes its sockets before it returns, and never waits for @let. Content when there is none. */
void dns_remove(uint32_t serial);

#endif
