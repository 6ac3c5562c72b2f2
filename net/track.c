/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/track.c - the connections that pass a network namespace
 *
 * How it works: the kernel tells of changes only for connections that began when somebody listened already, so there is nothing
 * to wait for: the list is asked for again. It is that of one namespace, and short.
 */
#include "net/track.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/nl-talk.h"

struct track {
	struct nl_sock *sock;
};

enum {
	LIST_TRIES = 10, /* a list that changes meanwhile is begun again this often */
	TUPLE_MAX = 128, /* bytes; IPv4 has 52 */
	FILTER_IP_SRC =
		1, /* the kernel's CTA_FILTER_F_CTA_IP_SRC, which its headers for programs leave out */
};

int track_open(struct track **ret, struct err *e)
{
	AUTO_FREE struct track *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(e, ENOMEM, "no memory for a netlink connection");
	rc = req_open(NETLINK_NETFILTER, &t->sock, e);
	if (rc == 0)
		*ret = steal_ptr(&t);
	return rc;
}

void track_close(struct track *t)
{
	if (!t)
		return;
	nl_socket_free(t->sock);
	free(t);
}

static struct req begin(int what, int flags)
{
	struct nfgenmsg head = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};

	return req_begin(NFNL_SUBSYS_CTNETLINK << 8 | what, flags, &head, sizeof(head));
}

/* Return: is it TCP or UDP over IPv4, and @ret and @ret_protocol filled? */
static bool parse_way(struct nlattr *tuple, struct track_way *ret, uint8_t *ret_protocol)
{
	struct nlattr *a[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1], *proto[CTA_PROTO_MAX + 1];

	if (!tuple || nla_parse_nested(a, CTA_TUPLE_MAX, tuple, NULL) < 0 || !a[CTA_TUPLE_IP] ||
	    !a[CTA_TUPLE_PROTO] || nla_parse_nested(ip, CTA_IP_MAX, a[CTA_TUPLE_IP], NULL) < 0 ||
	    nla_parse_nested(proto, CTA_PROTO_MAX, a[CTA_TUPLE_PROTO], NULL) < 0)
		return false;
	if (!ip[CTA_IP_V4_SRC] || !ip[CTA_IP_V4_DST] || !proto[CTA_PROTO_NUM] ||
	    !proto[CTA_PROTO_SRC_PORT] || !proto[CTA_PROTO_DST_PORT])
		return false;
	*ret_protocol = nla_get_u8(proto[CTA_PROTO_NUM]);
	if (*ret_protocol != IPPROTO_TCP && *ret_protocol != IPPROTO_UDP)
		return false;
	*ret = (struct track_way){.from = ntohl(nla_get_u32(ip[CTA_IP_V4_SRC])),
				  .to = ntohl(nla_get_u32(ip[CTA_IP_V4_DST])),
				  .from_port = ntohs(nla_get_u16(proto[CTA_PROTO_SRC_PORT])),
				  .to_port = ntohs(nla_get_u16(proto[CTA_PROTO_DST_PORT]))};
	return true;
}

static bool lives(struct nlattr *info)
{
	struct nlattr *a[CTA_PROTOINFO_MAX + 1], *tcp[CTA_PROTOINFO_TCP_MAX + 1];

	if (!info || nla_parse_nested(a, CTA_PROTOINFO_MAX, info, NULL) < 0 ||
	    !a[CTA_PROTOINFO_TCP] ||
	    nla_parse_nested(tcp, CTA_PROTOINFO_TCP_MAX, a[CTA_PROTOINFO_TCP], NULL) < 0 ||
	    !tcp[CTA_PROTOINFO_TCP_STATE])
		return false;
	switch (nla_get_u8(tcp[CTA_PROTOINFO_TCP_STATE])) {
	case TCP_CONNTRACK_SYN_RECV:
	case TCP_CONNTRACK_ESTABLISHED:
	case TCP_CONNTRACK_FIN_WAIT:
	case TCP_CONNTRACK_CLOSE_WAIT:
	case TCP_CONNTRACK_LAST_ACK:
		return true;
	default:
		return false;
	}
}

struct list_arg {
	void (*fn)(const struct track_conn *c, void *arg);
	void *arg;
	bool all; /* of UDP as well, and in every state */
};

static void on_entry(struct nlmsghdr *h, void *arg)
{
	const struct list_arg *l = arg;
	struct nlattr *a[CTA_MAX + 1];
	struct track_conn c;

	if (nlmsg_parse(h, sizeof(struct nfgenmsg), a, CTA_MAX, NULL) < 0)
		return;
	if (parse_way(a[CTA_TUPLE_ORIG], &c.there, &c.protocol) &&
	    parse_way(a[CTA_TUPLE_REPLY], &c.back, &c.protocol) &&
	    (l->all || (c.protocol == IPPROTO_TCP && lives(a[CTA_PROTOINFO]))))
		l->fn(&c, l->arg);
}

int track_flows(struct track *t, void (*fn)(const struct track_conn *c, void *arg), void *arg,
		struct err *e)
{
	struct list_arg l = {.fn = fn, .arg = arg, .all = true};
	int rc = -EAGAIN;

	for (int i = 0; i < LIST_TRIES && rc == -EAGAIN; i++) {
		struct req r = begin(IPCTNL_MSG_CT_GET, NLM_F_DUMP);

		rc = req_run(t->sock, &r, on_entry, &l);
	}
	return rc < 0 ? err_sys(e, -rc, "cannot list the connections") : 0;
}

static void on_stats(struct nlmsghdr *h, void *arg)
{
	struct nlattr *a[CTA_STATS_GLOBAL_MAX + 1];

	if (nlmsg_parse(h, sizeof(struct nfgenmsg), a, CTA_STATS_GLOBAL_MAX, NULL) == 0 &&
	    a[CTA_STATS_GLOBAL_ENTRIES])
		*(uint32_t *)arg = ntohl(nla_get_u32(a[CTA_STATS_GLOBAL_ENTRIES]));
}

/* The list is looked for among those of all namespaces, which takes milliseconds; their number is known at once. */
static bool is_empty(struct track *t)
{
	struct req r = begin(IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK);
	uint32_t count = UINT32_MAX;

	return req_run(t->sock, &r, on_stats, &count) == 0 && count == 0;
}

static int list_result(int rc, struct err *e)
{
	if (rc == -EINVAL || rc == -EOPNOTSUPP)
		return err_set(e, ENOTSUP,
			       "the kernel does not tell of connections (is its module "
			       "nf_conntrack_netlink there?)");
	return rc < 0 ? err_sys(e, -rc, "cannot list the connections") : 0;
}

int track_list(struct track *t, void (*fn)(const struct track_conn *c, void *arg), void *arg,
	       struct err *e)
{
	struct list_arg l = {.fn = fn, .arg = arg};
	int rc = is_empty(t) ? 0 : -EAGAIN;

	for (int i = 0; i < LIST_TRIES && rc == -EAGAIN; i++) {
		struct req r = begin(IPCTNL_MSG_CT_GET, NLM_F_DUMP);

		rc = req_run(t->sock, &r, on_entry, &l);
	}
	return list_result(rc, e);
}

int track_delete(struct track *t, const struct track_conn *c, struct err *e)
{
	struct req r = begin(IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	const uint16_t from_port = htons(c->there.from_port), to_port = htons(c->there.to_port);
	struct nlattr *tuple = req_nest(&r, CTA_TUPLE_ORIG);
	struct nlattr *part = req_nest(&r, CTA_TUPLE_IP);
	int rc;

	req_put_addr(&r, CTA_IP_V4_SRC, c->there.from);
	req_put_addr(&r, CTA_IP_V4_DST, c->there.to);
	req_nest_end(&r, part);
	part = req_nest(&r, CTA_TUPLE_PROTO);
	req_put(&r, CTA_PROTO_NUM, &c->protocol, sizeof(c->protocol));
	req_put(&r, CTA_PROTO_SRC_PORT, &from_port, sizeof(from_port));
	req_put(&r, CTA_PROTO_DST_PORT, &to_port, sizeof(to_port));
	req_nest_end(&r, part);
	req_nest_end(&r, tuple);
	rc = req_run(t->sock, &r, NULL, NULL);
	return rc < 0 && rc != -ENOENT ? err_sys(e, -rc, "cannot forget a connection") : 0;
}

/* ---- all of a slot ---------------------------------------------------------------------------------------- */

/* What identifies an entry, as the kernel has told it. */
struct entry {
	uint8_t tuple[TUPLE_MAX]; /* of CTA_TUPLE_ORIG */
	size_t len;
	uint32_t id; /* in network byte order; 0: not told */
	uint16_t zone;
};

struct forget {
	const struct track_ends *ends;
	size_t count;
	struct entry *found; /* owned */
	size_t found_count, room;
	bool failed;
};

/* Where this way of it comes from; 0: not told. */
static uint32_t source_of(struct nlattr *tuple)
{
	struct nlattr *a[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1];

	if (!tuple || nla_parse_nested(a, CTA_TUPLE_MAX, tuple, NULL) < 0 || !a[CTA_TUPLE_IP] ||
	    nla_parse_nested(ip, CTA_IP_MAX, a[CTA_TUPLE_IP], NULL) < 0 || !ip[CTA_IP_V4_SRC])
		return 0;
	return ntohl(nla_get_u32(ip[CTA_IP_V4_SRC]));
}

static bool is_of(const struct forget *f, uint32_t from, uint32_t answers)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->ends[i].from == from || f->ends[i].to == answers)
			return true;
	return false;
}

static struct entry *entry_new(struct forget *f)
{
	if (f->found_count == f->room) {
		size_t room = f->room ? f->room * 2 : 64;
		void *found = reallocarray(f->found, room, sizeof(*f->found));

		f->failed = f->failed || !found;
		if (!found)
			return NULL;
		f->found = found;
		f->room = room;
	}
	return &f->found[f->found_count++];
}

static void on_any_entry(struct nlmsghdr *h, void *arg)
{
	struct nlattr *a[CTA_MAX + 1], *orig;
	struct forget *f = arg;
	struct entry *entry;

	if (nlmsg_parse(h, sizeof(struct nfgenmsg), a, CTA_MAX, NULL) < 0)
		return;
	orig = a[CTA_TUPLE_ORIG];
	if (!orig || nla_len(orig) > TUPLE_MAX ||
	    !is_of(f, source_of(orig), source_of(a[CTA_TUPLE_REPLY])))
		return;
	entry = entry_new(f);
	if (!entry)
		return;
	*entry = (struct entry){.len = (size_t)nla_len(orig)};
	memcpy(entry->tuple, nla_data(orig), entry->len);
	if (a[CTA_ID])
		entry->id = nla_get_u32(a[CTA_ID]);
	if (a[CTA_ZONE])
		entry->zone = nla_get_u16(a[CTA_ZONE]);
}

/* Ask the kernel for those of one address only; an older one tells of all, which are looked at here anyhow. */
static void put_filter(struct req *r, bool answers, uint32_t addr)
{
	struct nlattr *tuple = req_nest(r, answers ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG);
	struct nlattr *part = req_nest(r, CTA_TUPLE_IP);
	const uint32_t flag = FILTER_IP_SRC, none = 0;

	req_put_addr(r, CTA_IP_V4_SRC, addr);
	req_nest_end(r, part);
	req_nest_end(r, tuple);
	part = req_nest(r, CTA_FILTER);
	req_put(r, CTA_FILTER_ORIG_FLAGS, answers ? &none : &flag, sizeof(flag));
	req_put(r, CTA_FILTER_REPLY_FLAGS, answers ? &flag : &none, sizeof(flag));
	req_nest_end(r, part);
}

/* @addr: 0: all there are. */
static int find(struct track *t, bool answers, uint32_t addr, struct forget *f)
{
	int rc = -EAGAIN;

	for (int i = 0; i < LIST_TRIES && rc == -EAGAIN; i++) {
		struct req r = begin(IPCTNL_MSG_CT_GET, NLM_F_DUMP);

		if (addr)
			put_filter(&r, answers, addr);
		rc = req_run(t->sock, &r, on_any_entry, f);
	}
	return rc == 0 && f->failed ? -ENOMEM : rc;
}

static int forget_entry(struct track *t, const struct entry *entry)
{
	struct req r = begin(IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	int rc;

	req_put(&r, CTA_TUPLE_ORIG | NLA_F_NESTED, entry->tuple, entry->len);
	if (entry->id)
		req_put_u32(&r, CTA_ID, entry->id);
	if (entry->zone)
		req_put(&r, CTA_ZONE, &entry->zone, sizeof(entry->zone));
	rc = req_run(t->sock, &r, NULL, NULL);
	return rc == -ENOENT ? 0 : rc;
}

int track_forget(struct track *t, const struct track_ends *ends, size_t count, struct err *e)
{
	struct forget f = {.ends = ends, .count = count};
	int rc = 0;

	if (count == 0 || is_empty(t))
		return 0;
	if (count == 1) {
		rc = find(t, false, ends->from, &f);
		if (rc == 0)
			rc = find(t, true, ends->to, &f);
	} else {
		rc = find(t, false, 0, &f);
	}
	for (size_t i = 0; rc == 0 && i < f.found_count; i++)
		rc = forget_entry(t, &f.found[i]);
	free(f.found);
	return list_result(rc, e);
}

int track_flush(struct track *t, struct err *e)
{
	struct req r = begin(IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	int rc = req_run(t->sock, &r, NULL, NULL);

	if (rc < 0)
		return list_result(rc, e);
	return is_empty(t) ? 0
			   : err_set(e, EBUSY, "connections come as fast as they are forgotten");
}
