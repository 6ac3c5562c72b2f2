/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/daemon.h - from options to a mount that answers, and back */
#ifndef SBXFS_FS_DAEMON_H
#define SBXFS_FS_DAEMON_H

#include <stdbool.h>

#include "ops/host.h"

struct daemon_options {
	struct host_options host;  /* mountpoint: as it was given */
	const char *mount_options; /* -o, NULL: none */
	bool foreground;
	bool takeover; /* the mount is another daemon's, and becomes this one's */
};

/**
 * daemon_main() - Run until the mount ends
 *
 * Without foreground it returns in the first process once the mount answers, or has failed to.
 * Return: exit status.
 */
int daemon_main(const struct daemon_options *given);

#endif
