/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/tree.c - lookup, listing and stat
 *
 * How it works: a directory holds rows of a file table, then objects (sandboxes, templates) in the order
 * of their serials. An entry's offset in a listing is a function of its row or serial, so a listing
 * holds no state and goes on at the right place whatever was made or removed meanwhile.
 */
#include "fs/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fs/open.h"
#include "ops/registry.h"

enum {
	OFFSET_DOT = 1,       /* the offset that follows "." */
	OFFSET_DOT_DOT = 2,   /* "..", then rows: 2 + index */
	OFFSET_OBJECTS = 4096 /* objects: 4096 + serial */
};

/* ---- lookup and stat ----------------------------------------------------------------------------------- */

/* The serial of the object of a kind with that name, 0: none. */
static uint32_t object_find(enum node_kind kind, const char *name)
{
	uint32_t serial = 0;

	if (kind == NODE_SBX) {
		struct sbx *s = registry_find(name);

		serial = s ? s->serial : 0;
		sbx_put(s);
	} else if (kind == NODE_TEMPLATE) {
		struct object o = {.template = template_find(name)};
		struct template_view view;

		if (o.template) {
			template_view(o.template, &view);
			serial = view.serial;
		}
		object_put(&o);
	}
	return serial;
}

/* Return: 0; -ENOENT; -ENOTDIR. */
static int child_find(const struct node *parent, const char *name, struct node *ret)
{
	struct dir dir;

	if (!dir_of(parent, &dir))
		return -ENOTDIR;
	*ret = (struct node){.kind = dir.files, .serial = parent->serial};
	ret->index = file_find(dir.files, name);
	if (ret->index)
		return 0;
	*ret = (struct node){.kind = dir.objects};
	ret->serial = object_find(dir.objects, name);
	return ret->serial ? 0 : -ENOENT;
}

void tree_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct node n = node_of(parent);
	struct fuse_entry_param entry;
	const struct file *f;
	struct node child;
	int r = child_find(&n, name, &child);

	f = r == 0 ? file_of(&child) : NULL;
	if (f && f->flags & FILE_COMMANDS)
		child.generation = open_free_generation(&child);
	if (r == 0)
		r = attr_entry(&child, &entry);
	if (r < 0)
		fuse_reply_err(req, r == -ESTALE ? ENOENT : -r);
	else
		fuse_reply_entry(req, &entry);
}

void tree_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct node n = node_of(ino);
	struct fuse_entry_param entry;
	int r = attr_entry(&n, &entry);

	(void)fi; /* the kernel gives it for lseek only */
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &entry.attr, entry.attr_timeout);
}

/* ---- listing ------------------------------------------------------------------------------------------- */

struct listing {
	fuse_req_t req;
	struct node node;
	char *data; /* what goes to the kernel */
	size_t size, used;
	bool plus;
	bool full;
};

/* Add an entry; full says that it did not fit. @next: the offset that follows it. */
static void add_name(struct listing *l, const char *name, const struct node *n, off_t next)
{
	struct fuse_entry_param entry = {.ino = 0};
	const struct file *f = file_of(n);
	size_t need;

	entry.attr.st_ino = node_ino(n);
	entry.attr.st_mode = f && !(f->flags & FILE_DIR) ? S_IFREG : S_IFDIR;
	if (!l->plus) {
		need = fuse_add_direntry(l->req, l->data + l->used, l->size - l->used, name,
					 &entry.attr, next);
	} else {
		/* Attributes come with directories only: a file is rendered to know its length, which a plain
		 * listing has no use for. Failing, it is listed without, and its lookup will tell why. */
		if (!f && next > OFFSET_DOT_DOT && attr_entry(n, &entry) < 0)
			entry.ino = 0;
		need = fuse_add_direntry_plus(l->req, l->data + l->used, l->size - l->used, name,
					      &entry, next);
	}
	l->full = need > l->size - l->used;
	if (!l->full)
		l->used += need;
}

static void list_dots(struct listing *l, off_t off)
{
	struct node up = {.kind = NODE_ROOT};

	if (l->node.kind == NODE_NET_FILE || l->node.kind == NODE_SBX_FILE)
		up = (struct node){.kind = NODE_SBX, .serial = l->node.serial};
	else if (l->node.kind == NODE_TEMPLATE)
		up = (struct node){.kind = NODE_HOST_FILE,
				   .index = file_find(NODE_HOST_FILE, ".templates")};
	if (off < OFFSET_DOT)
		add_name(l, ".", &l->node, OFFSET_DOT);
	if (!l->full && off < OFFSET_DOT_DOT)
		add_name(l, "..", &up, OFFSET_DOT_DOT);
}

static void list_files(struct listing *l, enum node_kind kind, off_t off)
{
	const struct file *rows = file_rows(kind);

	for (uint32_t i = off > OFFSET_DOT_DOT ? (uint32_t)off - OFFSET_DOT_DOT : 0;
	     rows && rows[i].name && !l->full; i++) {
		const struct node n = {.kind = kind, .serial = l->node.serial, .index = i + 1};

		add_name(l, rows[i].name, &n, OFFSET_DOT_DOT + 1 + (off_t)i);
	}
}

static void list_sandboxes(struct listing *l, uint32_t after)
{
	char name[NAME_MAX_LEN + 12];
	struct sbx *s;

	while (!l->full && (s = registry_next(after))) {
		const struct node n = {.kind = NODE_SBX, .serial = s->serial};

		pthread_mutex_lock(&s->lock);
		(void)snprintf(name, sizeof(name), s->gone ? "%s~%u" : "%s", s->name, s->serial);
		pthread_mutex_unlock(&s->lock);
		after = s->serial;
		add_name(l, name, &n, OFFSET_OBJECTS + (off_t)after);
		sbx_put(s);
	}
}

static void list_templates(struct listing *l, uint32_t after)
{
	struct template_view view;
	struct template *t;

	while (!l->full && (t = template_next(after))) {
		struct node n = {.kind = NODE_TEMPLATE};

		template_view(t, &view);
		n.serial = after = view.serial;
		add_name(l, view.name, &n, OFFSET_OBJECTS + (off_t)after);
		template_put(t);
	}
}

static void list(struct listing *l, const struct dir *dir, off_t off)
{
	uint32_t after = off > OFFSET_OBJECTS ? (uint32_t)(off - OFFSET_OBJECTS) : 0;

	if (off < OFFSET_OBJECTS) {
		list_dots(l, off);
		if (!l->full)
			list_files(l, dir->files, off);
	}
	if (dir->objects == NODE_SBX)
		list_sandboxes(l, after);
	else if (dir->objects == NODE_TEMPLATE)
		list_templates(l, after);
}

static void readdir_reply(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct listing l = {.req = req, .node = node_of(ino), .size = size, .plus = plus};
	AUTO_FREE char *data = malloc(size);
	struct object o = {NULL, NULL};
	struct dir dir;
	int r = data ? 0 : -ENOMEM;

	if (r == 0 && !dir_of(&l.node, &dir))
		r = -ENOTDIR;
	if (r == 0 && object_get(&l.node, &o) < 0)
		r = -ENOENT; /* destroyed while someone stands in it */
	object_put(&o);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	l.data = data;
	list(&l, &dir, off);
	fuse_reply_buf(req, l.data, l.used);
}

void tree_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi; /* a listing holds no state */
	readdir_reply(req, ino, size, off, false);
}

void tree_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	(void)fi;
	readdir_reply(req, ino, size, off, true);
}
