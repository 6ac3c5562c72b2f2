// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-minifuse.c - the least that a FUSE file system can be: what ours is compared with
 *
 *   helper-minifuse MOUNTPOINT COUNT      stays in the foreground
 *
 * One thread and libfuse's own loop: a file `state` whose text is a constant, read with direct_io and no
 * attribute cache as ours, and COUNT empty directories s0 …, cached for a second as ours. No lock, no render, no table.
 */
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/bench.h"

enum { INO_STATE = 2, INO_DIRS = 10, NAME_SIZE = 24 };

#define CACHE_SEC 1.0 /* as fs/attr.c */

static const char text[] = "running\n";
static unsigned dirs;

static struct stat attributes(fuse_ino_t ino)
{
	struct stat st = {.st_ino = ino, .st_nlink = 2, .st_mode = S_IFDIR | 0755};

	if (ino == INO_STATE) {
		st.st_mode = S_IFREG | 0444;
		st.st_nlink = 1;
		st.st_size = sizeof(text) - 1;
	}
	return st;
}

static void mini_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.entry_timeout = CACHE_SEC, .attr_timeout = CACHE_SEC};
	char *end = NULL;

	if (parent == FUSE_ROOT_ID && strcmp(name, "state") == 0) {
		entry.ino = INO_STATE;
		entry.attr_timeout = 0.0;
	} else if (parent == FUSE_ROOT_ID && name[0] == 's') {
		entry.ino = INO_DIRS + strtoul(name + 1, &end, 10);
	}
	if (entry.ino == 0 || (end && (*end || entry.ino >= INO_DIRS + dirs))) {
		(void)fuse_reply_err(req, ENOENT);
		return;
	}
	entry.attr = attributes(entry.ino);
	(void)fuse_reply_entry(req, &entry);
}

static void mini_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes(ino);

	(void)fi;
	(void)fuse_reply_attr(req, &st, ino == INO_STATE ? 0.0 : CACHE_SEC);
}

static void mini_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	(void)fuse_reply_open(req, fi);
}

static void mini_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		      struct fuse_file_info *fi)
{
	size_t len = sizeof(text) - 1, at = offset < (off_t)len ? (size_t)offset : len;

	(void)ino;
	(void)fi;
	(void)fuse_reply_buf(req, text + at, len - at < size ? len - at : size);
}

static void mini_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			 struct fuse_file_info *fi)
{
	char *reply = malloc(size);
	size_t used = 0;

	(void)fi;
	if (!reply) {
		(void)fuse_reply_err(req, ENOMEM);
		return;
	}
	for (unsigned i = (unsigned)offset; ino == FUSE_ROOT_ID && i < dirs; i++) {
		struct stat st = attributes(INO_DIRS + i);
		char name[NAME_SIZE];
		size_t len = 0;

		(void)snprintf(name, sizeof(name), "s%u", i); /* fits */
		len = fuse_add_direntry(req, reply + used, size - used, name, &st, (off_t)i + 1);
		if (len > size - used)
			break;
		used += len;
	}
	(void)fuse_reply_buf(req, reply, used);
	free(reply);
}

int main(int argc, char **argv)
{
	static const struct fuse_lowlevel_ops ops = {.lookup = mini_lookup,
						     .getattr = mini_getattr,
						     .open = mini_open,
						     .read = mini_read,
						     .readdir = mini_readdir};
	char *fuse_argv[] = {argv[0], NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, fuse_argv);
	struct fuse_session *session = NULL;
	int status = 0;

	if (argc != 3)
		bench_die("usage: helper-minifuse MOUNTPOINT COUNT");
	dirs = bench_number(argv[2]);
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_set_signal_handlers(session) != 0 ||
	    fuse_session_mount(session, argv[1]) != 0)
		bench_die("cannot mount on %s", argv[1]);
	status = fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	fuse_session_destroy(session);
	return status < 0;
}
