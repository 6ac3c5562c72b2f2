// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/uevent.c - waiting until devices come or go, by the kernel's own messages */
#include "storage/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "base/cleanup.h"

int uevent_open(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	AUTO_FD fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			    NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return steal_fd(&fd);
}

int uevent_wait(int fd, const struct deadline *d)
{
	struct deadline slice = deadline_within(d, UEVENT_RECHECK_MS);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	char message[256]; /* its text is of no interest, and may be cut */
	int r = deadline_poll(&slice, &poll_fd, 1);

	if (r == -ETIMEDOUT && deadline_left_ms(d) != 0)
		return 0;
	if (r < 0)
		return r;
	while (recv(fd, message, sizeof(message), MSG_TRUNC) >= 0)
		;
	return 0;
}
