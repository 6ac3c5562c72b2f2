/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/helper-slot.c - makes netns slots on command and plays the guest in them; for cases/slot-*.sh and drain.sh
 *
 * Commands come on stdin, a line each, and each is answered with one line, "ok …" or "err …". A guest is a
 * thread on the tap that answers ARP and ping; what it is told to send goes through the tap as well. With
 * arguments, one command is run and the exit status tells.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/driver.h"
#include "net/forward.h"
#include "net/pool.h"
#include "tests/vm/slot-command.h"
#include "tests/vm/slot-keep.h"
#include "tests/vm/slot-rules.h"

enum {
	WAIT_MS = 700,   /* for an answer that must not come, or must */
	UDP_PORT = 7001, /* the guest's own port */
	PING_ID = 0x5b5b,
};

static char instance[8] = "test";

static int cmd_probe(char **w)
{
	struct err e = {.code = 0};
	char why[128];

	(void)w;
	return slot_netns.probe(why, sizeof(why), &e) < 0 ? failed(&e) : answer("ok %s", why);
}

static int cmd_init(char **w)
{
	struct err e = {.code = 0};
	uint32_t total = 0;

	(void)snprintf(instance, sizeof(instance), "%s", w[1]);
	return slot_netns.init(instance, w[2] ? w[2] : "", &total, &e) < 0 ? failed(&e)
									   : answer("ok %u", total);
}

static int cmd_end(char **w)
{
	(void)w;
	slot_netns.done();
	return answer("ok");
}

static int cmd_up(char **w)
{
	struct deadline d = deadline_in(20000, -1);
	struct guest *g = guest_new();
	struct err e = {.code = 0};
	int64_t start = now_us();

	if (!g)
		return answer("err too many slots");
	if (slot_netns.up(number(w[1]), number(w[2]), &d, &g->slot, &e) < 0)
		return failed(&e);
	g->stop_fd = -1;
	g->heard_fd = -1;
	g->is_up = true;
	return answer("ok %lld %s %s", (long long)(now_us() - start), g->slot.host_ip,
		      g->slot.link);
}

static int cmd_down(char **w)
{
	struct deadline d = deadline_in(20000, -1);
	struct guest *g = guest_of(number(w[1]));
	struct err e = {.code = 0};
	int64_t start = 0;

	if (!g)
		return answer("err no such slot");
	guest_stop(g);
	start = now_us();
	if (slot_netns.down(&g->slot, &d, &e) < 0)
		return failed(&e);
	g->is_up = false;
	return answer("ok %lld", (long long)(now_us() - start));
}

/* What recovery does: nothing is known but the numbers of a record. */
static int cmd_forgotten(char **w)
{
	struct deadline d = deadline_in(20000, -1);
	struct slot s = {
		.index = number(w[1]), .serial = number(w[2]), .netns_fd = -1, .tap_fd = -1};
	struct err e = {.code = 0};

	return slot_netns.down(&s, &d, &e) < 0 ? failed(&e) : answer("ok");
}

static int cmd_alive(char **w)
{
	struct guest *g = guest_new();

	if (!g)
		return answer("err too many slots");
	g->slot = (struct slot){.index = number(w[1]), .serial = number(w[2])};
	if (!slot_netns.alive(&g->slot))
		return answer("err not alive");
	g->stop_fd = -1;
	g->heard_fd = -1;
	g->is_up = true;
	return answer("ok %s tap=%s", g->slot.host_ip, g->slot.tap_fd < 0 ? "no" : "yes");
}

static bool is_wanted(uint32_t serial, void *arg)
{
	for (char **w = arg; *w; w++)
		if (number(*w) == serial)
			return true;
	return false;
}

static int cmd_sweep(char **w)
{
	struct err e = {.code = 0};
	int rc = slot_netns.sweep(instance, is_wanted, w + 1, &e);

	return rc < 0 ? failed(&e) : answer("ok %d", rc);
}

static int cmd_guest(char **w)
{
	struct guest *g = guest_of(number(w[1]));

	if (!g || g->slot.tap_fd < 0)
		return answer("err no such slot, or no tap");
	g->stop_fd = eventfd(0, EFD_CLOEXEC);
	g->heard_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pthread_create(&g->thread, NULL, guest_thread, g))
		return answer("err no thread");
	return answer("ok");
}

/* guestns SERIAL PATH: the guest is the namespace there, whose eth0 is made. */
static int cmd_guestns(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct err e = {.code = 0};

	if (!g || g->slot.tap_fd < 0)
		return answer("err no such slot, or no tap");
	g->stop_fd = eventfd(0, EFD_CLOEXEC);
	g->heard_fd = -1;
	g->is_wired = true;
	g->wire.stop_fd = g->stop_fd;
	return wire_start(&g->wire, g->slot.tap_fd, w[2], &e) < 0 ? failed(&e) : answer("ok");
}

/* drain SERIAL MS, undrain SERIAL */
static int cmd_drain(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct deadline d = deadline_in(number(w[2]), -1);
	struct err e = {.code = 0};
	int64_t start = now_us();

	if (!g)
		return answer("err no such slot");
	return slot_netns.drain(&g->slot, &d, &e) < 0
		       ? failed(&e)
		       : answer("ok %lld", (long long)(now_us() - start));
}

static int cmd_undrain(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct err e = {.code = 0};

	if (!g)
		return answer("err no such slot");
	return slot_netns.undrain(&g->slot, &e) < 0 ? failed(&e) : answer("ok");
}

/* forward SERIAL [SPEC…] */
static int cmd_forward(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct deadline d = deadline_in(20000, -1);
	struct forward list[FORWARDS_MAX];
	struct err e = {.code = 0};
	size_t n = 0;

	if (!g)
		return answer("err no such slot");
	for (char **spec = w + 2; *spec; spec++)
		if (forward_parse(*spec, &list[n++], &e) < 0)
			return failed(&e);
	return slot_netns.forward(&g->slot, list, n, &d, &e) < 0 ? failed(&e) : answer("ok");
}

/* limit SERIAL BYTES */
static int cmd_limit(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct deadline d = deadline_in(20000, -1);
	struct err e = {.code = 0};

	if (!g)
		return answer("err no such slot");
	return slot_netns.limit(&g->slot, number(w[2]), &d, &e) < 0 ? failed(&e) : answer("ok");
}

/* counters SERIAL [TIMES]: bytes that the guest has received and sent, and how long a question takes in nanoseconds */
static int cmd_counters(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	int64_t times = w[2] ? number(w[2]) : 1, start = now_us();
	struct slot_counters c = {0};
	struct err e = {.code = 0};

	if (!g)
		return answer("err no such slot");
	for (int64_t i = 0; i < times; i++)
		if (slot_netns.counters(&g->slot, &c, &e) < 0)
			return failed(&e);
	return answer("ok %llu %llu %lld", (unsigned long long)c.rx_bytes,
		      (unsigned long long)c.tx_bytes,
		      (long long)((now_us() - start) * 1000 / times));
}

/* guestsend SERIAL ADDR [PORT]: a ping, or with a port a datagram; waits for what comes back. */
static int cmd_guestsend(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct icmphdr echo = {.type = ICMP_ECHO, .un.echo.id = htons(PING_ID)};
	struct udphdr udp = {.source = htons(UDP_PORT), .len = htons(sizeof(udp))};
	struct pollfd p = {.events = POLLIN};
	uint64_t drop = 0;
	uint32_t to = 0;

	if (!g || g->stop_fd < 0 || addr_parse(w[2], &to) < 0)
		return answer("err no such guest");
	p.fd = g->heard_fd;
	if (read(p.fd, &drop, sizeof(drop)) < 0 && errno != EAGAIN)
		return answer("err eventfd");
	echo.checksum = sum16(&echo, sizeof(echo));
	udp.dest = htons((uint16_t)number(w[3]));
	if (w[3])
		ip_send(g->slot.tap_fd, to, IPPROTO_UDP, &udp, sizeof(udp));
	else
		ip_send(g->slot.tap_fd, to, IPPROTO_ICMP, &echo, sizeof(echo));
	return poll(&p, 1, WAIT_MS) == 1 ? answer("ok %s", g->heard) : answer("err no answer");
}

/* send ADDR [PORT]: the same from the helper's own namespace. */
static int cmd_send(char **w)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(w[2]))};
	struct icmphdr echo = {.type = ICMP_ECHO};
	AUTO_FD fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, w[2] ? 0 : IPPROTO_ICMP);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char back[64] = "";
	int64_t start = now_us();
	ssize_t got = 0;

	if (fd < 0 || inet_pton(AF_INET, w[1], &to.sin_addr) != 1 ||
	    connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return answer("err %s", strerrordesc_np(errno));
	if (send(fd, &echo, sizeof(echo), 0) < 0)
		return answer("err %s", strerrordesc_np(errno));
	if (poll(&p, 1, WAIT_MS) != 1)
		return answer("err no answer");
	got = recv(fd, back, sizeof(back) - 1, 0);
	if (got < 0)
		return answer("err %s", strerrordesc_np(errno));
	return answer("ok %s %lld", w[2] ? back : "reply", (long long)(now_us() - start));
}

/* Answers come from the address that was asked: the message keeps it between the two. */
static void *listen_thread(void *arg)
{
	int fd = *(int *)arg;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control;
	struct sockaddr_in from;
	char text[64];

	for (;;) {
		struct iovec io = {.iov_base = text, .iov_len = sizeof(text)};
		struct msghdr m = {.msg_name = &from,
				   .msg_namelen = sizeof(from),
				   .msg_iov = &io,
				   .msg_iovlen = 1,
				   .msg_control = &control,
				   .msg_controllen = sizeof(control)};
		struct in_pktinfo info;

		if (recvmsg(fd, &m, 0) < 0)
			return NULL;
		memcpy(&info, CMSG_DATA(&control.head), sizeof(info));
		info.ipi_ifindex = 0;
		memcpy(CMSG_DATA(&control.head), &info, sizeof(info));
		(void)inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text)); /* has room */
		io.iov_len = strlen(text);
		(void)sendmsg(fd, &m, 0); /* no answer is what the test would see */
	}
}

/* listen PORT: answer each datagram with its sender's address, for as long as the helper lives. */
static int cmd_listen(char **w)
{
	static int fd; /* read by the thread */
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(w[1]))};
	pthread_t thread;
	int on = 1;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    pthread_create(&thread, NULL, listen_thread, &fd))
		return answer("err cannot listen");
	return answer("ok");
}

/* sendfrom PORT ADDR PORT: one datagram, without waiting for an answer. */
static int cmd_sendfrom(char **w)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(w[1]))};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(w[3]))};
	AUTO_FD fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || inet_pton(AF_INET, w[2], &to.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    sendto(fd, "late", 4, 0, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return answer("err %s", strerrordesc_np(errno));
	return answer("ok");
}

/* heard SERIAL: what the guest is sent within a moment. */
static int cmd_heard(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct pollfd p = {.events = POLLIN};
	uint64_t drop = 0;

	if (!g || g->stop_fd < 0)
		return answer("err no such guest");
	p.fd = g->heard_fd;
	if (poll(&p, 1, WAIT_MS) != 1 || read(p.fd, &drop, sizeof(drop)) < 0)
		return answer("err nothing");
	return answer("ok %s", g->heard);
}

static int cmd_blocked(char **w)
{
	char why[512] = "";

	(void)w;
	slot_netns.blocked(why, sizeof(why));
	return answer("ok %s", why);
}

static int cmd_fds(char **w)
{
	AUTO_DIR dir = opendir("/proc/self/fd");
	int n = 0;

	(void)w;
	while (dir && readdir(dir))
		n++;
	return answer("ok %d", n);
}

/* clang-format off */
static const struct {
	const char *name;
	int (*run)(char **words);
	int words; /* with the name, at least */
} commands[] = {
	{ "probe", cmd_probe, 1 },
	{ "init", cmd_init, 2 },
	{ "end", cmd_end, 1 },
	{ "up", cmd_up, 3 },
	{ "down", cmd_down, 2 },
	{ "forgotten", cmd_forgotten, 3 },
	{ "alive", cmd_alive, 3 },
	{ "sweep", cmd_sweep, 1 },
	{ "guest", cmd_guest, 2 },
	{ "guestns", cmd_guestns, 3 },
	{ "drain", cmd_drain, 3 },
	{ "undrain", cmd_undrain, 2 },
	{ "forward", cmd_forward, 2 },
	{ "limit", cmd_limit, 3 },
	{ "counters", cmd_counters, 2 },
	{ "guestsend", cmd_guestsend, 3 },
	{ "send", cmd_send, 2 },
	{ "listen", cmd_listen, 2 },
	{ "fds", cmd_fds, 1 },
	{ "egress", cmd_egress, 3 },
	{ "counted", cmd_counted, 3 },
	{ "countheld", cmd_countheld, 3 },
	{ "let", cmd_let, 5 },
	{ "lets", cmd_lets, 6 },
	{ "spoof", cmd_spoof, 5 },
	{ "lie", cmd_lie, 3 },
	{ "flood", cmd_flood, 4 },
	{ "floodend", cmd_floodend, 1 },
	{ "recycle", cmd_recycle, 2 },
	{ "sendfrom", cmd_sendfrom, 4 },
	{ "heard", cmd_heard, 2 },
	{ "keep", cmd_keep, 4 },
	{ "get", cmd_get, 1 },
	{ "release", cmd_release, 2 },
	{ "ready", cmd_ready, 2 },
	{ "counts", cmd_counts, 1 },
	{ "prune", cmd_prune, 1 },
	{ "keepend", cmd_keepend, 1 },
	{ "blocked", cmd_blocked, 1 },
};
/* clang-format on */

static int run(char **words, int count)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (count > 0 && strcmp(words[0], commands[i].name) == 0 &&
		    count >= commands[i].words)
			return commands[i].run(words);
	return answer("err not a command");
}

int main(int argc, char **argv)
{
	char line[1024];

	log_open(false);
	if (argc > 1)
		return run(argv + 1, argc - 1);
	while (fgets(line, sizeof(line), stdin)) {
		char *words[GUESTS_MAX + 2] = {NULL};
		char *cursor = NULL;
		int n = 0;

		for (char *w = strtok_r(line, " \n", &cursor); w && n <= GUESTS_MAX;
		     w = strtok_r(NULL, " \n", &cursor))
			words[n++] = w;
		(void)run(words, n); /* the answer says it */
	}
	return 0;
}
