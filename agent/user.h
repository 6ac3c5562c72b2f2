/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/user.h - users of the guest, read from its /etc/passwd and /etc/group
 *
 * Not through libc: a static program cannot load the image's name service modules.
 */
#ifndef SBXFS_AGENT_USER_H
#define SBXFS_AGENT_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	USER_GROUPS_MAX = 1024, /* supplementary groups; more are left out */
};

struct user {
	uid_t uid;
	gid_t gid;
	char *name, *home; /* owned */
	gid_t *groups;     /* supplementary ones with gid among them; owned */
	size_t group_count;
};

/**
 * user_find() - Look up a user by name
 * @ret: on success the caller's, to be given to user_done()
 * Return: 0; -ENOENT no such user; -ENOMEM. "root" is always there.
 */
int user_find(const char *name, struct user *ret, struct err *e);

/* Free what it holds; a zeroed one is fine. */
void user_done(struct user *u);

/* Name of the user that the agent itself runs as, for the caller to free; NULL without memory. */
char *user_self(void);

#endif
