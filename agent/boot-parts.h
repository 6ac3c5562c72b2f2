/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-parts.h - what the boot-*.c files share; not for the rest of the agent */
#ifndef SBXFS_AGENT_BOOT_PARTS_H
#define SBXFS_AGENT_BOOT_PARTS_H

#include <stdbool.h>

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

/* Sync and power the machine off at once, whatever still runs. */
void boot_halt(void) __attribute__((noreturn));

#endif
