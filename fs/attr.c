/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/attr.c - stat: modes, owners, and the length that a read would give
 *
 * How it works: nothing is stored; a file is rendered to know its length. The kernel is told to keep the
 * attributes of directories, for a second (changes made by other means than the kernel's own requests
 * invalidate them), and of those of the daemon's files whose text never changes. Not those of a constant
 * file in a sandbox: its mode follows the directory's at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/timefmt.h"
#include "fs/open.h"
#include "fs/reply.h"
#include "fs/tree.h"

#define CACHE_SEC 1.0

enum {
	BLOCK_SIZE = 4096,    /* st_blksize */
	STAT_BLOCK = 512,     /* unit of st_blocks */
	HOST_DIR_MODE = 0755, /* of the mount itself */
};

/* Who owns what is in an object's directory. */
struct owner {
	uid_t uid;
	gid_t gid;
	mode_t mode; /* of its directory */
	int64_t created_ms;
};

static struct owner host_owner;

void attr_init(void)
{
	host_owner = (struct owner){geteuid(), getegid(), 0777, wall_ms()};
}

static struct owner owner_of(const struct object *o)
{
	struct template_owner t;
	struct owner owner = host_owner;

	if (o->sbx) {
		pthread_mutex_lock(&o->sbx->lock);
		owner = (struct owner){o->sbx->uid, o->sbx->gid, o->sbx->mode, o->sbx->created_ms};
		pthread_mutex_unlock(&o->sbx->lock);
	} else if (o->template) {
		t = template_owner(o->template);
		owner = (struct owner){t.uid, t.gid, t.mode, t.created_ms};
	}
	return owner;
}

static off_t console_size(const struct sbx *s, struct timespec *ret_changed)
{
	AUTO_FD fd = sbx_open(s, "console.log", O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0; /* nothing was written yet */
	*ret_changed = st.st_mtim;
	return st.st_size - sbx_console_begin(fd);
}

/* The length of the reply that a read of this node gives. A node has one open writer at most, whose reply
 * begins where its write ended. */
static off_t replied_size(const struct node *n)
{
	const struct open *o = open_writer(node_id(n));

	if (o && o->wrote)
		return o->base + (off_t)o->text.len;
	return (off_t)reply_size(node_ino(n));
}

static off_t rendered_size(const struct file *f, const struct object *o)
{
	struct buf text = BUF_INIT;
	off_t size = f->render(o, &text) < 0 ? 0 : (off_t)text.len;

	buf_done(&text);
	return size;
}

static void fill_file(const struct node *n, const struct file *f, const struct object *o,
		      struct stat *st)
{
	if (f->flags & FILE_CONSOLE)
		st->st_size = console_size(o->sbx, &st->st_mtim);
	else if (f->flags & FILE_REPLY)
		st->st_size = replied_size(n);
	else if (f->render)
		st->st_size = rendered_size(f, o);
	st->st_blocks = (st->st_size + STAT_BLOCK - 1) / STAT_BLOCK;
}

int attr_fill(const struct node *n, const struct object *o, struct stat *ret)
{
	const struct file *f = file_of(n);
	const struct owner owner = owner_of(o);
	struct dir dir;
	bool is_dir = dir_of(n, &dir);

	if (!f && !is_dir)
		return -ESTALE;
	*ret = (struct stat){
		.st_ino = node_ino(n),
		.st_nlink = 1, /* for a directory: not counted */
		.st_uid = owner.uid,
		.st_gid = owner.gid,
		.st_blksize = BLOCK_SIZE,
		.st_mtim = {owner.created_ms / 1000, owner.created_ms % 1000 * 1000000},
	};
	ret->st_atim = ret->st_ctim = ret->st_mtim;
	if (f)
		ret->st_mode = file_mode(f, owner.mode);
	else
		ret->st_mode = n->kind == NODE_ROOT ? HOST_DIR_MODE : owner.mode;
	ret->st_mode |= is_dir ? S_IFDIR : S_IFREG;
	if (!is_dir)
		fill_file(n, f, o, ret);
	return 0;
}

double attr_timeout(const struct node *n)
{
	const struct file *f = file_of(n);

	if (f && n->kind != NODE_HOST_FILE)
		return 0;
	return !f || f->flags & (FILE_FIXED | FILE_DIR) ? CACHE_SEC : 0;
}

double attr_name_timeout(const struct node *n)
{
	const struct file *f = file_of(n);

	/* a command file must be looked up each time: its node depends on who writes */
	return f && f->flags & FILE_COMMANDS ? 0 : CACHE_SEC;
}

int attr_entry(const struct node *n, struct fuse_entry_param *ret)
{
	struct object o;
	int r = object_get(n, &o);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	r = attr_fill(n, &o, &ret->attr);
	object_put(&o);
	ret->ino = node_id(n);
	ret->attr_timeout = attr_timeout(n);
	ret->entry_timeout = attr_name_timeout(n);
	return r;
}
