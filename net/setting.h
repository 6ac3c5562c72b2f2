/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/setting.h - files below /proc/sys/net, which are those of the calling thread's namespace */
#ifndef SBXFS_NET_SETTING_H
#define SBXFS_NET_SETTING_H

#include "base/err.h"

int setting_write(const char *name, const char *value, struct err *e);
/* The same, but content when this kernel has no such setting. */
int setting_write_optional(const char *name, const char *value, struct err *e);

/* The first character of its value. Return: 0; negative errno. */
int setting_read(const char *name, char *ret_first, struct err *e);

#endif
