/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/mount.c - the mount point */
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/proc.h"

enum {
	MOUNTINFO_MAX = 16 << 20, /* bytes: a host with very many mounts */
	UNMOUNT_MS = 10000,       /* for fusermount3 to end */
	FUSE_CONF_MAX = 65536,
};

int mount_remove(const char *path, struct err *e)
{
	const char *const argv[] = {"fusermount3", "-u", "-z", "--", path, NULL};
	const struct deadline d = deadline_in(UNMOUNT_MS, -1);
	int status = 0, r;

	if (geteuid() == 0)
		return umount2(path, MNT_DETACH) < 0 ? err_sys(e, errno, "cannot unmount %s", path)
						     : 0;
	r = proc_run(argv, &d, &status, e);
	if (r == 0 && status != 0)
		r = err_set(e, EIO, "cannot unmount %s: fusermount3 says %s", path,
			    e && e->text[0] ? e->text : "no");
	return r;
}

/* mountinfo writes blank, tab, newline and backslash as \ooo. */
static void unescape_octal(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		unsigned char c = (unsigned char)*from;

		if (c == '\\' && from[1] && from[2] && from[3]) {
			c = (unsigned char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
					    (from[3] - '0'));
			from += 3;
		}
		*to++ = (char)c;
	}
	*to = '\0';
}

/* One line of mountinfo: ID PARENT DEVICE ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS. */
static bool is_sbxfs_at(char *line, const char *path)
{
	const char *type = strstr(line, " - fuse.sbxfs ");
	char *save = NULL, *point = strtok_r(line, " ", &save);

	for (int i = 0; point && i < 4; i++)
		point = strtok_r(NULL, " ", &save);
	if (!type || !point)
		return false;
	unescape_octal(point);
	return strcmp(point, path) == 0;
}

/* Return: 1 there is a mount of ours; 0; negative errno. */
static int look_for(const char *path, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	char *cursor, *line;
	int r = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, e);

	cursor = r == 0 ? text.data : NULL;
	while (cursor && r == 0 && (line = parse_line(&cursor)))
		r = is_sbxfs_at(line, path);
	return r;
}

int mount_find(const char *path, char **ret_path, struct err *e)
{
	/* As it is, if possible: nobody may be there yet to answer a look at it. */
	AUTO_FREE char *real = strdup(path);
	int r = real && path[0] == '/' ? look_for(path, e) : 0;

	if (r == 0) {
		free(real);
		real = realpath(path, NULL);
		r = real ? look_for(real, e) : err_sys(e, errno, "cannot look at %s", path);
	}
	if (r == 0)
		return err_set(e, ENOENT, "no sbxfs is mounted on %s", path);
	if (r < 0)
		return r;
	*ret_path = steal_ptr(&real);
	return 0;
}

int mount_prepare(const char *path, char **ret_path, struct err *e)
{
	AUTO_FREE char *real = NULL;
	struct statvfs fs;
	struct stat st;
	int r;

	/* The kernel may still know the attributes, and answer stat() for a daemon that has just died. */
	if (statvfs(path, &fs) < 0 && errno == ENOTCONN) {
		r = mount_remove(path, e);
		if (r < 0)
			return err_wrap(e, "a dead mount is in the way");
		log_info("removed the dead mount at %s", path);
	}
	real = realpath(path, NULL);
	if (!real || stat(real, &st) < 0)
		return err_sys(e, errno, "cannot mount on %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "cannot mount on %s: it is no directory", path);
	r = look_for(real, e);
	if (r > 0)
		r = err_set(
			e, EBUSY,
			"sbxfs is already mounted on %s; sbxfs --takeover takes it from its daemon",
			path);
	if (r == 0)
		*ret_path = steal_ptr(&real);
	return r;
}

/* May this user let others into the mount? */
static bool may_allow_other(void)
{
	AUTO_BUF text = BUF_INIT;
	char *cursor, *line;

	if (geteuid() == 0)
		return true;
	if (file_read(AT_FDCWD, "/etc/fuse.conf", FUSE_CONF_MAX, &text, NULL) < 0)
		return false;
	cursor = text.data;
	while (cursor && (line = parse_line(&cursor)))
		if (strcmp(line, "user_allow_other") == 0)
			return true;
	return false;
}

void mount_options(const char *wanted, struct buf *b)
{
	if (wanted && wanted[0])
		buf_addf(b, "%s,", wanted);
	if (may_allow_other())
		buf_adds(b, "allow_other,");
	buf_adds(b, "default_permissions,nosuid,nodev,fsname=sbxfs,subtype=sbxfs");
}
