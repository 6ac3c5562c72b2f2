// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/user.c - users of the guest, read from its /etc/passwd and /etc/group
 *
 * How it works: the files are read anew each time, so a user made by a command is there for the next one.
 * Both belong to the guest and may hold anything: a line that is not of the right form is passed over.
 */
#include "agent/user.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	PASSWD_FIELDS = 7, /* name:password:uid:gid:comment:home:shell */
	GROUP_FIELDS = 4,  /* name:password:gid:member,member */
};

/* Split @line in place at colons; whether it has exactly @n fields. */
static bool split(char *line, char **fields, size_t n)
{
	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < n; i++) {
		fields[i] = strsep(&line, ":");
		if (!fields[i])
			return false;
	}
	return line == NULL;
}

static bool parse_id(const char *text, unsigned *ret)
{
	char *end;
	unsigned long v;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || *end || v >= UINT_MAX) /* the greatest means "no user" to the kernel */
		return false;
	*ret = (unsigned)v;
	return true;
}

/* A line of /etc/passwd. Return: 1 when it is @name's and @ret is filled; 0; -ENOMEM. */
static int passwd_line(char *line, const char *name, struct user *ret)
{
	char *f[PASSWD_FIELDS];
	unsigned uid, gid;

	if (!split(line, f, PASSWD_FIELDS) || strcmp(f[0], name) != 0 || !parse_id(f[2], &uid) ||
	    !parse_id(f[3], &gid))
		return 0;
	ret->uid = uid;
	ret->gid = gid;
	ret->name = strdup(name);
	ret->home = strdup(*f[5] ? f[5] : "/");
	return ret->name && ret->home ? 1 : -ENOMEM;
}

static bool has_member(char *members, const char *name)
{
	const char *m;

	while ((m = strsep(&members, ",")))
		if (strcmp(m, name) == 0)
			return true;
	return false;
}

static void groups_read(struct user *u)
{
	AUTO_FILE f = fopen("/etc/group", "re");
	AUTO_FREE char *line = NULL;
	char *fields[GROUP_FIELDS];
	size_t room = 0;
	unsigned gid;

	u->groups[u->group_count++] = u->gid;
	while (f && getline(&line, &room, f) > 0) {
		if (u->group_count == USER_GROUPS_MAX)
			return;
		if (split(line, fields, GROUP_FIELDS) && parse_id(fields[2], &gid) &&
		    gid != u->gid && has_member(fields[3], u->name))
			u->groups[u->group_count++] = gid;
	}
}

static int passwd_read(const char *name, struct user *ret)
{
	AUTO_FILE f = fopen("/etc/passwd", "re");
	AUTO_FREE char *line = NULL;
	size_t room = 0;
	int r = 0;

	while (r == 0 && f && getline(&line, &room, f) > 0)
		r = passwd_line(line, name, ret);
	if (r == 0 && strcmp(name, "root") == 0) {
		/* An image without the file still has its root. */
		char root[] = "root:x:0:0:root:/root:/bin/sh";

		r = passwd_line(root, name, ret);
	}
	return r;
}

int user_find(const char *name, struct user *ret, struct err *e)
{
	struct user u = {0};
	int r = passwd_read(name, &u);

	if (r == 0)
		return err_set(e, ENOENT, "there is no user '%s' in /etc/passwd", name);
	u.groups = calloc(USER_GROUPS_MAX, sizeof(*u.groups));
	if (r < 0 || !u.groups) {
		user_done(&u);
		return err_set(e, ENOMEM, "the agent is out of memory");
	}
	groups_read(&u);
	*ret = u;
	return 0;
}

void user_done(struct user *u)
{
	free(u->name);
	free(u->home);
	free(u->groups);
	*u = (struct user){0};
}

char *user_self(void)
{
	AUTO_FILE f = geteuid() == 0 ? NULL : fopen("/etc/passwd", "re");
	AUTO_FREE char *line = NULL;
	char *fields[PASSWD_FIELDS];
	size_t room = 0;
	unsigned uid;

	while (f && getline(&line, &room, f) > 0)
		if (split(line, fields, PASSWD_FIELDS) && parse_id(fields[2], &uid) &&
		    uid == geteuid())
			return strdup(fields[0]);
	return strdup("root");
}
