/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/asuser.c - the file-system identity of one thread, changed for one open
 *
 * How it works: fsuid, fsgid and the groups are per thread in the kernel; the raw system calls are used
 * because the C library's setgroups() would change every thread. Leaving fsuid 0 drops the capabilities that override
 * file permissions, and coming back restores them.
 */
#include "ops/asuser.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ops/host.h"

enum {
	OWN_GROUPS_MAX = 1024,
};

struct identity {
	gid_t groups[OWN_GROUPS_MAX];
	int group_count;
};

static int take_identity(const struct writer *w, struct identity *old, struct err *e)
{
	old->group_count = getgroups(OWN_GROUPS_MAX, old->groups);
	if (old->group_count < 0 || syscall(SYS_setgroups, w->group_count, w->groups) < 0)
		return err_sys(e, errno, "cannot take on the groups of uid %u", w->uid);
	(void)setfsgid(
		w->gid); /* both answer the old id, never an error: the open itself will tell */
	(void)setfsuid(w->uid);
	return 0;
}

static void drop_identity(const struct identity *old)
{
	(void)setfsuid(geteuid());
	(void)setfsgid(getegid());
	if (syscall(SYS_setgroups, old->group_count, old->groups) < 0)
		log_error("cannot take back the daemon's own groups");
}

static int path_check(int dirfd, const char *path, struct err *e)
{
	size_t len = strlen(host.mountpoint);

	if (dirfd != AT_FDCWD)
		return 0;
	if (path[0] != '/')
		return err_set(e, EINVAL, "%s is not an absolute path", path);
	if (strncmp(path, host.mountpoint, len) == 0 && (path[len] == '/' || path[len] == '\0'))
		return err_set(e, EINVAL, "%s lies inside this mount", path);
	return 0;
}

/* Reached through a link or another mount point, it may be ours after all. */
static int mount_check(int fd, const char *path, struct err *e)
{
	struct stat st, root;

	if (fstat(fd, &st) == 0 && stat(host.mountpoint, &root) == 0 && st.st_dev == root.st_dev &&
	    host.mounted)
		return err_set(e, EINVAL, "%s lies inside this mount", path);
	return 0;
}

int asuser_open(const struct writer *w, int dirfd, const char *path, int flags, int *ret_fd,
		struct err *e)
{
	bool other = geteuid() == 0 && (w->uid != 0 || w->gid != 0);
	struct identity old = {.group_count = 0};
	AUTO_FD fd = -1;
	int r = path_check(dirfd, path, e), saved;

	if (r == 0 && geteuid() != 0 && w->uid != geteuid() && w->uid != 0)
		r = err_set(e, EPERM, "a daemon of uid %u cannot open %s with the rights of uid %u",
			    geteuid(), path, w->uid);
	if (r == 0 && other)
		r = take_identity(w, &old, e);
	if (r < 0)
		return r;
	fd = openat(dirfd, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	saved = errno;
	if (other)
		drop_identity(&old);
	if (fd < 0)
		return err_sys(e, saved, "cannot open %s", path);
	r = mount_check(fd, path, e);
	if (r == 0)
		*ret_fd = steal_fd(&fd);
	return r;
}

int asuser_unlink(const struct writer *w, int dirfd, const char *name, struct err *e)
{
	bool other = geteuid() == 0 && (w->uid != 0 || w->gid != 0);
	struct identity old = {.group_count = 0};
	int r = other ? take_identity(w, &old, e) : 0;

	if (r < 0)
		return r;
	r = unlinkat(dirfd, name, 0) < 0 ? errno : 0;
	if (other)
		drop_identity(&old);
	return r ? err_sys(e, r, "cannot remove %s", name) : 0;
}
