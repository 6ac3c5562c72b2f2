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
/* The host's end alone, `[ADDRESS:]HOSTPORT[/tcp|/udp]`: guest_port is 0. Return: as above. */
int forward_parse_place(const char *text, struct forward *ret, struct err *e);

void forward_render(const struct forward *f,
		    struct buf *b); /* the text of one, without a newline */
/* Its end on the host for messages: "port 8080", "UDP port 53 of 127.0.0.1". */
void forward_render_place(const struct forward *f, struct buf *b);

/* Would both lead from the same port of the host? */
bool forward_clashes(const struct forward *a, const struct forward *b);
/* Do both lead from the same port of the same address, or both of all? */
bool forward_same_place(const struct forward *a, const struct forward *b);

#endif
