// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/main.c - the program inside the guest: options, the listening socket, the event loop
 *
 * How it works: one thread, one event loop, every request answered from it; other threads run only what blocks,
 * sync(2), the holding of file systems and the preparation for saved memory. As process 1 it brings the guest up first.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/freeze.h"
#include "agent/http.h"
#include "agent/prepare.h"
#include "agent/process.h"
#include "agent/system.h"
#include "agent/user.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/parse.h"

enum {
	HEADERS_MAX = 64 * 1024,
	INPUT_MAX = AGENT_BODY_MAX + HEADERS_MAX, /* read ahead on one connection */
	FILES_MAX = 65536,                        /* open files of the agent itself */
	BACKLOG = 128,
	DEAD_IDLE_S = 60, /* silence before a client is asked whether it lives ... */
	DEAD_INTERVAL_S = 15,
	DEAD_PROBES = 4, /* ... and answers not given before it counts as gone */
	OOM_NEVER = -1000,
};

struct options {
	const char *address;
	uint16_t port;
	bool may_set;
};

static void usage(FILE *to)
{
	(void)fputs(
		"usage: sbxfs-agent [-c] [-a ADDRESS] [-p PORT]\n"
		"  -a ADDRESS  listen there (default 0.0.0.0)\n"
		"  -p PORT     0 takes a free one (default 49983); it is printed as \"port N\"\n"
		"  -c          let /init set clock, names and resolver, and /snapshot/prepare drop caches\n"
		"  -V          print the version\n",
		to);
}

/* Return: 0; otherwise the program ends, with the exit status in @ret_status. */
static int parse_options(int argc, char **argv, struct options *o, int *ret_status)
{
	uint64_t port;
	int c;

	*ret_status = EXIT_SUCCESS;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) there is one thread yet */
	while ((c = getopt(argc, argv, "a:p:chV")) != -1) {
		switch (c) {
		case 'a':
			o->address = optarg;
			break;
		case 'p':
			if (parse_u64(optarg, 0, UINT16_MAX, &port)) {
				(void)fprintf(stderr, "sbxfs-agent: '%s' is no port\n", optarg);
				*ret_status = EXIT_FAILURE;
				return -EINVAL;
			}
			o->port = (uint16_t)port;
			break;
		case 'c':
			o->may_set = true;
			break;
		case 'V':
			(void)puts(SBXFS_VERSION);
			return -ECANCELED;
		case 'h':
			usage(stdout);
			return -ECANCELED;
		default:
			usage(stderr);
			*ret_status = EXIT_FAILURE;
			return -EINVAL;
		}
	}
	return 0;
}

/* What we open must not become 0, 1 or 2: a child would lose it there. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	fd_close(fd);
}

static void raise_file_limit(struct rlimit *ret_before)
{
	struct rlimit want;

	(void)getrlimit(RLIMIT_NOFILE, ret_before); /* valid arguments */
	want = *ret_before;
	if (want.rlim_max < FILES_MAX && geteuid() == 0)
		want.rlim_max = FILES_MAX;
	want.rlim_cur = want.rlim_max < FILES_MAX ? want.rlim_max : FILES_MAX;
	(void)setrlimit(RLIMIT_NOFILE, &want); /* else the agent serves fewer at a time */
}

/* When the guest runs out of memory its processes have to go, not the agent. */
static void protect_from_oom(void)
{
	AUTO_FD fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)dprintf(fd, "%d", OOM_NEVER); /* worth nothing without /proc */
}

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

/* Accepted connections inherit these. Keepalive finds clients that went without a word. */
static int set_options(int fd)
{
	return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
	       set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) ||
	       set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) ||
	       set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, DEAD_IDLE_S) ||
	       set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, DEAD_INTERVAL_S) ||
	       set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, DEAD_PROBES);
}

/* Listen on @o's address; its port is set to the one that was taken. */
static int listen_on(struct options *o, int *ret_fd, struct err *e)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(o->port)};
	struct sockaddr *sa = (struct sockaddr *)&addr;
	socklen_t len = sizeof(addr);
	AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (inet_pton(AF_INET, o->address, &addr.sin_addr) != 1)
		return err_set(e, EINVAL, "'%s' is no IPv4 address", o->address);
	if (fd < 0 || set_options(fd) || bind(fd, sa, len) || listen(fd, BACKLOG) ||
	    getsockname(fd, sa, &len))
		return err_sys(e, errno, "cannot listen on %s:%u", o->address, o->port);
	o->port = ntohs(addr.sin_port);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Bounds what a client can make us hold that sends more than its request. */
static struct bufferevent *make_connection(struct event_base *base, void *arg)
{
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	(void)arg;
	if (bev)
		bufferevent_setwatermark(bev, EV_READ, 0, INPUT_MAX);
	return bev;
}

static int serve(struct agent *a, int *listener, struct err *e)
{
	struct evhttp *http = evhttp_new(a->base);

	if (!http || evhttp_accept_socket(http, *listener))
		return err_set(e, ENOMEM, "the agent is out of memory");
	(void)steal_fd(listener);
	evhttp_set_max_headers_size(http, HEADERS_MAX);
	evhttp_set_max_body_size(http, AGENT_BODY_MAX);
	evhttp_set_timeout(http, AGENT_IDLE_S);
	evhttp_set_default_content_type(http, NULL);
	evhttp_set_bevcb(http, make_connection, NULL);
	evhttp_set_gencb(http, http_dispatch, a);
	return 0;
}

static int agent_open(struct agent *a, struct options *o, struct err *e)
{
	AUTO_FD listener = -1;

	raise_file_limit(&a->files);
	a->base = event_base_new();
	a->user = user_self();
	a->env = json_object_new_object();
	a->flusher = a->base ? system_flusher_new(a->base) : NULL;
	a->processes = a->base ? process_table_new(a) : NULL;
	a->freezer = a->base ? freezer_new(a->base) : NULL;
	a->preparer = a->base ? preparer_new(a) : NULL;
	if (!a->user || !a->env || !a->flusher || !a->freezer || !a->preparer || !a->processes)
		return err_set(e, ENOMEM, "the agent is out of memory");
	if (listen_on(o, &listener, e))
		return -e->code;
	return serve(a, &listener, e);
}

int main(int argc, char **argv)
{
	struct options o = {.address = "0.0.0.0", .port = AGENT_PORT};
	struct agent a = {0};
	struct err e = {0};
	int status;

	if (getpid() == 1) {
		a.is_system = boot_run() == 0;
		o.may_set = a.is_system;
	} else if (parse_options(argc, argv, &o, &status)) {
		return status;
	}
	fill_standard_fds();
	(void)signal(SIGPIPE, SIG_IGN); /* valid arguments */
	if (agent_open(&a, &o, &e)) {
		boot_say("%s", e.text);
		return EXIT_FAILURE;
	}
	a.may_set = o.may_set;
	if (a.is_system) {
		protect_from_oom();
		boot_say("ready");
	} else {
		(void)printf("port %u\n", o.port); /* nobody to tell if nobody reads it */
		(void)fflush(stdout);
	}
	return event_base_dispatch(a.base) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
