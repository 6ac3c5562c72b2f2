/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/resolve.c - the resolver in a slot's namespace
 *
 * How it works: a thread enters the namespace and opens two sockets there; the resolver's own thread is never in it. A
 * slot that is being made has them before it has its addresses, so that what fails here leaves nothing to be undone.
 */
#include "net/resolve.h"

#include <errno.h>

#include "base/log.h"
#include "net/dns.h"
#include "net/space.h"
#include "net/wire.h"

struct sockets {
	int udp_fd, tcp_fd;
};

static int open_inside(void *arg, struct err *e)
{
	struct sockets *s = arg;

	return dns_open(WIRE_GATEWAY, &s->udp_fd, &s->tcp_fd, e);
}

static int serve(const struct slot *s, int ns_fd, bool waits, struct err *e)
{
	struct sockets sockets = {-1, -1};
	int rc = space_run(ns_fd, open_inside, &sockets, e);

	if (rc == 0)
		rc = dns_add(s->serial, sockets.udp_fd, sockets.tcp_fd, waits, e);
	if (rc == -EEXIST && e)
		e->code = EADDRINUSE;
	return rc == -EEXIST ? -EADDRINUSE : rc;
}

int resolve_up(const struct slot *s, int ns_fd, struct err *e)
{
	return serve(s, ns_fd, false, e);
}

void resolve_again(const struct slot *s, int ns_fd)
{
	struct err e = {.code = 0};

	if (!dns_serves(s->serial) && serve(s, ns_fd, true, &e) < 0)
		log_warning("%s, ignoring: the guest in network slot %u cannot look up names",
			    e.text, s->index);
}
