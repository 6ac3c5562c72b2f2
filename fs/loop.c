/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/loop.c - the one thread that answers the kernel
 *
 * How it works: ppoll() on the FUSE descriptor and on the queue of work that other threads posted, with
 * signals let in only there, so that none is lost and no request that was read is dropped. Everything
 * that takes time goes to other threads: commands to the workers of ops/, changes of the tree to
 * dirwork.c, notifications to notify.c. What they find is posted back.
 *
 * The descriptor does not block either: a request that poll() told of may be taken back by its sender
 * before it is read.
 */
#include "fs/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/log.h"
#include "fs/handover.h"
#include "fs/leave.h"
#include "fs/notify.h"
#include "fs/open.h"
#include "fs/reply.h"
#include "fs/stream.h"
#include "fs/tree.h"
#include "fs/watchdog.h"
#include "fs/write.h"
#include "ops/event.h"

enum {
	DRAIN_MS = 10000, /* for cancelled commands to end before the mount goes without them */
};

static struct queue posts = QUEUE_INIT;
static atomic_bool stop_asked;
static volatile sig_atomic_t end_seen, reload_seen; /* a signal, until the loop has told of it */
static void (*tell_ready)(void);
static const struct fuse_buf *request; /* that is being answered */

void loop_post(struct post *p)
{
	queue_add(&posts, p);
}

/* ---- events of ops/ ------------------------------------------------------------------------------------ */

struct news {
	struct post post;
	uint32_t serial;
	unsigned what;
};

/* Something with that serial was removed by other means than rmdir, or is destroyed for good. */
static void forget_object(uint32_t serial)
{
	static const enum node_kind kinds[] = {NODE_SBX_FILE, NODE_TEMPLATE_FILE};
	const struct node sbx = {.kind = NODE_SBX, .serial = serial};
	const struct node template = {.kind = NODE_TEMPLATE, .serial = serial};

	for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		const struct file *rows = file_rows(kinds[k]);

		for (uint32_t i = 0; rows[i].name; i++) {
			const struct node n = {.kind = kinds[k], .serial = serial, .index = i + 1};

			if (rows[i].flags & FILE_COMMANDS)
				reply_forget(node_ino(&n));
		}
	}
	notify_inval(node_id(&sbx));
	notify_inval(node_id(&template));
}

static void news_run(struct post *p)
{
	struct news *n = (struct news *)p;

	if (n->what & EVENT_GONE)
		forget_object(n->serial);
	if (n->what & (EVENT_LINE | EVENT_GONE))
		stream_wake(n->serial);
	if (n->what & (EVENT_STATUS | EVENT_GONE))
		open_wake_polls(n->serial);
	free(n);
}

/* The listener: any thread. Without memory a waiting reader is woken by the next event. */
static void on_event(uint32_t serial, unsigned what)
{
	struct news *n = calloc(1, sizeof(*n));

	if (!n)
		return;
	n->post.run = news_run;
	n->serial = serial;
	n->what = what;
	loop_post(&n->post);
}

/* ---- operations ---------------------------------------------------------------------------------------- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata; /* none */
	/* Spliced pages would have to be copied out again; commands must not linger in the page cache. */
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE | FUSE_CAP_WRITEBACK_CACHE);
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS |
				       FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS);
	tell_ready();
}

/* A synthetic file or directory is neither made nor removed by these. */
static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	(void)parent, (void)name, (void)mode, (void)dev; /* whatever it is */
	fuse_reply_err(req, EPERM);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	(void)parent, (void)name, (void)mode, (void)fi; /* whatever it is */
	fuse_reply_err(req, EPERM);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name; /* whatever it is */
	fuse_reply_err(req, EPERM);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target, (void)parent, (void)name; /* whatever it is */
	fuse_reply_err(req, EPERM);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino, (void)newparent, (void)newname; /* whatever it is */
	fuse_reply_err(req, EPERM);
}

/* Asked by isatty(3) at every open of some languages. libfuse says what it is given.
 * NOLINTNEXTLINE(readability-function-size) */
static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
		     size_t out_size)
{
	(void)ino, (void)cmd, (void)arg, (void)fi; /* there are none */
	(void)flags, (void)in, (void)in_size, (void)out_size;
	fuse_reply_err(req, ENOTTY);
}

/* What is not here libfuse answers itself: ENOSYS to flush, fsync, lseek and the xattr family, which the kernel then
 * asks for no more (fsync succeeds, xattrs are ENOTSUP). */
static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = tree_lookup,
	.getattr = tree_getattr,
	.setattr = dirwork_setattr,
	.mknod = op_mknod,
	.mkdir = dirwork_mkdir,
	.unlink = op_unlink,
	.rmdir = dirwork_rmdir,
	.symlink = op_symlink,
	.rename = dirwork_rename,
	.link = op_link,
	.open = open_open,
	.read = open_read,
	.write = write_write,
	.release = open_release,
	.readdir = tree_readdir,
	.readdirplus = tree_readdirplus,
	.create = op_create,
	.ioctl = op_ioctl,
	.poll = open_poll,
};

struct fuse_session *loop_new(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_session *se = fuse_session_new(&args, &operations, sizeof(operations), NULL);

	fuse_opt_free_args(&args); /* it copies them */
	return se;
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

static void signal_note(int sig)
{
	if (sig == SIGHUP)
		reload_seen = sig;
	else
		end_seen = sig;
}

static void stop_run(struct post *p)
{
	free(p);
	atomic_store(&stop_asked, true);
}

void loop_stop(void)
{
	struct post *p = calloc(1, sizeof(*p));

	if (p) {
		p->run = stop_run;
		loop_post(p);
	} else {
		atomic_store(&stop_asked, true); /* seen at the next request */
	}
}

/* Of a signal that came in ppoll(). */
static void tell_signal(volatile sig_atomic_t *seen, void (*on_signal)(int sig))
{
	int sig = *seen;

	*seen = 0; /* before it is told of: none comes but in ppoll() */
	if (sig)
		on_signal(sig);
}

/* One request. Return: false when the mount has gone. */
static bool take_request(struct fuse_session *se, struct fuse_buf *buf)
{
	int r = fuse_session_receive_buf(se, buf);

	if (r > 0 && !handover_refuse(fuse_session_fd(se), buf->mem, buf->size) &&
	    !leave_keep(buf->mem, buf->size)) {
		request = buf;
		fuse_session_process_buf(se, buf);
		request = NULL;
	}
	return r > 0 || r == -EINTR || r == -EAGAIN;
}

void *loop_request(size_t *ret_len)
{
	void *copy = request ? malloc(request->size) : NULL;

	if (copy) {
		memcpy(copy, request->mem, request->size);
		*ret_len = request->size;
	}
	return copy;
}

/* Has a loop that was asked to stop nothing more to wait for? */
static bool may_end(int64_t *deadline)
{
	int64_t now = clock_ms();

	if (*deadline == 0) {
		*deadline = now + DRAIN_MS;
		write_cancel_all(false,
				 ECANCELED); /* whoever wrote `shutdown` is answered by its end */
	}
	return !write_is_pending() || now >= *deadline;
}

static int shorter(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Until something comes or has to be done. Return: as ppoll(). */
static int wait_more(struct pollfd fds[3], bool ending, const sigset_t *mask)
{
	int ms = shorter(shorter(write_tick(), leave_left_ms()), watchdog_tick());
	struct timespec left;

	ms = ending ? shorter(ms, DRAIN_MS) : ms;
	left = (struct timespec){ms / 1000, ms % 1000 * 1000000L};
	fds[2].fd = leave_fd();
	return ppoll(fds, 3, ms < 0 ? NULL : &left, mask);
}

/* What another daemon had read, before anything that the kernel has. Return: as take_request(). */
static bool take_handed(struct fuse_session *se, struct fuse_buf *buf)
{
	bool alive = true;

	while (alive && handover_has_more())
		alive = take_request(se, buf);
	handover_ask_again();
	return alive;
}

static enum loop_end loop(struct fuse_session *se, void (*on_signal)(int sig))
{
	struct pollfd fds[] = {{.fd = fuse_session_fd(se), .events = POLLIN},
			       {.fd = posts.event_fd, .events = POLLIN},
			       {.fd = -1, .events = POLLIN}};
	struct fuse_buf buf = {.mem = NULL}; /* libfuse allocates it with the first request */
	int64_t deadline = 0;
	sigset_t open_mask;
	bool alive, handed = false;

	(void)pthread_sigmask(SIG_SETMASK, NULL, &open_mask); /* cannot fail when it only asks */
	sigdelset(&open_mask, SIGINT);
	sigdelset(&open_mask, SIGTERM);
	sigdelset(&open_mask, SIGHUP);
	alive = take_handed(se, &buf);
	while (alive && !handed && !(atomic_load(&stop_asked) && may_end(&deadline))) {
		int n = wait_more(fds, deadline != 0, &open_mask);

		if (n < 0 && errno != EINTR)
			break;
		tell_signal(&end_seen, on_signal);
		tell_signal(&reload_seen, on_signal);
		if (n > 0 && fds[1].revents)
			queue_run(&posts);
		if (n > 0 && fds[0].revents)
			alive = take_request(se, &buf);
		if (n > 0 && fds[2].revents)
			leave_accept();
		stream_tick();
		handed = leave_tick(se);
	}
	free(buf.mem);
	if (handed)
		return LOOP_HANDED;
	if (fuse_session_exited(se))
		return LOOP_UNMOUNTED;
	return alive && atomic_load(&stop_asked) ? LOOP_STOPPED : LOOP_FAILED;
}

/* Threads of their own, or none at all. */
static int threads_start(struct fuse_session *se)
{
	int r = notify_start(se);

	if (r < 0)
		return r;
	r = dirwork_start();
	if (r < 0)
		notify_stop();
	return r;
}

enum loop_end loop_run(struct fuse_session *se, void (*ready)(void), void (*on_signal)(int sig))
{
	struct sigaction note = {.sa_handler = signal_note};
	enum loop_end end;

	tell_ready = ready;
	attr_init();
	if (queue_open(&posts) < 0 || threads_start(se) < 0)
		return LOOP_FAILED;
	(void)sigaction(SIGINT, &note, NULL); /* cannot fail for these */
	(void)sigaction(SIGTERM, &note, NULL);
	(void)sigaction(SIGHUP, &note, NULL);
	watchdog_init();
	(void)fcntl(fuse_session_fd(se), F_SETFL,
		    O_RDWR | O_NONBLOCK); /* else it may block: see above */
	event_set_listener(on_event);
	end = loop(se, on_signal);
	if (end == LOOP_HANDED) {
		open_wake_all_polls(); /* they ask the next daemon */
	} else {
		stream_end(NULL);
		dirwork_stop();
	}
	notify_stop();
	return end;
}

void loop_drain(void)
{
	struct pollfd fd = {.fd = posts.event_fd, .events = POLLIN};
	struct deadline d = deadline_in(DRAIN_MS, -1);

	event_set_listener(NULL);
	write_cancel_all(true, ECANCELED);
	while (write_is_pending() && deadline_poll(&d, &fd, 1) > 0)
		queue_run(&posts);
	queue_run(&posts);
	if (write_is_pending())
		log_warning("commands are still running at the end, ignoring");
}
