/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-wait.c - wait for a device by the kernel's own events
 *
 * How it works: the kernel makes the node in devtmpfs before it sends the event, so whoever listens first
 * and looks afterwards misses nothing. What the events say does not matter: each is a reason to look again.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/boot-parts.h"
#include "base/cleanup.h"

enum { KERNEL_GROUP = 1 }; /* multicast group of the kernel's uevents; 2 is udev's */

int boot_uevents_open(int *ret_fd, struct err *e)
{
	const struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
	AUTO_FD fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			    NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0)
		return err_sys(e, errno, "cannot listen to device events");
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Throw away what is queued; an overrun (ENOBUFS) is told once and then forgotten by the kernel. */
static void drain(int fd)
{
	char event[4096];

	while (recv(fd, event, sizeof(event), MSG_DONTWAIT) >= 0 || errno == ENOBUFS ||
	       errno == EINTR)
		;
}

int boot_uevents_wait(int fd, bool (*there)(void *arg), void *arg, int ms)
{
	const int64_t end = now_ms() + ms;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = end - now_ms();

		if (there(arg))
			return 0;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		drain(fd);
	}
}
