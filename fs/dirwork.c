/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/dirwork.c - mkdir, rmdir, rename, chmod and chown
 *
 * How it works: these are durable when they return, which takes an fsync. They are done and answered one
 * after the other on a thread of their own, so that the loop never waits for a disk. The kernel holds the
 * parent's lock meanwhile, so there is nothing to win by doing several at once.
 *
 * Only the directories of sandboxes and templates can be made, removed or changed; everything else here is
 * EPERM.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "fs/queue.h"
#include "fs/tree.h"
#include "fs/write.h"
#include "ops/registry.h"

struct dirwork {
	struct post post;
	fuse_req_t req;
	const char *what; /* for the log */
	/* Does it and answers if it succeeded. Return: 0; negative errno with @e. */
	int (*act)(struct dirwork *w, struct err *e);
	struct node node; /* the directory to change; mkdir: its kind */
	struct object object;
	char *name; /* of what is made, or the new name; owned */
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

static struct queue works = QUEUE_INIT;

int dirwork_start(void)
{
	return queue_start(&works);
}

void dirwork_stop(void)
{
	queue_stop(&works);
}

static void work_run(struct post *post)
{
	struct dirwork *w = (struct dirwork *)post;
	struct err e = {0};
	int r = w->act(w, &e);

	if (r < 0) { /* mkdir(2) and its like carry a number only */
		log_info("%s %s: %s", w->what, w->name ? w->name : "", e.text);
		fuse_reply_err(w->req, -r);
	}
	object_put(&w->object);
	free(w->name);
	free(w);
}

/* Takes @object over; @name is copied. */
static void work_add(fuse_req_t req, const struct dirwork *from, const char *name)
{
	struct dirwork *w = malloc(sizeof(*w));
	struct object o = from->object;

	if (w) {
		*w = *from;
		w->post.run = work_run;
		w->req = req;
		w->name = name ? strdup(name) : NULL;
	}
	if (w && (w->name || !name)) {
		queue_add(&works, &w->post);
		return;
	}
	free(w);
	object_put(&o);
	fuse_reply_err(req, ENOMEM);
}

/* ---- mkdir --------------------------------------------------------------------------------------------- */

static int reply_made(struct dirwork *w, struct err *e)
{
	struct fuse_entry_param entry;

	if (attr_entry(&w->node, &entry) < 0)
		return err_set(e, ENOENT, "it was removed at once");
	fuse_reply_entry(w->req, &entry);
	return 0;
}

static int make_sbx(struct dirwork *w, struct err *e)
{
	struct writer writer;
	int r;

	writer_of(w->req, &writer);
	r = registry_create(w->name, &writer, &w->object.sbx, e);
	if (r < 0)
		return r;
	w->node.serial = w->object.sbx->serial;
	return reply_made(w, e);
}

static int make_template(struct dirwork *w, struct err *e)
{
	struct template_view view;
	struct writer writer;
	int r;

	writer_of(w->req, &writer);
	r = template_create(w->name, &writer, &w->object.template, e);
	if (r < 0)
		return r;
	template_view(w->object.template, &view);
	w->node.serial = view.serial;
	return reply_made(w, e);
}

void dirwork_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	const struct node n = node_of(parent);
	struct dirwork w = {.what = "mkdir"};
	struct dir dir;

	(void)mode; /* 0700 whatever the umask */
	if (!dir_of(&n, &dir) || dir.objects == NODE_ROOT) {
		fuse_reply_err(req, EPERM);
		return;
	}
	w.node.kind = dir.objects;
	w.act = dir.objects == NODE_SBX ? make_sbx : make_template;
	work_add(req, &w, name);
}

/* ---- rmdir and rename ---------------------------------------------------------------------------------- */

/* The object that a name in a directory stands for. Return: 0; -ENOENT; -EPERM when it is no object's. */
static int find_object(fuse_ino_t parent, const char *name, struct object *ret)
{
	const struct node n = node_of(parent);
	struct dir dir;

	*ret = (struct object){NULL, NULL};
	if (!dir_of(&n, &dir) || file_find(dir.files, name) || dir.objects == NODE_ROOT)
		return -EPERM;
	if (dir.objects == NODE_SBX)
		ret->sbx = registry_find(name);
	else
		ret->template = template_find(name);
	return ret->sbx || ret->template ? 0 : -ENOENT;
}

static int remove_object(struct dirwork *w, struct err *e)
{
	int r = w->object.sbx ? registry_remove(w->object.sbx, e)
			      : template_remove(w->object.template, e);

	if (r == 0)
		fuse_reply_err(w->req, 0);
	return r;
}

void dirwork_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct dirwork w = {.what = "rmdir", .act = remove_object};
	int r = find_object(parent, name, &w.object);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		work_add(req, &w, name);
}

static int rename_sbx(struct dirwork *w, struct err *e)
{
	int r = registry_rename(w->object.sbx, w->name, e);

	if (r == 0)
		fuse_reply_err(w->req, 0);
	return r;
}

void dirwork_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		    const char *newname, unsigned flags)
{
	struct dirwork w = {.what = "rename", .act = rename_sbx};
	int r = find_object(parent, name, &w.object);

	if (r == 0 && (newparent != parent || !w.object.sbx))
		r = -EPERM;
	if (r == 0 && flags & ~(unsigned)RENAME_NOREPLACE) /* never replaces anyhow */
		r = -EINVAL;
	if (r == 0) {
		work_add(req, &w, newname);
		return;
	}
	object_put(&w.object);
	fuse_reply_err(req, -r);
}

/* ---- setattr ----------------------------------------------------------------------------------- */

static int change_owner(struct dirwork *w, struct err *e)
{
	struct fuse_entry_param entry;
	int r = w->object.sbx ? registry_set_owner(w->object.sbx, w->uid, w->gid, w->mode, e)
			      : template_set_owner(w->object.template, w->uid, w->gid, w->mode, e);

	if (r == 0 && attr_entry(&w->node, &entry) < 0)
		r = err_set(e, ESTALE, "it was removed meanwhile");
	if (r == 0)
		fuse_reply_attr(w->req, &entry.attr, entry.attr_timeout);
	return r;
}

/* A change that changes nothing is fine on every file, as `chown -R` and `cp -p` make them. */
static bool is_change(const struct stat *is, const struct stat *attr, int to_set)
{
	return (to_set & FUSE_SET_ATTR_UID && attr->st_uid != is->st_uid) ||
	       (to_set & FUSE_SET_ATTR_GID && attr->st_gid != is->st_gid) ||
	       (to_set & FUSE_SET_ATTR_MODE && (attr->st_mode & 07777) != (is->st_mode & 07777));
}

/* A length and times can be set on what is written to and mean nothing: `cp`, `tee` and `touch` do so. */
static int setattr_file(const struct node *n, const struct stat *is, const struct stat *attr,
			int to_set)
{
	const struct file *f = file_of(n);

	if (is_change(is, attr, to_set))
		return -EPERM;
	return to_set & FUSE_SET_ATTR_SIZE && (!f || !(f->mode & 0222)) ? -EPERM : 0;
}

void dirwork_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		     struct fuse_file_info *fi)
{
	struct dirwork w = {.what = "chmod", .act = change_owner, .node = node_of(ino)};
	struct fuse_entry_param entry;
	int r = attr_entry(&w.node, &entry);

	(void)fi; /* the same for every descriptor */
	if (r == 0 && (w.node.kind == NODE_SBX || w.node.kind == NODE_TEMPLATE) &&
	    is_change(&entry.attr, attr, to_set)) {
		w.uid = (to_set & FUSE_SET_ATTR_UID) ? attr->st_uid : (uid_t)-1;
		w.gid = (to_set & FUSE_SET_ATTR_GID) ? attr->st_gid : (gid_t)-1;
		w.mode = (to_set & FUSE_SET_ATTR_MODE) ? attr->st_mode & 0777 : (mode_t)-1;
		r = object_get(&w.node, &w.object);
		if (r == 0) {
			work_add(req, &w, NULL);
			return;
		}
	}
	if (r == 0)
		r = setattr_file(&w.node, &entry.attr, attr, to_set);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &entry.attr, entry.attr_timeout);
}
