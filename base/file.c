/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/file.c - whole files, read and replaced so that a crash leaves the old or the new
 *
 * How it works: a replacement is written aside, fsynced, renamed, and its directory fsynced. A tree is
 * removed with an explicit stack of open directories: each is opened relative to its parent by openat2()
 * with RESOLVE_NO_XDEV, so that neither a link nor a mount is ever entered, whatever happens meanwhile.
 * One descriptor is held for each level.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/fault.h"

enum {
	READ_PIECE = 65536, /* bytes asked for at once */
};

int file_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Write and fsync a new file @name. */
static int write_new(int dirfd, const char *name, mode_t mode, const void *data, size_t len)
{
	AUTO_FD fd = -1;
	int r, mine;

	/* What a crash left is not to trail the new content, nor to keep its mode or owner. */
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, data, len);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	/* Network file systems may report a full disk here only. */
	mine = steal_fd(&fd);
	return close(mine) < 0 ? -errno : 0;
}

int file_replace(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
		 struct err *e)
{
	char aside[NAME_MAX + 1];
	int r;

	if (strlen(name) + sizeof(".new") > sizeof(aside) || strchr(name, '/'))
		return err_set(e, EINVAL, "\"%s\" cannot be a file's name", name);
	(void)snprintf(aside, sizeof(aside), "%s.new", name); /* fits, as just checked */
	r = write_new(dirfd, aside, mode, data, len);
	if (r == 0)
		r = fault_point("file-rename", NULL, NULL);
	if (r == 0 && renameat(dirfd, aside, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, aside, 0); /* the first failure is what counts */
		return err_sys(e, -r, "cannot write %s", name);
	}
	r = fault_point("file-renamed", NULL, e);
	return r < 0 ? r : file_sync_dir(dirfd, e);
}

int file_read(int dirfd, const char *name, size_t max, struct buf *b, struct err *e)
{
	AUTO_FREE char *piece = malloc(READ_PIECE);
	AUTO_FD fd = -1;
	size_t total = 0;

	if (!piece)
		return err_set(e, ENOMEM, "no memory to read %s", name);
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", name);
	for (;;) {
		ssize_t n = read(fd, piece, READ_PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "cannot read %s", name);
		if (n == 0)
			break;
		total += (size_t)n;
		if (total > max)
			return err_set(e, EFBIG, "%s is larger than the %zu bytes allowed", name,
				       max);
		buf_add(b, piece, (size_t)n);
	}
	if (buf_error(b) < 0)
		return err_set(e, ENOMEM, "no memory to read %s", name);
	return 0;
}

/* As far as one may: a directory above may let one through and not be read, or its file system may not know how. */
static void sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	AUTO_FD fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		(void)fsync(fd); /* see above */
}

/* Make one directory; one that is there is fine, anything else in its place is not. */
static int make_dir(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		sync_parent(path);
		return 0;
	}
	if (errno != EEXIST)
		return err_sys(e, errno, "cannot make the directory %s", path);
	if (stat(path, &st) < 0)
		return err_sys(e, errno, "cannot look at %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "%s is in the way: it is not a directory", path);
	return 0;
}

int file_mkdirs(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(part))
		return err_set(e, len ? ENAMETOOLONG : ENOENT, "bad directory name \"%s\"", path);
	memcpy(part, path, len + 1);
	for (char *p = part + 1; *p; p++) {
		int r;

		if (*p != '/' || p[-1] == '/')
			continue;
		*p = '\0';
		r = make_dir(part, mode, e);
		*p = '/';
		if (r < 0)
			return r;
	}
	return make_dir(part, mode, e);
}

int file_open_dir(int dirfd, const char *name, int *ret_fd, struct err *e)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open the directory %s", name);
	*ret_fd = fd;
	return 0;
}

int file_open_list(int dirfd, const char *name, DIR **ret, struct err *e)
{
	AUTO_FD fd = -1;
	DIR *dir;
	int r = file_open_dir(dirfd, name, &fd, e);

	if (r < 0)
		return r;
	dir = fdopendir(fd);
	if (!dir)
		return err_sys(e, errno, "cannot list %s", name);
	(void)steal_fd(&fd); /* the stream has it */
	*ret = dir;
	return 0;
}

int file_sync_dir(int dirfd, struct err *e)
{
	if (fsync(dirfd) < 0)
		return err_sys(e, errno, "cannot make a directory's change durable");
	return 0;
}

/* One open directory of the path that is being removed. */
struct level {
	DIR *dir;
	char name[NAME_MAX + 1]; /* in its parent */
	bool again;              /* it was read a second time */
};

struct walk {
	int root; /* descriptor that the first name is in; borrowed */
	struct level *levels;
	size_t depth, room;
};

static void walk_done(struct walk *w)
{
	while (w->depth > 0)
		(void)closedir(w->levels[--w->depth].dir); /* nothing was written through it */
	free(w->levels);
}

/* The directory that holds the innermost one. */
static int walk_parent(const struct walk *w)
{
	return w->depth > 1 ? dirfd(w->levels[w->depth - 2].dir) : w->root;
}

static int open_beneath(int dirfd, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Enter directory @name of @dirfd. */
static int walk_push(struct walk *w, int dirfd, const char *name)
{
	AUTO_FD fd = -1;
	struct level *l;

	if (strlen(name) > NAME_MAX)
		return -ENAMETOOLONG;
	if (w->depth == w->room) {
		size_t room = w->room ? w->room * 2 : 8;

		l = reallocarray(w->levels, room, sizeof(*l));
		if (!l)
			return -ENOMEM;
		w->levels = l;
		w->room = room;
	}
	fd = open_beneath(dirfd, name);
	if (fd < 0)
		return fd;
	l = &w->levels[w->depth];
	l->dir = fdopendir(fd);
	if (!l->dir)
		return -errno;
	(void)steal_fd(&fd);                                  /* the DIR has it now */
	(void)snprintf(l->name, sizeof(l->name), "%s", name); /* fits, as checked above */
	l->again = false;
	w->depth++;
	return fault_point("tree-enter", NULL, NULL);
}

/* Remove @name in @dirfd, or enter it when it is a directory. */
static int walk_entry(struct walk *w, int dirfd, const char *name)
{
	int r;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* A directory: EISDIR on Linux, EPERM in POSIX. */
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	r = walk_push(w, dirfd, name);
	return r == -ENOTDIR ? -EPERM : r;
}

/* Leave the innermost directory, which is empty, and remove it. */
static int walk_pop(struct walk *w)
{
	struct level *l = &w->levels[w->depth - 1];
	int parent = walk_parent(w), r = fault_point("tree-leave", NULL, NULL);

	if (r == 0 && unlinkat(parent, l->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	if (r == -ENOTEMPTY && !l->again) {
		/* Some file systems pass over entries while others are removed. */
		l->again = true;
		rewinddir(l->dir);
		return 0;
	}
	(void)closedir(l->dir); /* nothing was written through it */
	w->depth--;
	return r;
}

/* One step: the next entry of the innermost directory, or its end. */
static int walk_step(struct walk *w)
{
	DIR *dir = w->levels[w->depth - 1].dir;
	const struct dirent *d;

	errno = 0;
	d = readdir(dir); /* NOLINT(concurrency-mt-unsafe): safe for a DIR of one's own */
	if (d) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			return 0;
		return walk_entry(w, dirfd(dir), d->d_name);
	}
	return errno ? -errno : walk_pop(w);
}

/* Remove @name, which has no '/', and all below it. */
static int remove_in(int dirfd, const char *name, struct err *e)
{
	struct walk w = {.root = dirfd};
	char inner[NAME_MAX + 1] = "";
	int r = walk_entry(&w, dirfd, name);

	while (r == 0 && w.depth > 0)
		r = walk_step(&w);
	if (r < 0 && w.depth > 0)
		memcpy(inner, w.levels[w.depth - 1].name, sizeof(inner));
	walk_done(&w);
	if (r == -EXDEV || r == -EBUSY)
		return err_set(e, -r, "cannot remove %s: something is mounted there; unmount it",
			       name);
	return r < 0 ? err_sys(e, -r, "cannot remove %s%s%s", name, *inner ? " at " : "", inner)
		     : 0;
}

int file_remove_tree(int dirfd, const char *name, struct err *e)
{
	const char *base = strrchr(name, '/');
	AUTO_FREE char *parent = NULL;
	AUTO_FD fd = -1;

	if (!base)
		return remove_in(dirfd, name, e);
	/* The way there may cross mounts and links; from there on nothing may. */
	parent = strndup(name, (size_t)(base - name) + 1);
	if (!parent)
		return err_set(e, ENOMEM, "no memory to remove %s", name);
	fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "cannot open %s", parent);
	return remove_in(fd, base + 1, e);
}
