/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/open.c - open files
 *
 * How it works: a read at offset 0 renders the file anew into the open's own buffer, later offsets are
 * served from there, so that two reads of one `cat` never mix two versions. After a write to a command
 * file the buffer holds its reply, beginning at the position that the write left: where the next read is.
 *
 * The kernel holds an inode's lock for as long as a write to it is pending. So a command file is given as
 * many inodes as it has open writers: an open for writing takes its node (id and generation), lookup
 * hands out the smallest generation that is free, and an open that comes too late for a free one is
 * answered ESTALE, on which the kernel looks the name up again. It does so only once: so for a while after
 * such an answer no two lookups are offered the same generation.
 */
#include "fs/open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <search.h>
#include <string.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "fs/notify.h"
#include "fs/reply.h"
#include "fs/stream.h"

enum {
	CROWDED_MS = 1000, /* more than an opener takes from its lookup to its open */
};

struct open *open_all;
static int64_t crowded_ms; /* until then openers get in each other's way */
static void *writers;      /* tree of struct open with holds_node, by id */
static void *handles;      /* tree of all, by fh */
static uint64_t last_fh;   /* begins where no earlier process came to */

static int compare_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int compare_fh(const void *a, const void *b)
{
	const struct open *x = a, *y = b;

	return (x->fh > y->fh) - (x->fh < y->fh);
}

struct open *open_writer(uint64_t id)
{
	struct open *const *at = (struct open *const *)tfind(&id, &writers, compare_id);

	return at ? *at : NULL;
}

static bool generation_is_free(const struct node *n, unsigned generation)
{
	struct node probe = *n;

	probe.generation = generation;
	return !open_writer(node_id(&probe));
}

/* The upper half of the generations is offered in turn, the lower one from its beginning. */
static unsigned next_generation(const struct node *n)
{
	static unsigned last;
	unsigned generation;

	for (unsigned i = 0; i < NODE_GENERATIONS / 2; i++) {
		last = (last + 1) % (NODE_GENERATIONS / 2);
		generation = NODE_GENERATIONS / 2 + last;
		if (generation_is_free(n, generation))
			return generation;
	}
	return NODE_GENERATIONS - 1;
}

unsigned open_free_generation(const struct node *n)
{
	unsigned generation = 0;

	if (clock_ms() < crowded_ms)
		return next_generation(n);
	while (generation < NODE_GENERATIONS - 1 && !generation_is_free(n, generation))
		generation++;
	return generation;
}

unsigned open_change(const struct open *o)
{
	struct sbx *s = o->object.sbx;
	unsigned change = 0;

	if (s) {
		pthread_mutex_lock(&s->lock);
		change = s->change;
		pthread_mutex_unlock(&s->lock);
	}
	return change;
}

/* ---- open and release ---------------------------------------------------------------------------------- */

static bool wants_write(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/* Become the node's one open writer. Return: 0; -ESTALE: look it up again, there is a free node. */
static int take_node(struct open *o, const struct node *n)
{
	if (open_writer(o->id)) {
		struct node other = *n;

		other.generation = open_free_generation(n);
		/* With all of them taken the writers of the last one queue in the kernel. */
		if (open_writer(node_id(&other)))
			return 0;
		crowded_ms = clock_ms() + CROWDED_MS;
		return -ESTALE;
	}
	if (!tsearch(o, &writers, compare_id))
		return -ENOMEM;
	o->holds_node = true;
	return 0;
}

static void open_free(struct open *o)
{
	if (o->fh)
		(void)tdelete(o, &handles, compare_fh); /* as below */
	if (o->link) {
		*o->link = o->next;
		if (o->next)
			o->next->link = o->link;
	}
	if (o->holds_node)
		(void)tdelete(o, &writers, compare_id); /* gives the parent, of no use here */
	if (o->ph)
		fuse_pollhandle_destroy(o->ph);
	fd_close(o->console_fd);
	buf_done(&o->text);
	object_put(&o->object);
	free(o);
}

void open_unref(struct open *o)
{
	if (--o->refs == 0)
		open_free(o);
}

/* From here on it takes part. */
static void open_attach(struct open *o)
{
	if (o->file->flags & FILE_STREAM)
		o->next_event = stream_begin(o);
	o->seen = open_change(o);
	o->next = open_all;
	o->link = &open_all;
	if (open_all)
		open_all->link = &o->next;
	open_all = o;
}

/* Set up what kind of file it is. Return: 0; negative errno. */
static int open_prepare(struct open *o, const struct node *n, bool writes)
{
	int r = object_get(n, &o->object);

	if (r == 0 && writes && o->file->flags & FILE_COMMANDS)
		r = take_node(o, n);
	if (r == 0)
		open_attach(o);
	return r;
}

/* libfuse 3.14 cannot ask for FOPEN_STREAM, without which a blocked read keeps a write through the same
 * descriptor out (the lock of the file position), so the answer is made here. */
static int reply_opened(fuse_req_t req, const struct open *o)
{
	struct fuse_open_out out = {.fh = o->fh, .open_flags = FOPEN_DIRECT_IO};
	const struct iovec iov = {.iov_base = &out, .iov_len = sizeof(out)};

	if (o->file->flags & FILE_STREAM)
		out.open_flags |= FOPEN_STREAM;
	return fuse_reply_iov(req, &iov, 1);
}

/* A new one, without what it holds. */
static struct open *open_new(uint64_t id, uint64_t fh)
{
	struct node n = node_of(id);
	struct open *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->id = id;
	o->ino = node_ino(&n);
	o->file = file_of(&n);
	o->refs = 1;
	o->console_fd = -1;
	o->fh = fh;
	if (o->file && tsearch(o, &handles, compare_fh))
		return o;
	free(o);
	return NULL;
}

static uint64_t new_fh(void)
{
	struct timespec now;

	if (last_fh == 0) { /* nobody opens a file in each nanosecond */
		(void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail */
		last_fh = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	}
	return ++last_fh;
}

struct open *open_restore(const struct open *from, bool writes)
{
	struct node n = node_of(from->id);
	struct open *o = open_new(from->id, from->fh);

	if (!o)
		return NULL;
	if (object_get(&n, &o->object) < 0) {
		open_free(o);
		return NULL;
	}
	/* Two of an earlier process may both think that the node is theirs: then writers of it queue in the kernel. */
	if (writes && o->file->flags & FILE_COMMANDS && !open_writer(o->id))
		(void)take_node(o, &n);
	open_attach(o);
	return o;
}

int open_of(fuse_ino_t ino, const struct fuse_file_info *fi, struct open **ret)
{
	const struct open key = {.fh = fi->fh}, lost = {.id = ino, .fh = fi->fh};
	struct open *const *at = (struct open *const *)tfind(&key, &handles, compare_fh);
	struct node n = node_of(ino);
	const struct file *f = file_of(&n);

	*ret = at ? *at : NULL;
	if (!*ret && (!f || f->flags & FILE_DIR))
		return -ESTALE;
	if (!*ret)
		*ret = open_restore(&lost, wants_write(fi));
	return *ret ? 0 : -ESTALE;
}

void open_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n = node_of(ino);
	const struct file *f = file_of(&n);
	struct open *o;
	int r;

	if (!f || f->flags & FILE_DIR) {
		fuse_reply_err(req, f ? EISDIR : ESTALE);
		return;
	}
	/* root passes the kernel's check of the mode */
	if (wants_write(fi) && !(f->mode & 0222)) {
		fuse_reply_err(req, EACCES);
		return;
	}
	o = open_new(ino, new_fh());
	if (!o) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	r = open_prepare(o, &n, wants_write(fi));
	if (r < 0)
		fuse_reply_err(req, -r);
	/* -ENOENT: the opener is gone, no release will come */
	if (r < 0 || reply_opened(req, o) == -ENOENT)
		open_free(o);
}

void open_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct open key = {.fh = fi->fh};
	struct open *const *at = (struct open *const *)tfind(&key, &handles, compare_fh);

	(void)ino; /* the open knows */
	if (at) {
		struct open *o = *at;

		stream_end(o);
		open_unref(o);
	}
	fuse_reply_err(req, 0);
}

/* ---- read ---------------------------------------------------------------------------------------------- */

void open_set_reply(struct open *o, struct buf *reply, off_t end, bool failed)
{
	buf_done(&o->text);
	o->text = *reply;
	*reply = (struct buf)BUF_INIT;
	o->base = end;
	o->rendered = o->replied = o->wrote = true;
	o->failed = failed;
}

static int render(struct open *o)
{
	int r = 0;

	o->base = 0;
	o->rendered = true;
	o->replied = false;
	if (o->file->flags & FILE_REPLY && o->wrote)
		return 0; /* read again from the beginning: still the reply to this writer */
	o->wrote = false;
	buf_reset(&o->text);
	if (o->file->flags & FILE_REPLY)
		reply_add(o->ino, &o->text);
	else
		r = o->file->render(&o->object, &o->text);
	return r < 0 ? r : buf_error(&o->text);
}

static void serve(fuse_req_t req, const struct open *o, size_t size, off_t off)
{
	off_t left = (off_t)o->text.len - (off - o->base);

	if (off < o->base || left <= 0)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, o->text.data + (off - o->base),
			       (size_t)left < size ? (size_t)left : size);
}

static void console_read(fuse_req_t req, struct open *o, size_t size, off_t off)
{
	AUTO_FREE char *data = NULL;
	ssize_t n;

	if (o->console_fd < 0)
		o->console_fd = sbx_open(o->object.sbx, "console.log", O_RDONLY);
	if (o->console_fd < 0) { /* nothing was written yet */
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	data = malloc(size);
	if (off == 0)
		o->console_begin = sbx_console_begin(o->console_fd);
	n = data ? pread(o->console_fd, data, size, o->console_begin + off) : -1;
	if (n < 0)
		fuse_reply_err(req, data ? errno : ENOMEM);
	else
		fuse_reply_buf(req, data, (size_t)n);
}

void open_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct open *o = NULL;
	int r = open_of(ino, fi, &o);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	if (o->file->flags & FILE_STREAM) {
		stream_read(req, o, size, fi->flags & O_NONBLOCK);
		return;
	}
	if (o->file->flags & FILE_CONSOLE) {
		console_read(req, o, size, off);
		return;
	}
	if ((off == 0 && !(o->replied && o->failed)) || !o->rendered) {
		o->seen = open_change(o); /* before: a change while rendering is told again */
		r = render(o);
	}
	if (o->replied) { /* a write that failed has left the position where it was */
		o->replied = false;
		o->base = off;
	}
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		serve(req, o, size, off);
}

/* ---- poll ---------------------------------------------------------------------------------------------- */

static unsigned poll_events(struct open *o)
{
	if (o->file->flags & FILE_STREAM)
		return stream_poll(o);
	if (o->file->flags & FILE_POLLABLE && open_change(o) != o->seen)
		return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLPRI | POLLERR;
	return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
}

void open_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	       struct fuse_pollhandle *ph)
{
	struct open *o = NULL;
	int r = open_of(ino, fi, &o);

	if (r < 0) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		fuse_reply_err(req, -r);
		return;
	}
	if (ph) { /* the kernel makes a new one each time it wants to be told */
		if (o->ph)
			fuse_pollhandle_destroy(o->ph);
		o->ph = ph;
	}
	fuse_reply_poll(req, poll_events(o));
}

void open_wake_all_polls(void)
{
	for (struct open *o = open_all; o; o = o->next)
		if (o->ph)
			notify_poll(&o->ph);
}

void open_wake_polls(uint32_t serial)
{
	for (struct open *o = open_all; o; o = o->next) {
		const struct sbx *s = o->object.sbx;

		if (o->ph && o->file->flags & FILE_POLLABLE && s && s->serial == serial)
			notify_poll(&o->ph);
	}
}
