/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/notify.c - telling the kernel that something has changed */
#include "fs/notify.h"

#include <stdlib.h>

#include "fs/queue.h"

struct notice {
	struct post post;
	struct fuse_pollhandle *ph; /* NULL: invalidate id */
	uint64_t id;
};

static struct queue notices = QUEUE_INIT;
static struct fuse_session *session;

/* Failures mean that the kernel does not know the node, or that the mount has gone: nothing to tell then. */
static void notice_run(struct post *p)
{
	struct notice *n = (struct notice *)p;

	if (n->ph) {
		(void)fuse_lowlevel_notify_poll(n->ph);
		fuse_pollhandle_destroy(n->ph);
	} else {
		(void)fuse_lowlevel_notify_inval_inode(session, n->id, -1, 0);
	}
	free(n);
}

int notify_start(struct fuse_session *se)
{
	session = se;
	return queue_start(&notices);
}

void notify_stop(void)
{
	queue_stop(&notices);
}

/* Without memory the caches run out by themselves within a second. */
static void notice_add(struct fuse_pollhandle *ph, uint64_t id)
{
	struct notice *n = calloc(1, sizeof(*n));

	if (!n) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		return;
	}
	n->post.run = notice_run;
	n->ph = ph;
	n->id = id;
	queue_add(&notices, &n->post);
}

void notify_poll(struct fuse_pollhandle *ph)
{
	notice_add(ph, 0);
}

void notify_inval(uint64_t id)
{
	notice_add(NULL, id);
}
