/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/forward.h - a port of the host that leads to a guest: `[ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp]` */
#ifndef SBXFS_NET_FORWARD_H
#define SBXFS_NET_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	FORWARDS_MAX = 256, /* of one sandbox */
};

struct forward {
	uint32_t host_addr; /* of the host, in host byte order; 0: every one that it has */
	uint16_t host_port, guest_port;
	bool is_udp;
};

/* Return: 0 and @ret; -EINVAL. */
int forward_parse(const char *text, struct forward *ret, struct err *e);
void forward_render(const struct forward *f,
		    struct buf *b); /* the text of one, without a newline */

/* Would both lead from the same port of the host? */
bool forward_clashes(const struct forward *a, const struct forward *b);

#endif
