/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/open.h - open files: what a descriptor reads, and which nodes have an open writer
 *
 * All of it belongs to the loop thread.
 */
#ifndef SBXFS_FS_OPEN_H
#define SBXFS_FS_OPEN_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "base/buf.h"
#include "fs/files.h"
#include "fs/node.h"

struct reader; /* stream.c: a read that waits */

struct open {
	uint64_t id; /* of its node, with the generation; first: the key of the tree of writers */
	uint64_t
		fh; /* what the kernel calls it: a number that no other open of this mount has had, in this process or one before */
	uint64_t ino;
	const struct file *file;
	struct object object; /* a reference */
	unsigned refs;        /* 1 for the descriptor, 1 for each pending write */
	bool holds_node;      /* is this node's one open writer */
	bool poisoned;        /* a cut line was written: only E2BIG from now on */
	bool wrote;           /* text is the reply to a write of its own */
	bool rendered;        /* text is what reads from position base on give */
	bool replied; /* text is a reply that was not read yet: base is where the first read is */
	bool failed; /* that write failed, so the position is where it was: a read there, even at 0, is for the reply */
	struct buf text;
	off_t base;
	unsigned seen;       /* FILE_POLLABLE: sbx.change at the last read of offset 0 */
	int console_fd;      /* FILE_CONSOLE: the log, -1: not there yet; owned */
	off_t console_begin; /* where in it reads at offset 0 begin */
	uint64_t
		next_event; /* FILE_STREAM: number to go on from; text from base on is to be read first */
	struct reader *readers;     /* FILE_STREAM: reads that wait, oldest first */
	struct fuse_pollhandle *ph; /* to be told when poll() would answer otherwise; owned */
	struct open *next, **link;  /* list of all */
};

extern struct open *open_all;

/**
 * open_of() - The open file that a request is about
 *
 * One that this process does not know was opened with an earlier one that could not tell of it: it begins anew, at the end of what
 * there is of a stream.
 * Return: 0 and @ret, borrowed; -ESTALE what it was of is gone; -ENOMEM.
 */
int open_of(fuse_ino_t ino, const struct fuse_file_info *fi, struct open **ret);

/* One that another process had; it is complete but for what it holds of objects and nodes. Return: it, NULL: no. */
struct open *open_restore(const struct open *from, bool writes);

/* FUSE operations. */
void open_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void open_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void open_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void open_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	       struct fuse_pollhandle *ph);

void open_unref(struct open *o);

/* Take over @reply as what is read next; @end: where, as far as is known. */
void open_set_reply(struct open *o, struct buf *reply, off_t end, bool failed);

/* The open writer of a node, NULL: none. */
struct open *open_writer(uint64_t id);

/* The smallest generation of a command file that has no open writer; the last one when all have. */
unsigned open_free_generation(const struct node *n);

/* sbx_view.change of a sandbox. */
unsigned open_change(const struct open *o);

/* Whoever polls is to ask again. */
void open_wake_all_polls(void);

/* The status of a sandbox has changed: wake who polls for it. */
void open_wake_polls(uint32_t serial);

#endif
