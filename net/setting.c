/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/setting.c - files below /proc/sys/net, which are those of the calling thread's namespace */
#include "net/setting.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

enum {
	SETTING_PATH_SIZE = 128,
};

static int setting_open(const char *name, int flags, int *ret_fd, struct err *e)
{
	char path[SETTING_PATH_SIZE];
	int len = snprintf(path, sizeof(path), "/proc/sys/net/%s", name);

	if (len < 0 || (size_t)len >= sizeof(path))
		return err_set(e, ENAMETOOLONG, "the setting's name is too long: %s", name);
	*ret_fd = open(path, flags | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(e, errno, "cannot open %s", path) : 0;
}

int setting_write(const char *name, const char *value, struct err *e)
{
	AUTO_FD fd = -1;
	int rc = setting_open(name, O_WRONLY, &fd, e);

	if (rc < 0)
		return rc;
	if (write(fd, value, strlen(value)) < 0)
		return err_sys(e, errno, "cannot set /proc/sys/net/%s to %s", name, value);
	return 0;
}

int setting_write_optional(const char *name, const char *value, struct err *e)
{
	AUTO_FD fd = -1;

	if (setting_open(name, O_WRONLY, &fd, NULL) == -ENOENT)
		return 0;
	return setting_write(name, value, e);
}

int setting_read(const char *name, char *ret_first, struct err *e)
{
	AUTO_FD fd = -1;
	int rc = setting_open(name, O_RDONLY, &fd, e);

	if (rc < 0)
		return rc;
	if (read(fd, ret_first, 1) != 1)
		return err_set(e, EIO, "cannot read /proc/sys/net/%s", name);
	return 0;
}
