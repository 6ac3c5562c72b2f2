/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl.c - links, addresses, routes and neighbours
 *
 * How it works: nl-talk.c carries what is put together here. Nothing waits for others except for the kernel's lock
 * over all links.
 */
#include "net/nl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/nl-talk.h"
#include "net/pool.h"

struct nlr {
	struct nl_sock *sock;
};

enum {
	DUMP_TRIES = 10, /* a dump that changes meanwhile is begun again this often */
};

int nlr_open(struct nlr **ret, struct err *e)
{
	AUTO_FREE struct nlr *n = calloc(1, sizeof(*n));
	int rc = 0;

	if (!n)
		return err_set(e, ENOMEM, "no memory for a netlink connection");
	rc = req_open(NETLINK_ROUTE, &n->sock, e);
	if (rc < 0)
		return rc;
	*ret = steal_ptr(&n);
	return 0;
}

void nlr_close(struct nlr *n)
{
	if (!n)
		return;
	nl_socket_free(n->sock);
	free(n);
}

/* Dump; @reply may see an entry twice, when the kernel's list changed and it is begun again. */
static int dump(struct nlr *n, int type, int family, reply_fn reply, void *arg)
{
	int rc = -EAGAIN;

	for (int i = 0; i < DUMP_TRIES && rc == -EAGAIN; i++) {
		/* Long enough for the head of any dump; zero means no filter. */
		union {
			struct ifinfomsg link;
			struct rtmsg route;
		} head = {.link.ifi_family = (unsigned char)family};
		size_t len = type == RTM_GETROUTE ? sizeof(head.route) : sizeof(head.link);
		struct req r = req_begin(type, NLM_F_DUMP, &head, len);

		rc = req_run(n->sock, &r, reply, arg);
	}
	return rc;
}

int nlr_veth_add(struct nlr *n, const struct nlr_veth_end *here, const struct nlr_veth_end *there,
		 int ns_fd, struct err *e)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
	struct req r =
		req_begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
	struct nlattr *info = NULL;
	struct nlattr *data = NULL;
	struct nlattr *peer = NULL;
	int rc = 0;

	req_put_text(&r, IFLA_IFNAME, here->name);
	req_put(&r, IFLA_ADDRESS, here->mac, MAC_LEN);
	info = req_nest(&r, IFLA_LINKINFO);
	req_put_text(&r, IFLA_INFO_KIND, "veth");
	data = req_nest(&r, IFLA_INFO_DATA);
	peer = req_nest(&r, VETH_INFO_PEER);
	if (!r.failed)
		r.failed = nlmsg_append(r.msg, &head, sizeof(head), NLMSG_ALIGNTO) < 0;
	req_put_text(&r, IFLA_IFNAME, there->name);
	req_put(&r, IFLA_ADDRESS, there->mac, MAC_LEN);
	req_put_u32(&r, IFLA_NET_NS_FD, (uint32_t)ns_fd);
	req_nest_end(&r, peer);
	req_nest_end(&r, data);
	req_nest_end(&r, info);
	rc = req_run(n->sock, &r, NULL, NULL);
	return rc < 0 ? err_sys(e, -rc, "cannot make the veth pair %s", here->name) : 0;
}

int nlr_link_up(struct nlr *n, int index, const char *alias, const uint8_t *mac, struct err *e)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC,
				 .ifi_index = index,
				 .ifi_flags = IFF_UP,
				 .ifi_change = IFF_UP};
	struct req r = req_begin(RTM_SETLINK, NLM_F_ACK, &head, sizeof(head));
	int rc = 0;

	/* An alias is no C string: the kernel keeps every byte it gets. */
	req_put(&r, IFLA_IFALIAS, alias, strlen(alias));
	if (mac)
		req_put(&r, IFLA_ADDRESS, mac, MAC_LEN);
	rc = req_run(n->sock, &r, NULL, NULL);
	return rc < 0 ? err_sys(e, -rc, "cannot take up the link of %s", alias) : 0;
}

static bool link_parse(struct nlmsghdr *h, struct nlr_link *ret)
{
	const struct ifinfomsg *info = nlmsg_data(h);
	struct nlattr *attrs[IFLA_MAX + 1];

	if (h->nlmsg_type != RTM_NEWLINK || info->ifi_family != AF_UNSPEC)
		return false;
	if (nlmsg_parse(h, sizeof(*info), attrs, IFLA_MAX, NULL) < 0 || !attrs[IFLA_IFNAME])
		return false;
	*ret = (struct nlr_link){.index = info->ifi_index, .is_up = info->ifi_flags & IFF_UP};
	(void)nla_strlcpy(ret->name, attrs[IFLA_IFNAME], sizeof(ret->name));
	if (attrs[IFLA_IFALIAS])
		(void)nla_strlcpy(ret->alias, attrs[IFLA_IFALIAS], sizeof(ret->alias));
	return true;
}

static void on_link_get(struct nlmsghdr *h, void *arg)
{
	struct nlr_link link;

	if (link_parse(h, &link))
		*(struct nlr_link *)arg = link;
}

int nlr_link_get(struct nlr *n, const char *name, struct nlr_link *ret, struct err *e)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
	struct nlr_link link = {.index = 0};
	struct req r = req_begin(RTM_GETLINK, NLM_F_ACK, &head, sizeof(head));
	int rc = 0;

	req_put_text(&r, IFLA_IFNAME, name);
	rc = req_run(n->sock, &r, on_link_get, &link);
	if (rc == 0 && link.index == 0)
		rc = -EIO;
	if (rc < 0)
		return err_sys(e, -rc, "cannot look up the link %s", name);
	*ret = link;
	return 0;
}

int nlr_link_delete(struct nlr *n, int index, struct err *e)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	struct req r = req_begin(RTM_DELLINK, NLM_F_ACK, &head, sizeof(head));
	int rc = req_run(n->sock, &r, NULL, NULL);

	return rc < 0 && rc != -ENODEV ? err_sys(e, -rc, "cannot delete link %d", index) : 0;
}

struct links_arg {
	void (*fn)(const struct nlr_link *link, void *arg);
	void *arg;
};

static void on_links(struct nlmsghdr *h, void *arg)
{
	const struct links_arg *a = arg;
	struct nlr_link link;

	if (link_parse(h, &link))
		a->fn(&link, a->arg);
}

int nlr_links(struct nlr *n, void (*fn)(const struct nlr_link *link, void *arg), void *arg,
	      struct err *e)
{
	struct links_arg a = {.fn = fn, .arg = arg};
	int rc = dump(n, RTM_GETLINK, AF_UNSPEC, on_links, &a);

	return rc < 0 ? err_sys(e, -rc, "cannot list the links") : 0;
}

int nlr_addr_add(struct nlr *n, int index, uint32_t addr, unsigned prefix, struct err *e)
{
	struct ifaddrmsg head = {.ifa_family = AF_INET,
				 .ifa_prefixlen = (unsigned char)prefix,
				 .ifa_index = (unsigned)index};
	struct req r =
		req_begin(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
	char text[SLOT_ADDR_SIZE];
	int rc = 0;

	req_put_addr(&r, IFA_LOCAL, addr);
	req_put_addr(&r, IFA_ADDRESS, addr);
	rc = req_run(n->sock, &r, NULL, NULL);
	return rc < 0 ? err_sys(e, -rc, "cannot add the address %s", addr_text(addr, text)) : 0;
}

/* Consumes nothing; the same message adds and deletes. */
static struct req route_req(int type, int flags, const struct nlr_route *r)
{
	struct rtmsg head = {.rtm_family = AF_INET,
			     .rtm_dst_len = (unsigned char)r->prefix,
			     .rtm_table = RT_TABLE_MAIN,
			     .rtm_protocol = RTPROT_STATIC,
			     .rtm_scope = RT_SCOPE_UNIVERSE,
			     .rtm_type = r->is_unreachable ? RTN_UNREACHABLE : RTN_UNICAST};
	struct req q = req_begin(type, flags | NLM_F_ACK, &head, sizeof(head));

	if (r->prefix)
		req_put_addr(&q, RTA_DST, r->dst);
	if (r->gateway)
		req_put_addr(&q, RTA_GATEWAY, r->gateway);
	if (r->index)
		req_put_u32(&q, RTA_OIF, (uint32_t)r->index);
	if (r->metric)
		req_put_u32(&q, RTA_PRIORITY, r->metric);
	return q;
}

int nlr_route_add(struct nlr *n, const struct nlr_route *r, struct err *e)
{
	struct req q = route_req(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r);
	int rc = req_run(n->sock, &q, NULL, NULL);
	char text[SLOT_ADDR_SIZE];

	return rc < 0 ? err_sys(e, -rc, "cannot add the route to %s/%u", addr_text(r->dst, text),
				r->prefix)
		      : 0;
}

int nlr_route_delete(struct nlr *n, const struct nlr_route *r, struct err *e)
{
	struct req q = route_req(RTM_DELROUTE, 0, r);
	int rc = req_run(n->sock, &q, NULL, NULL);
	char text[SLOT_ADDR_SIZE];

	if (rc == 0 || rc == -ESRCH)
		return 0;
	return err_sys(e, -rc, "cannot delete the route to %s/%u", addr_text(r->dst, text),
		       r->prefix);
}

struct routes_arg {
	void (*fn)(const struct nlr_route *r, void *arg);
	void *arg;
};

static uint32_t attr_addr(struct nlattr *attr)
{
	return attr ? ntohl(nla_get_u32(attr)) : 0;
}

static void on_route(struct nlmsghdr *h, void *arg)
{
	const struct routes_arg *a = arg;
	const struct rtmsg *m = nlmsg_data(h);
	struct nlattr *attrs[RTA_MAX + 1];
	struct nlr_route r = {.prefix = 0};

	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_family != AF_INET ||
	    m->rtm_type == RTN_BROADCAST || m->rtm_type == RTN_MULTICAST)
		return;
	if (nlmsg_parse(h, sizeof(*m), attrs, RTA_MAX, NULL) < 0)
		return;
	r.dst = attr_addr(attrs[RTA_DST]);
	r.prefix = m->rtm_dst_len;
	r.gateway = attr_addr(attrs[RTA_GATEWAY]);
	r.index = attrs[RTA_OIF] ? (int)nla_get_u32(attrs[RTA_OIF]) : 0;
	r.metric = attrs[RTA_PRIORITY] ? nla_get_u32(attrs[RTA_PRIORITY]) : 0;
	r.is_unreachable = m->rtm_type == RTN_UNREACHABLE;
	a->fn(&r, a->arg);
}

static void on_addr(struct nlmsghdr *h, void *arg)
{
	const struct routes_arg *a = arg;
	const struct ifaddrmsg *m = nlmsg_data(h);
	struct nlattr *attrs[IFA_MAX + 1];
	struct nlr_route r = {.prefix = 0};

	if (h->nlmsg_type != RTM_NEWADDR || m->ifa_family != AF_INET)
		return;
	if (nlmsg_parse(h, sizeof(*m), attrs, IFA_MAX, NULL) < 0)
		return;
	r.dst = attr_addr(attrs[IFA_ADDRESS]);
	r.prefix = m->ifa_prefixlen;
	r.index = (int)m->ifa_index;
	a->fn(&r, a->arg);
}

int nlr_routes(struct nlr *n, void (*fn)(const struct nlr_route *r, void *arg), void *arg,
	       struct err *e)
{
	struct routes_arg a = {.fn = fn, .arg = arg};
	int rc = dump(n, RTM_GETROUTE, AF_INET, on_route, &a);

	if (rc == 0)
		rc = dump(n, RTM_GETADDR, AF_INET, on_addr, &a);
	return rc < 0 ? err_sys(e, -rc, "cannot list the routes and addresses") : 0;
}

int nlr_neigh_add(struct nlr *n, int index, uint32_t addr, const uint8_t *mac, struct err *e)
{
	struct ndmsg head = {
		.ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
	struct req r = req_begin(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &head,
				 sizeof(head));
	char text[SLOT_ADDR_SIZE];
	int rc = 0;

	req_put_addr(&r, NDA_DST, addr);
	req_put(&r, NDA_LLADDR, mac, MAC_LEN);
	rc = req_run(n->sock, &r, NULL, NULL);
	return rc < 0 ? err_sys(e, -rc, "cannot add the neighbour %s", addr_text(addr, text)) : 0;
}

int nlr_watch_open(int *ret_fd, struct err *e)
{
	struct sockaddr_nl local = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	AUTO_FD fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&local, sizeof(local)) < 0)
		return err_sys(e, errno, "cannot watch the links");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int nlr_watch_gone(int watch_fd, const char *name, const struct deadline *d)
{
	char drop[4096];

	/* A message only wakes; the question is asked afresh, so that lost messages (ENOBUFS) do no harm. */
	for (;;) {
		struct pollfd p = {.fd = watch_fd, .events = POLLIN};
		ssize_t got = 0;
		int rc = 0;

		do
			got = recv(watch_fd, drop, sizeof(drop), MSG_TRUNC);
		while (got > 0 || (got < 0 && (errno == ENOBUFS || errno == EINTR)));
		if (if_nametoindex(name) == 0)
			return errno == ENODEV ? 0 : -EIO;
		rc = deadline_poll(d, &p, 1);
		if (rc < 0)
			return rc;
	}
}
