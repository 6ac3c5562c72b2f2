/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-count.c - how much has gone through links of other namespaces
 *
 * How it works: the kernel answers for a link of another namespace when that is named by the number that the own namespace
 * has for it. Both ends of a veth pair show that number of each other's. So one connection in the host's namespace asks for
 * all slots, one request each, and enters none; the number is remembered in the slot, and since numbers are given anew to
 * others the link has to say by its alias that it is the slot's. It is asked once a second for every guest, so each question is a send() and a recv()
 * and no more.
 */
#include "net/nl-count.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/name.h"
#include "net/nl-talk.h"
#include "net/space.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
enum {
	ANSWER_MAX = 16384, /* bytes; links of ours take 2,000 */
};

static struct nl_sock *sock; /* in the host's namespace; NULL: not open; guarded by lock */

/* What an answer says about a link. */
struct answer {
	char alias[ALIAS_SIZE];
	int id; /* of the namespace that its peer is in; -1: not told */
	struct rtnl_link_stats64 stats;
	bool has_stats;
};

static void on_link(struct nlmsghdr *h, void *arg)
{
	struct nlattr *a[IFLA_MAX + 1];
	struct answer *to = arg;

	if (h->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse(h, sizeof(struct ifinfomsg), a, IFLA_MAX, NULL) < 0)
		return;
	if (a[IFLA_IFALIAS])
		(void)nla_strlcpy(to->alias, a[IFLA_IFALIAS], sizeof(to->alias));
	if (a[IFLA_LINK_NETNSID])
		to->id = nla_get_s32(a[IFLA_LINK_NETNSID]);
	to->has_stats =
		a[IFLA_STATS64] && nla_memcpy(&to->stats, a[IFLA_STATS64], sizeof(to->stats)) > 0;
}

/* The kernel has queued its answer before send() returns: the link, or an error. */
static int exchange(struct nl_msg *msg, struct answer *ret)
{
	static uint32_t last; /* guarded by lock, as the other */
	static union {
		struct nlmsghdr head;
		char data[ANSWER_MAX];
	} back;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	int fd = nl_socket_get_fd(sock);
	ssize_t n;

	h->nlmsg_seq = ++last;
	if (send(fd, h, h->nlmsg_len, 0) < 0)
		return -errno;
	do {
		n = recv(fd, &back, sizeof(back), 0);
		if (n < 0)
			return -errno;
		if (!nlmsg_ok(&back.head, (int)n))
			return -EBADMSG;
	} while (back.head.nlmsg_seq != last);
	if (back.head.nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)nlmsg_data(&back.head))->error;
	on_link(&back.head, ret);
	return 0;
}

/* @id: the namespace; -1: the own. */
static int ask(int id, const char *link, struct answer *ret)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
	struct req r = req_begin(RTM_GETLINK, 0, &head, sizeof(head));

	int rc;

	*ret = (struct answer){.id = -1};
	req_put_text(&r, IFLA_IFNAME, link);
	if (id >= 0)
		req_put_u32(&r, IFLA_TARGET_NETNSID, (uint32_t)id);
	rc = r.failed ? -ENOMEM : exchange(r.msg, ret);
	if (r.msg)
		nlmsg_free(r.msg);
	return rc;
}

/* The alias of a slot's links; the instance is in the name of one. */
static bool is_of(const struct slot *s, const struct answer *a)
{
	char alias[ALIAS_SIZE];

	return strlen(s->link) > 3 + INSTANCE_LEN &&
	       strcmp(slot_alias(s->link + 3, s->serial, alias), a->alias) == 0;
}

static int ask_tap(struct slot *s, struct answer *ret)
{
	int rc = s->netns_id > 0 ? ask(s->netns_id - 1, SPACE_TAP, ret) : -ENODEV;

	if (rc == 0 && is_of(s, ret))
		return 0;
	rc = ask(-1, s->link, ret);
	if (rc == 0 && (!is_of(s, ret) || ret->id < 0))
		rc = -ENODEV;
	if (rc < 0)
		return rc;
	s->netns_id = ret->id + 1;
	rc = ask(s->netns_id - 1, SPACE_TAP, ret);
	return rc == 0 && !is_of(s, ret) ? -ENODEV : rc;
}

int count_open(struct err *e)
{
	int rc = 0;

	(void)pthread_mutex_lock(&lock); /* a plain mutex: cannot fail */
	if (!sock)
		rc = req_open(NETLINK_ROUTE, &sock, e);
	(void)pthread_mutex_unlock(&lock);
	return rc;
}

int count_slot(struct slot *s, struct slot_counters *ret, struct err *e)
{
	struct answer a;
	int rc = count_open(e);

	(void)pthread_mutex_lock(&lock); /* as above */
	if (rc == 0 && !sock)
		rc = err_set(e, EIO, "the network was not set up");
	if (rc == 0) {
		rc = ask_tap(s, &a);
		if (rc == 0 && !a.has_stats)
			rc = -ENOTSUP;
		if (rc < 0)
			rc = err_sys(e, -rc, "cannot count what goes through network slot %u",
				     s->index);
	}
	(void)pthread_mutex_unlock(&lock);
	/* What the tap sends is what the guest receives. */
	if (rc == 0)
		*ret = (struct slot_counters){.rx_bytes = a.stats.tx_bytes,
					      .rx_packets = a.stats.tx_packets,
					      .tx_bytes = a.stats.rx_bytes,
					      .tx_packets = a.stats.rx_packets};
	return rc;
}

void count_close(void)
{
	(void)pthread_mutex_lock(&lock); /* as above */
	nl_socket_free(sock);
	sock = NULL;
	(void)pthread_mutex_unlock(&lock);
}
