/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/helper-slot-kill.c - dies at one moment of a slot's life; for cases/slot-pool.sh
 *
 *   helper-slot-kill INSTANCE NUMBER        makes a slot, gives it out, makes it new, gives it out again and takes all
 *                                           down; killed before its request NUMBER to the kernel; 0 when there are not so many
 *   helper-slot-kill INSTANCE 0 sweep       what the next daemon does: sweeps, and ends
 *
 * How it works: the calls by which requests go to the kernel (netlink, mounts, files in /run/netns) are counted here, before they are passed
 * on: what is defined in the program comes before the library's.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "net/driver.h"
#include "ops/host.h"
#include "ops/serial.h"
#include "ops/settings.h"
#include "ops/slots.h"

static atomic_int passed, fatal; /* which of them is not to be passed */

static void request(void)
{
	if (atomic_fetch_add(&passed, 1) + 1 == atomic_load(&fatal))
		(void)kill(getpid(), SIGKILL);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	request();
	return syscall(SYS_sendmsg, fd, msg, flags);
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, __CONST_SOCKADDR_ARG to,
	       socklen_t to_len)
{
	request();
	return syscall(SYS_sendto, fd, data, len, flags, to.__sockaddr__, to_len);
}

int mount(const char *from, const char *to, const char *type, unsigned long flags, const void *data)
{
	request();
	return (int)syscall(SYS_mount, from, to, type, flags, data);
}

int umount2(const char *path, int flags)
{
	request();
	return (int)syscall(SYS_umount2, path, flags);
}

int unlink(const char *path)
{
	request();
	return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static int fail(const char *what, const struct err *e)
{
	(void)fprintf(stderr, "%s: %s\n", what, e->text);
	return 1;
}

/* The only index there is, so that it need not rest, and the requests come in the same order each time. */
static int life(struct err *e)
{
	const struct deadline d = deadline_in(30000, -1);
	struct slots_counts c = {.ready = 0};
	struct slot s;

	slots_init(1, 0);
	settings.slots_ready = 1;
	if (slots_start(e) < 0)
		return -1;
	for (int i = 0; i < 30000 && c.ready == 0; i++) {
		(void)usleep(1000);
		slots_count(&c);
	}
	if (slots_get(&d, &s, e) < 0)
		return -1;
	slots_release(&s); /* it is made as good as new */
	settings.slots_ready = 0;
	if (slots_get(&d, &s, e) < 0)
		return -1;
	slots_release(&s); /* it goes */
	slots_stop();
	return 0;
}

int main(int argc, char **argv)
{
	struct err e = {.code = 0};
	uint32_t total = 0;
	int rc;

	log_open(false);
	if (argc < 3)
		return 2;
	atomic_store(&fatal, atoi(argv[2]));
	host.net = &slot_netns;
	(void)snprintf(host.instance, sizeof(host.instance), "%s", argv[1]);
	(void)snprintf(host.state_dir, sizeof(host.state_dir), ".");
	host.state_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (serial_init(&e) < 0 || slot_netns.init(argv[1], "", &total, &e) < 0)
		return fail("init", &e);
	slots_init(total, 0);
	rc = argc > 3 ? slots_sweep(&e) : life(&e);
	slot_netns.done();
	(void)close(host.state_fd);
	return rc < 0 ? fail("life", &e) : 0;
}
