/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot.h - the agent as the guest's first process: from the initramfs to the user's root file system
 *
 * The host says what it wants on the kernel's command line:
 *   sbxfs.ip=ADDRESS/PREFIX sbxfs.gw=ADDRESS sbxfs.dns=ADDRESS sbxfs.host=NAME   the network
 *   sbxfs.root=/dev/vda     the root disk (default /dev/vda, ext4, read-write)
 *   sbxfs.init=agent        the agent stays process 1 (the default), or
 *   sbxfs.init=PATH         PATH of the image becomes process 1 and the agent goes on as its child
 */
#ifndef SBXFS_AGENT_BOOT_H
#define SBXFS_AGENT_BOOT_H

/**
 * boot_run() - Bring the guest up; called when getpid() is 1
 *
 * Loads /modules/order from the initramfs, mounts the root disk, /proc, /sys, /dev, /dev/pts, /dev/shm, /run, /tmp where
 * the image wants it, cgroup2, moves into it, sets the network and the host name.
 *
 * Return: 0 in the process that is the agent from now on (process 1 itself, or its child when the image's init was
 *         wanted). It does not return on failure: it says why on the console and powers the machine off.
 */
int boot_run(void);

/* Write one line to the console, for the host's eyes: "sbxfs-agent: TEXT". */
void boot_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * boot_poweroff() - Shut the guest down: process 1 is asked if it is not us, else processes are ended, file systems
 *                   synced and unmounted, and the machine is powered off
 */
void boot_poweroff(void);

#endif
