// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/freeze-mounts.c - the file systems on disks, to be held and let go
 *
 * How it works: /proc/self/mountinfo has a line for each mount, in the order in which they were made. Several
 * may be of one file system; a mount that another covers cannot be reached by its path, so what is opened there
 * is compared with what the line says.
 */
#include "agent/freeze-mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"

struct mount_line {
	dev_t dev;
	char *path, *source; /* in the line itself */
	bool writable;       /* the file system; the mount may still be read-only */
};

/* proc(5): blanks and backslashes are written as three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; to++) {
		if (at[0] == '\\' && at[1] && at[2] && at[3]) {
			*to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + at[3] - '0');
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

/* ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [FIELD…] - TYPE SOURCE OPTIONS; cuts @line up. */
static bool mount_parse(char *line, struct mount_line *ret)
{
	char *word[6], *rest = line;
	const char *options;
	unsigned major, minor;

	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < 6; i++)
		word[i] = strsep(&rest, " ");
	while (rest && strncmp(rest, "- ", 2) != 0)
		(void)strsep(&rest, " ");
	if (!rest)
		return false;
	(void)strsep(&rest, " "); /* the dash */
	(void)strsep(&rest, " "); /* the type */
	ret->source = strsep(&rest, " ");
	options = rest;
	/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers fit */
	if (!options || sscanf(word[2], "%u:%u", &major, &minor) != 2)
		return false;
	ret->dev = makedev(major, minor);
	ret->path = word[4];
	ret->writable = strncmp(options, "rw", 2) == 0 && (options[2] == ',' || !options[2]);
	unescape(ret->path);
	unescape(ret->source);
	return true;
}

/* Some that lie on several disks have a number of their own in place of a disk's. */
static bool is_on_disk(const struct mount_line *m)
{
	struct stat st;

	return major(m->dev) != 0 || (stat(m->source, &st) == 0 && S_ISBLK(st.st_mode));
}

static bool is_known(const struct freeze_set *s, dev_t dev)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->fs[i].dev == dev)
			return true;
	return false;
}

/* A path that does not lead there is passed over: another mount of the same file system may. */
static int add_mount(struct freeze_set *s, const struct mount_line *m, struct err *e)
{
	AUTO_FD fd = -1;
	struct stat st;

	if (!m->writable || is_known(s, m->dev) || !is_on_disk(m))
		return 0;
	fd = open(m->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || (major(m->dev) != 0 && st.st_dev != m->dev))
		return 0;
	if (s->count == FREEZE_MAX)
		return err_set(e, E2BIG, "more than %d file systems", FREEZE_MAX);
	s->fs[s->count].dev = m->dev;
	s->fs[s->count].held = false;
	s->fs[s->count++].fd = steal_fd(&fd);
	return 0;
}

int freeze_find(struct freeze_set *ret, struct err *e)
{
	AUTO_FILE f = fopen("/proc/self/mountinfo", "re");
	AUTO_FREE char *line = NULL;
	struct mount_line m;
	size_t room = 0;
	int r = 0;

	ret->count = 0;
	if (!f)
		return err_sys(e, errno, "cannot read /proc/self/mountinfo");
	while (r == 0 && getline(&line, &room, f) > 0)
		if (mount_parse(line, &m))
			r = add_mount(ret, &m, e);
	return r;
}

void freeze_set_done(struct freeze_set *s)
{
	for (unsigned i = 0; i < s->count; i++)
		fd_close(s->fs[i].fd);
	s->count = 0;
}

int freeze_hold(struct freeze_set *s, struct err *e)
{
	unsigned held = 0;

	for (unsigned i = s->count; i-- > 0;) {
		if (ioctl(s->fs[i].fd, FIFREEZE, 0) == 0) {
			s->fs[i].held = true;
			held++;
		} else if (errno == EOPNOTSUPP || errno == ENOTTY) {
			(void)syncfs(s->fs[i].fd); /* it cannot be held; flushed is the next best */
		} else {
			int why = errno;

			freeze_let_go(s);
			return err_sys(e, why, "cannot hold the file system on device %u:%u",
				       major(s->fs[i].dev), minor(s->fs[i].dev));
		}
	}
	if (held == 0)
		return err_set(e, ENOTSUP, "there is no file system that can be held");
	return 0;
}

void freeze_let_go(struct freeze_set *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->fs[i].held)
			(void)ioctl(s->fs[i].fd, FITHAW,
				    0); /* fails when somebody else has let it go */
		s->fs[i].held = false;
	}
}
