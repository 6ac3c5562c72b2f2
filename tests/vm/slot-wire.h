/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/slot-wire.h - a guest with a whole network stack: a namespace, wired to a slot's tap; for slot-guest.h */
#ifndef SBXFS_TESTS_VM_SLOT_WIRE_H
#define SBXFS_TESTS_VM_SLOT_WIRE_H

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "net/space.h"

enum {
	WIRE_FRAME_MAX = 65536,
};

struct wire {
	int end[2]; /* the slot's tap, and that of the namespace */
	int stop_fd;
	pthread_t thread;
	char frame[WIRE_FRAME_MAX]; /* on its way */
};

/* In the namespace: a tap eth0 of the same kind as the slot's. */
static inline int wire_tap(void *arg, struct err *e)
{
	struct ifreq req = {.ifr_name = "eth0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int *fd = arg;

	*fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return *fd < 0 || ioctl(*fd, TUNSETIFF, &req) < 0 ? err_sys(e, errno, "cannot make a tap")
							  : 0;
}

static inline void *wire_thread(void *arg)
{
	struct wire *w = arg;

	for (;;) {
		struct pollfd p[] = {{.fd = w->end[0], .events = POLLIN},
				     {.fd = w->end[1], .events = POLLIN},
				     {.fd = w->stop_fd, .events = POLLIN}};

		if (poll(p, 3, -1) < 0 || p[2].revents)
			return NULL;
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(w->end[i], w->frame, sizeof(w->frame)) : 0;

			/* A link that is down takes none: frames get lost. */
			if (n > 0 && write(w->end[!i], w->frame, (size_t)n) < 0)
				continue;
		}
	}
}

/* Wire @tap_fd to a new link eth0 of the namespace at @path, until @stop_fd becomes readable. */
static inline int wire_start(struct wire *w, int tap_fd, const char *path, struct err *e)
{
	AUTO_FD ns_fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (ns_fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	rc = space_run(ns_fd, wire_tap, &w->end[1], e);
	if (rc < 0)
		return rc;
	w->end[0] = tap_fd;
	rc = pthread_create(&w->thread, NULL, wire_thread, w);
	return rc ? err_sys(e, rc, "no thread") : 0;
}

static inline void wire_stop(struct wire *w)
{
	(void)pthread_join(w->thread, NULL); /* it is ours and joined once */
	fd_close(w->end[1]);
}

#endif
