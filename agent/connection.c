// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/connection.c - which connections wait for an answer, and cutting the others
 *
 * How it works: the library keeps its connections to itself and tells of requests alone. So those that are being answered are
 * kept in a list, and all there are is read from our own descriptors: every TCP socket of the agent that does not listen is
 * one. A socket is shut down rather than closed: the library finds it at its end and frees what belongs to it.
 */
#include "agent/connection.h"

#include <dirent.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/parse.h"

struct busy {
	LIST_ENTRY(busy) link;
	struct evhttp_connection *con;
	int fd; /* of the connection */
	void (*closed)(void *arg);
	void *arg;
};

LIST_HEAD(busy_list, busy);

static struct busy_list all = LIST_HEAD_INITIALIZER(all); /* one loop, one thread */

static int connection_fd(struct evhttp_connection *con)
{
	return bufferevent_getfd(evhttp_connection_get_bufferevent(con));
}

static void busy_free(struct busy *b)
{
	LIST_REMOVE(b, link);
	free(b);
}

static void answered(struct evhttp_request *req, void *arg)
{
	struct busy *b = arg;

	(void)req;
	evhttp_connection_set_closecb(b->con, NULL, NULL);
	busy_free(b);
}

static void closed(struct evhttp_connection *con, void *arg)
{
	struct busy *b = arg;

	(void)con;
	if (b->closed)
		b->closed(b->arg);
	busy_free(b);
}

void connection_begin(struct evhttp_request *req)
{
	struct busy *b = calloc(1, sizeof(*b));

	if (!b)
		return; /* it counts as idle then, no more */
	b->con = evhttp_request_get_connection(req);
	b->fd = connection_fd(b->con);
	LIST_INSERT_HEAD(&all, b, link);
	evhttp_connection_set_closecb(b->con, closed, b);
	evhttp_request_set_on_complete_cb(req, answered, b);
}

static struct busy *find(int fd)
{
	struct busy *b;

	LIST_FOREACH(b, &all, link)
	if (b->fd == fd)
		break;
	return b;
}

int connection_on_close(struct evhttp_request *req, void (*closed_cb)(void *arg), void *arg)
{
	struct busy *b = find(connection_fd(evhttp_request_get_connection(req)));

	if (!b)
		return -ENOMEM; /* there was none for it when the request came */
	b->closed = closed_cb;
	b->arg = arg;
	return 0;
}

/* ---- all of them --------------------------------------------------------------------------------- */

static bool is_client(int fd)
{
	int protocol = 0, listens = 0;
	socklen_t len = sizeof(protocol);

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       protocol == IPPROTO_TCP &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && !listens;
}

static void each_client(void (*end)(int fd, int but), int but)
{
	AUTO_DIR dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	uint64_t fd;

	/* Without /proc they end when keepalive finds them dead. */
	while (dir &&
	       (entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (parse_u64(entry->d_name, 0, INT_MAX, &fd) == 0 && is_client((int)fd))
			end((int)fd, but);
}

static void end_idle(int fd, int but)
{
	(void)but;
	if (!find(fd))
		(void)shutdown(fd, SHUT_RDWR); /* fails when it has ended */
}

void connection_end_idle(void)
{
	each_client(end_idle, -1);
}

/* The one way to have the kernel drop both queues at once and say so to whom it may still concern. */
static void cut(int fd, int but)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	if (fd != but)
		(void)connect(fd, &nobody, sizeof(nobody)); /* fails when it has ended */
}

void connection_cut_others(struct evhttp_request *req)
{
	each_client(cut, connection_fd(evhttp_request_get_connection(req)));
}
