/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/asuser.h - opening what a command names with the rights of who wrote it */
#ifndef SBXFS_OPS_ASUSER_H
#define SBXFS_OPS_ASUSER_H

#include "base/err.h"
#include "ops/sbx.h"

/**
 * asuser_open() - Open a path of the host as the writer could
 * @w:     whose uid, gid and groups count, without capabilities
 * @dirfd: directory of a relative @path, or AT_FDCWD: then it must be absolute
 * @path:  its last component is not followed when it is a link; it must not lie in this mount
 * @flags: of open(2); O_CLOEXEC|O_NOFOLLOW are added; what O_CREAT makes is the writer's own, of mode 0600
 *
 * Context: any thread of the pool; the thread has its own rights back afterwards.
 * Return: 0 and @ret_fd; -EINVAL not absolute, or inside the mount; -EACCES, -ENOENT, -ELOOP, … as open(2).
 */
int asuser_open(const struct writer *w, int dirfd, const char *path, int flags, int *ret_fd,
		struct err *e);

/* Remove a file from a directory as the writer could. */
int asuser_unlink(const struct writer *w, int dirfd, const char *name, struct err *e);

#endif
