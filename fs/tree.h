/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/tree.h - names and attributes: lookup, listing, stat, and what makes and removes directories
 *
 * Loop thread, but for dirwork.c's own thread.
 */
#ifndef SBXFS_FS_TREE_H
#define SBXFS_FS_TREE_H

#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include "fs/files.h"
#include "fs/node.h"

/* FUSE operations; dirwork.c has those that change the tree. */
void tree_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void tree_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void tree_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		  struct fuse_file_info *fi);
void tree_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi);

void dirwork_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		     struct fuse_file_info *fi);
void dirwork_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void dirwork_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void dirwork_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		    const char *newname, unsigned flags);

/* Its thread. Return: 0; -EAGAIN. */
int dirwork_start(void);
void dirwork_stop(void);

/* Before the first request: time stamps of the daemon's own files. */
void attr_init(void);

/**
 * attr_fill() - The attributes of a node
 * @o: the object that it belongs to
 * Return: 0; -ESTALE when there is no such file.
 */
int attr_fill(const struct node *n, const struct object *o, struct stat *ret);

/* Seconds for which the kernel may believe a name and the attributes. */
double attr_timeout(const struct node *n);
double attr_name_timeout(const struct node *n);

/* Attributes and timeouts of a node as lookup gives them. Return: 0; -ESTALE. */
int attr_entry(const struct node *n, struct fuse_entry_param *ret);

#endif
