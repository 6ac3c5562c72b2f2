/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/notify.c - telling the kernel that something has changed */
#include "fs/notify.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "fs/loop.h"

struct notice {
	struct post post;
	struct fuse_pollhandle *ph; /* NULL: invalidate id */
	uint64_t id;
	struct post *then; /* not NULL: nothing to tell, the loop is to run this */
};

static struct queue notices = QUEUE_INIT;
static struct fuse_session *session;
static atomic_uint waiting; /* notices that were not sent yet */
static bool stopped;        /* loop thread only, as all that adds */

/* Failures mean that the kernel does not know the node, or that the mount has gone: nothing to tell then. */
static void notice_run(struct post *p)
{
	struct notice *n = (struct notice *)p;

	if (n->then) {
		loop_post(n->then);
	} else if (n->ph) {
		(void)fuse_lowlevel_notify_poll(n->ph);
		fuse_pollhandle_destroy(n->ph);
	} else {
		(void)fuse_lowlevel_notify_inval_inode(session, n->id, -1, 0);
	}
	free(n);
	atomic_fetch_sub(&waiting, 1);
}

int notify_start(struct fuse_session *se)
{
	session = se;
	return queue_start(&notices);
}

void notify_stop(void)
{
	queue_stop(&notices);
	stopped = true;
}

/* Return: false when there is no memory, or nobody to tell any more. */
static bool notice_add(const struct notice *from)
{
	struct notice *n = stopped ? NULL : malloc(sizeof(*n));

	if (!n)
		return false;
	*n = *from;
	n->post.run = notice_run;
	atomic_fetch_add(&waiting, 1);
	queue_add(&notices, &n->post);
	return true;
}

void notify_then(struct post *p)
{
	if (atomic_load(&waiting) == 0 || !notice_add(&(struct notice){.then = p}))
		p->run(p);
}

void notify_poll(struct fuse_pollhandle **ph)
{
	if (!notice_add(&(struct notice){.ph = *ph}))
		fuse_pollhandle_destroy(*ph); /* the next poll() asks anew */
	*ph = NULL;
}

void notify_inval(uint64_t id)
{
	(void)notice_add(&(struct notice){.id = id}); /* else the cache runs out within a second */
}
