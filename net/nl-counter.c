/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-counter.c - the named counters of the nftables in slots' namespaces
 *
 * How it works: a connection to each namespace that was asked for, in a tree. One lock guards it and is held over a question,
 * which the kernel answers without a lock of its own. A connection is opened under the lock too, by the namespace's name: so once
 * that name is gone and counters_forget() has been called there is none, and none comes.
 */
#include "net/nl-counter.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/nl-talk.h"
#include "net/space.h"

enum {
	TRIES = 10, /* of a list that changes meanwhile */
	GROWTH = 32,
};

struct link {
	uint32_t serial;
	struct nl_sock *sock; /* owned */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *links; /* a tree of struct link; guarded by lock */

/* ---- connections --------------------------------------------------------------------------------- */

static int link_compare(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	return (x->serial > y->serial) - (x->serial < y->serial);
}

static int open_inside(void *arg, struct err *e)
{
	return req_open(NETLINK_NETFILTER, arg, e);
}

static int link_open(const struct slot *s, struct nl_sock **ret, struct err *e)
{
	AUTO_FREE struct link *l = calloc(1, sizeof(*l));
	AUTO_FD ns_fd = -1;
	int rc = l ? 0 : err_set(e, ENOMEM, "no memory to read counters");

	if (rc == 0)
		rc = space_open(s->link, &ns_fd, e);
	if (rc < 0 || !l)
		return rc;
	l->serial = s->serial;
	rc = space_run(ns_fd, open_inside, &l->sock, e);
	if (rc < 0)
		return rc;
	if (!tsearch(l, &links, link_compare)) {
		nl_socket_free(l->sock);
		return err_set(e, ENOMEM, "no memory to read counters");
	}
	*ret = l->sock;
	(void)steal_ptr(&l); /* the tree has it */
	return 0;
}

static int link_find(const struct slot *s, struct nl_sock **ret, struct err *e)
{
	struct link key = {.serial = s->serial};
	void *node = tfind(&key, &links, link_compare);

	if (!node)
		return link_open(s, ret, e);
	*ret = (*(struct link **)node)->sock;
	return 0;
}

void counters_forget(uint32_t serial)
{
	struct link key = {.serial = serial}, *l = NULL;
	void *node;

	(void)pthread_mutex_lock(&lock); /* a plain mutex: cannot fail */
	node = tfind(&key, &links, link_compare);
	if (node) {
		l = *(struct link **)node;
		(void)tdelete(l, &links, link_compare); /* it is there */
	}
	(void)pthread_mutex_unlock(&lock);
	if (l)
		nl_socket_free(l->sock);
	free(l);
}

/* ---- questions ----------------------------------------------------------------------------------- */

struct list {
	struct counters *to;
	bool failed;
};

static uint64_t number(struct nlattr *a)
{
	uint64_t n = 0;

	(void)nla_memcpy(&n, a, sizeof(n)); /* as much as there is */
	return be64toh(n);
}

static struct counter *counters_add(struct counters *c)
{
	void *more;

	if (c->count == c->room) {
		more = reallocarray(c->all, c->room + GROWTH, sizeof(*c->all));
		if (!more)
			return NULL;
		c->all = more;
		c->room += GROWTH;
	}
	c->all[c->count] = (struct counter){.packets = 0};
	return &c->all[c->count++];
}

static void on_object(struct nlmsghdr *h, void *arg)
{
	struct nlattr *a[NFTA_OBJ_MAX + 1], *data[NFTA_COUNTER_MAX + 1];
	struct list *list = arg;
	struct counter *c;

	if (nlmsg_parse(h, sizeof(struct nfgenmsg), a, NFTA_OBJ_MAX, NULL) < 0 ||
	    !a[NFTA_OBJ_NAME] || !a[NFTA_OBJ_DATA] ||
	    nla_parse_nested(data, NFTA_COUNTER_MAX, a[NFTA_OBJ_DATA], NULL) < 0)
		return;
	c = counters_add(list->to);
	list->failed = list->failed || !c;
	if (!c)
		return;
	(void)nla_strlcpy(c->name, a[NFTA_OBJ_NAME], sizeof(c->name)); /* ours are shorter */
	if (data[NFTA_COUNTER_PACKETS])
		c->packets = number(data[NFTA_COUNTER_PACKETS]);
	if (data[NFTA_COUNTER_BYTES])
		c->bytes = number(data[NFTA_COUNTER_BYTES]);
}

static int ask(struct nl_sock *sock, struct counters *ret)
{
	struct nfgenmsg head = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};
	struct list list = {.to = ret};
	struct req r = req_begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ, NLM_F_DUMP, &head,
				 sizeof(head));
	int rc;

	ret->count = 0;
	req_put_text(&r, NFTA_OBJ_TABLE, "sbxfs");
	req_put_u32(&r, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	rc = req_run(sock, &r, on_object, &list);
	return rc == 0 && list.failed ? -ENOMEM : rc;
}

static int counter_compare(const void *a, const void *b)
{
	const struct counter *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int counters_read(const struct slot *s, struct counters *ret, struct err *e)
{
	struct counters c = COUNTERS_NONE;
	struct nl_sock *sock = NULL;
	int rc;

	(void)pthread_mutex_lock(&lock); /* as above */
	rc = link_find(s, &sock, e);
	if (rc == 0) {
		rc = -EAGAIN;
		for (int i = 0; i < TRIES && rc == -EAGAIN; i++)
			rc = ask(sock, &c);
		if (rc < 0)
			rc = err_sys(e, -rc, "cannot read the counters of network slot %u",
				     s->index);
	}
	(void)pthread_mutex_unlock(&lock);
	if (rc < 0) {
		counters_done(&c);
		return rc;
	}
	if (c.count)
		qsort(c.all, c.count, sizeof(*c.all), counter_compare);
	*ret = c;
	return 0;
}

void counters_done(struct counters *c)
{
	free(c->all);
	*c = (struct counters)COUNTERS_NONE;
}

const struct counter *counters_find(const struct counters *c, const char *name)
{
	struct counter key = {.packets = 0};
	size_t len = strlen(name);

	if (!c->count || len >= sizeof(key.name))
		return NULL;
	memcpy(key.name, name, len + 1);
	return bsearch(&key, c->all, c->count, sizeof(*c->all), counter_compare);
}
