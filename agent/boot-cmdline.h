/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-cmdline.h - what the host wants of a boot, from the kernel's command line */
#ifndef SBXFS_AGENT_BOOT_CMDLINE_H
#define SBXFS_AGENT_BOOT_CMDLINE_H

#include <netinet/in.h>
#include <stdbool.h>

#include "base/err.h"

enum {
	BOOT_HOST_SIZE = 64, /* of a host name with its NUL: sethostname() takes 64 bytes */
	BOOT_PATH_SIZE = 256,
};

struct boot_args {
	bool has_ip, has_gw, has_dns;
	struct in_addr ip, gw, dns;
	unsigned prefix; /* 0..32, of ip */
	char host[BOOT_HOST_SIZE];
	char root[BOOT_PATH_SIZE]; /* block device; "/dev/vda" unless said otherwise */
	char init[BOOT_PATH_SIZE]; /* "" when the agent stays process 1 */
};

/**
 * boot_cmdline_parse() - Read the sbxfs.* words of a kernel command line
 * @text:     as in /proc/cmdline; other words are passed over, the last of two with one key wins
 * @ret_args: filled in any case: what is not said has its default
 * Return: 0; -EINVAL for a value that cannot be used or an sbxfs. key that is not known.
 */
int boot_cmdline_parse(const char *text, struct boot_args *ret_args, struct err *e);

#endif
