/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-parts.h - what the boot-*.c files share; not for the rest of the agent */
#ifndef SBXFS_AGENT_BOOT_PARTS_H
#define SBXFS_AGENT_BOOT_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/boot-cmdline.h"
#include "base/err.h"

/**
 * boot_uevents_open() - Listen to the kernel's device events; before the drivers are loaded
 * @ret_fd: a netlink socket, the caller's; on success only
 * Return: 0; negative errno.
 */
int boot_uevents_open(int *ret_fd, struct err *e);

/**
 * boot_uevents_wait() - Wait until a question is answered with yes, asking again at each device event
 * @fd:    from boot_uevents_open()
 * @there: the question
 * @arg:   for @there
 * @ms:    at most this long
 * Return: 0; -ETIMEDOUT; another negative errno of poll().
 */
int boot_uevents_wait(int fd, bool (*there)(void *arg), void *arg, int ms);

/**
 * boot_net_up() - Bring up lo, and the first other link with the address and route that were asked for
 * @uevents: from boot_uevents_open(), to wait for the link
 * Return: 0; -ENODEV no link came; another negative errno.
 */
int boot_net_up(const struct boot_args *a, int uevents, struct err *e);

/**
 * boot_etc_write() - Host name, /etc/hosts and /etc/resolv.conf of the root file system
 *
 * A file that cannot be written (a full disk, say) is named on the console and passed over.
 */
void boot_etc_write(const struct boot_args *a);

/* /etc/machine-id, and /var/lib/dbus/machine-id where that is a file of its own. Failures as above; a root that is read-only is none. */
void boot_etc_machine_id(const char *id);

/* Sync and power the machine off at once, whatever still runs. */
void boot_halt(void) __attribute__((noreturn));

/* boot-grow.c */

/* The kernel would fill the unused inode tables in the background, in every sandbox's own copy. */
#define BOOT_ROOT_OPTIONS "noinit_itable"

/* A root file system on its way to the size of its disk. */
struct boot_grow {
	int fd;          /* of its top */
	uint64_t blocks; /* that it is to have; 0: it stays as it is */
	pthread_t thread;
	bool threaded;
};

/* The blocks that there is room for on @device, before it is mounted, if its ext4 has fewer; else 0. */
uint64_t boot_grow_wanted(const char *device);

/* Grow the one mounted at @path, with no options; end() waits for that and mounts it, "/" by then, with BOOT_ROOT_OPTIONS. */
void boot_grow_begin(struct boot_grow *g, const char *path);
void boot_grow_end(const struct boot_grow *g);

#endif
