/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-tc.c - how fast a link sends: a token bucket filter as its queueing discipline
 *
 * How it works: the bucket has what the link may send within 20 ms, so that the rate also holds over short times, and at least what
 * the largest packets of a guest need. What does not fit waits for a tenth of a second at most; beyond that it is lost,
 * which is what makes the senders slow down.
 */
#include "net/nl-tc.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "net/nl-talk.h"

enum {
	BURST_SHARE = 50, /* of a second's bytes that may go at once … */
	BURST_MIN = 16 * 1024,
	BURST_MAX = 16 * 1024 * 1024,
	WAIT_SHARE = 10,  /* … and that may wait */
	HANDLE = 0x10000, /* "1:" */
};

struct tc {
	struct nl_sock *sock;
};

int tc_open(struct tc **ret, struct err *e)
{
	AUTO_FREE struct tc *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(e, ENOMEM, "no memory for a netlink connection");
	rc = req_open(NETLINK_ROUTE, &t->sock, e);
	if (rc == 0)
		*ret = steal_ptr(&t);
	return rc;
}

void tc_close(struct tc *t)
{
	if (!t)
		return;
	nl_socket_free(t->sock);
	free(t);
}

static struct req begin(int type, int flags, unsigned link)
{
	struct tcmsg head = {.tcm_family = AF_UNSPEC,
			     .tcm_ifindex = (int)link,
			     .tcm_handle = type == RTM_NEWQDISC ? HANDLE : 0,
			     .tcm_parent = TC_H_ROOT};

	return req_begin(type, flags | NLM_F_ACK, &head, sizeof(head));
}

static int unlimited(struct tc *t, unsigned link, struct err *e)
{
	struct req r = begin(RTM_DELQDISC, 0, link);
	int rc = req_run(t->sock, &r, NULL, NULL);

	return rc < 0 && rc != -ENOENT && rc != -EINVAL
		       ? err_sys(e, -rc, "cannot take the limit from link %u", link)
		       : 0;
}

static uint32_t capped(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

int tc_limit(struct tc *t, unsigned link, uint64_t bytes_per_sec, struct err *e)
{
	uint64_t share = bytes_per_sec / BURST_SHARE;
	uint32_t burst = share < BURST_MIN   ? (uint32_t)BURST_MIN
			 : share > BURST_MAX ? (uint32_t)BURST_MAX
					     : (uint32_t)share;
	struct tc_tbf_qopt opt = {
		.rate = {.linklayer = TC_LINKLAYER_ETHERNET, .rate = capped(bytes_per_sec)},
		.limit = capped(bytes_per_sec / WAIT_SHARE + burst)};
	struct nlattr *options;
	struct req r;
	int rc;

	if (bytes_per_sec == 0)
		return unlimited(t, link, e);
	r = begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, link);
	req_put_text(&r, TCA_KIND, "tbf");
	options = req_nest(&r, TCA_OPTIONS);
	req_put(&r, TCA_TBF_PARMS, &opt, sizeof(opt));
	req_put_u32(&r, TCA_TBF_BURST, burst);
	if (bytes_per_sec >= UINT32_MAX)
		req_put(&r, TCA_TBF_RATE64, &bytes_per_sec, sizeof(bytes_per_sec));
	req_nest_end(&r, options);
	rc = req_run(t->sock, &r, NULL, NULL);
	if (rc == -ENOENT || rc == -EOPNOTSUPP)
		return err_set(e, ENOTSUP,
			       "the kernel cannot limit a link (is its module sch_tbf there?)");
	return rc < 0 ? err_sys(e, -rc, "cannot limit link %u", link) : 0;
}
