// SPDX-License-Identifier: GPL-2.0-or-later
/* net/table-watch.c - somebody who flushes all tables of the host takes ours too: it is put back at once
 *
 * How it works: the kernel tells of every change of the namespace's nftables. When a table has been deleted, whichever, or news
 * were lost, ours is looked for, and made anew with all that was in it. Until then, some milliseconds, guests are held by the rules in their
 * own namespaces alone.
 */
#include "net/table-watch.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/log.h"
#include "net/table.h"

enum {
	NEWS_BYTES = 16384,
	AGAIN_MS =
		1000, /* before a table that could not be made is tried again; then twice as long ... */
	AGAIN_MAX_MS = 30000, /* ... up to this */
	TABLE_GONE = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE,
};

static pthread_t thread;
static bool threaded; /* changed by whoever starts and stops the network */
static int news_fd = -1, stop_fd = -1;

/* Does one of the messages tell that a table is gone? */
static bool tells_gone(const char *news, size_t len)
{
	struct nlmsghdr m;

	for (size_t at = 0; at < len && len - at >= sizeof(m); at += (m.nlmsg_len + 3u) & ~3u) {
		memcpy(&m, news + at, sizeof(m));
		if (m.nlmsg_type == TABLE_GONE)
			return true;
		if (m.nlmsg_len < sizeof(m) || m.nlmsg_len >= len - at)
			return false;
	}
	return false;
}

/* Take all news there are. Return: may the table have gone? */
static bool read_news(void)
{
	char news[NEWS_BYTES];
	bool gone = false;

	for (;;) {
		ssize_t got = recv(news_fd, news, sizeof(news), 0);

		if (got > 0)
			gone |= tells_gone(news, (size_t)got);
		else if (got < 0 && errno == ENOBUFS)
			gone = true; /* some were lost */
		else if (got == 0 || errno != EINTR)
			return gone;
	}
}

/* Return: false when it is gone and cannot be made again now. */
static bool look(void)
{
	bool is_there = true;
	const struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};
	struct net_side *h = NULL;
	struct err e = {0};

	if (side_lock(&never, &h, NULL) < 0)
		return true; /* the network is not up, or no longer */
	if (!table_is_there(h)) {
		is_there = table_make(h, true, &e) == 0;
		if (!is_there)
			log_error(
				"net: somebody has removed the table sbxfs-%s, and it cannot be made "
				"again: %s",
				h->instance, e.text);
		else
			log_warning("net: somebody has removed the table sbxfs-%s: made it again",
				    h->instance);
	}
	side_unlock(h);
	return is_there;
}

static void *watch(void *arg)
{
	struct pollfd fds[] = {{.fd = stop_fd, .events = POLLIN},
			       {.fd = news_fd, .events = POLLIN}};

	int again_ms = -1; /* until it is tried again; -1: nothing is to be */

	(void)arg;
	while (!fds[0].revents) {
		int ready = poll(fds, 2, again_ms);

		if (ready < 0)
			continue; /* EINTR */
		if (ready > 0 && !(fds[1].revents && read_news()))
			continue;
		if (look())
			again_ms = -1;
		else
			again_ms = again_ms < 0 ? AGAIN_MS : MIN(2 * again_ms, AGAIN_MAX_MS);
	}
	return NULL;
}

int table_watch_start(struct err *e)
{
	const struct sockaddr_nl local = {.nl_family = AF_NETLINK};
	const int group = NFNLGRP_NFTABLES;
	AUTO_FD news = -1;
	AUTO_FD stop = -1;
	int rc;

	if (threaded)
		return 0;
	news = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	stop = eventfd(0, EFD_CLOEXEC);
	if (news < 0 || stop < 0 ||
	    bind(news, (const struct sockaddr *)&local, sizeof(local)) < 0 ||
	    setsockopt(news, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return err_sys(e, errno, "cannot watch the host's nftables");
	news_fd = news;
	stop_fd = stop;
	rc = pthread_create(&thread, NULL, watch, NULL);
	if (rc) {
		news_fd = stop_fd = -1;
		return err_sys(e, rc, "cannot start a thread for the host's nftables");
	}
	(void)steal_fd(&news);
	(void)steal_fd(&stop);
	threaded = true;
	return 0;
}

void table_watch_stop(void)
{
	const uint64_t one = 1;

	if (!threaded)
		return;
	(void)file_write_all(stop_fd, &one, sizeof(one)); /* an eventfd takes it */
	(void)pthread_join(thread, NULL);                 /* it was started, and only once */
	threaded = false;
	fd_close(steal_fd(&news_fd));
	fd_close(steal_fd(&stop_fd));
}
