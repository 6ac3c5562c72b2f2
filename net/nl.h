/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl.h - links, addresses, routes and neighbours through route netlink (nlr_: libnl has nl_)
 *
 * All IPv4 addresses are in host byte order. A connection stays in the namespace in which it was opened,
 * whatever thread uses it; one thread at a time.
 */
#ifndef SBXFS_NET_NL_H
#define SBXFS_NET_NL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"
#include "net/name.h"

struct nlr;

enum {
	MAC_LEN = 6,
};

/* Return: 0 and @ret, connected in the calling thread's namespace; -EIO. nlr_close() takes NULL. */
int nlr_open(struct nlr **ret, struct err *e);
void nlr_close(struct nlr *n);

struct nlr_link {
	int index;
	bool is_up;
	char name[SLOT_NAME_SIZE];
	char alias[ALIAS_SIZE]; /* "" for none; a longer one is cut */
};

/* One end of a veth pair; text borrowed. */
struct nlr_veth_end {
	const char *name;
	const uint8_t *mac; /* MAC_LEN bytes */
};

/**
 * nlr_veth_add() - A veth pair, both ends down
 * @here:    the end in the connection's namespace
 * @there:   the other, made in the namespace of @ns_fd at once
 * Return: 0; -EEXIST when a link has the name already; another negative errno.
 */
int nlr_veth_add(struct nlr *n, const struct nlr_veth_end *here, const struct nlr_veth_end *there,
		 int ns_fd, struct err *e);

/* Give a link its alias and, unless NULL, its hardware address, and take it up. */
int nlr_link_up(struct nlr *n, int index, const char *alias, const uint8_t *mac, struct err *e);

/* Return: 0 and @ret; -ENODEV when there is none of this name. */
int nlr_link_get(struct nlr *n, const char *name, struct nlr_link *ret, struct err *e);

/* Return: 0, also when it was gone. */
int nlr_link_delete(struct nlr *n, int index, struct err *e);

/* Call @fn for every link. Return: 0; negative errno. */
int nlr_links(struct nlr *n, void (*fn)(const struct nlr_link *link, void *arg), void *arg,
	      struct err *e);

int nlr_addr_add(struct nlr *n, int index, uint32_t addr, unsigned prefix, struct err *e);

/* Addresses and routes as dumped; what is asked for in a route to be made. */
struct nlr_route {
	uint32_t dst;
	unsigned prefix;
	uint32_t gateway;    /* 0: none */
	int index;           /* link; 0: none */
	uint32_t metric;     /* 0: none */
	bool is_unreachable; /* answers "no route" instead of leading anywhere */
};

/* Return: 0; -EEXIST when there is a route to the same destination with the same metric. */
int nlr_route_add(struct nlr *n, const struct nlr_route *r, struct err *e);
/* Return: 0, also when it was gone. */
int nlr_route_delete(struct nlr *n, const struct nlr_route *r, struct err *e);

/* Call @fn for every IPv4 route of every table but the broadcast ones, then for every address (as a route to its
 * network with no gateway). */
int nlr_routes(struct nlr *n, void (*fn)(const struct nlr_route *r, void *arg), void *arg,
	       struct err *e);

/* A neighbour that is never asked for. */
int nlr_neigh_add(struct nlr *n, int index, uint32_t addr, const uint8_t *mac, struct err *e);

/**
 * nlr_watch_open() - A descriptor that becomes readable when any link of the calling thread's namespace changes
 * Return: 0 and @ret_fd; -EIO.
 */
int nlr_watch_open(int *ret_fd, struct err *e);

/**
 * nlr_watch_gone() - Wait until there is no link @name
 * @watch_fd: from nlr_watch_open(), opened before the removal was begun
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EIO. Fills no error: the caller knows what it waited for.
 */
int nlr_watch_gone(int watch_fd, const char *name, const struct deadline *d);

#endif
