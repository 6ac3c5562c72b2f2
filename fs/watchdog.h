/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/watchdog.h - telling the service manager that the loop goes on (WatchdogSec= of the unit) */
#ifndef SBXFS_FS_WATCHDOG_H
#define SBXFS_FS_WATCHDOG_H

/* Does the service manager want to be told? Before watchdog_tick(); one thread. */
void watchdog_init(void);

/* Tell it, if it is time. Return: milliseconds until the next time; -1: nobody wants to know. */
int watchdog_tick(void);

#endif
