/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/write.c - write(2)
 *
 * How it works: a write to a command file becomes a command, which runs elsewhere; its done() posts it back
 * to the loop, and there the request is answered. So requests are answered and freed by one thread, and
 * an interrupt, which libfuse delivers in the loop too, never meets one that is gone.
 *
 * The kernel interrupts a request once, at whichever signal comes first. An interrupted writer is
 * therefore looked at again and again until its command is done: only SIGINT, SIGTERM, SIGHUP, SIGQUIT or
 * SIGKILL pending for its thread cancels.
 */
#include "fs/write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "fs/loop.h"
#include "fs/notify.h"
#include "fs/open.h"
#include "fs/reply.h"
#include "fs/stream.h"
#include "ops/command.h"

enum {
	LOOK_MS = 100,           /* between two looks at an interrupted writer; sbxfs(5) */
	PROC_STATUS_MAX = 65536, /* bytes of /proc/PID/status, more than the kernel writes */
};

struct pending {
	struct post post;
	struct command command;
	char *text; /* what the command cuts up; owned */
	fuse_req_t req;
	struct open *open; /* a reference */
	size_t size;
	off_t end; /* position that the write leaves */
	int result;
	bool over;        /* done() was called; [over_lock] */
	bool interrupted; /* look at its writer at look_ms */
	bool cancelled;
	int64_t look_ms;
	struct pending *next, **link;
};

static struct pending *pendings;
static unsigned watched; /* interrupted and not cancelled */

/* Between command_submit() and done() a command may be cancelled. Recursive: a command that has not begun calls
 * done() from within command_cancel(). */
static pthread_mutex_t over_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* ---- the writer ---------------------------------------------------------------------------------------- */

/* /proc/TID/status. Return: 0; negative errno when it cannot be seen from here. */
static int read_status(pid_t tid, struct buf *ret)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)tid);
	return tid <= 0 ? -ESRCH : file_read(AT_FDCWD, path, PROC_STATUS_MAX, ret, NULL);
}

/* Not fuse_req_getgroups(): that of libfuse 3.14 searches a buffer that it has not terminated. */
void writer_of(fuse_req_t req, struct writer *ret)
{
	const unsigned room = sizeof(ret->groups) / sizeof(ret->groups[0]);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	AUTO_BUF status = BUF_INIT;
	const char *at = NULL;

	ret->uid = ctx->uid;
	ret->gid = ctx->gid;
	ret->pid = ctx->pid;
	ret->group_count = 0; /* who cannot be seen has none */
	if (read_status(ctx->pid, &status) == 0)
		at = strstr(buf_text(&status), "\nGroups:");
	for (at = at ? at + strlen("\nGroups:") : ""; ret->group_count < room;) {
		at += strspn(at, " \t");
		if (*at < '0' || *at > '9')
			break;
		ret->groups[ret->group_count++] = (gid_t)strtoul(at, NULL, 10);
		at += strspn(at, "0123456789");
	}
}

static uint64_t status_mask(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

static uint64_t signal_bit(int sig)
{
	return UINT64_C(1) << (sig - 1);
}

/* Has the writer's thread one of the five signals waiting? True as well when it cannot be seen. */
static bool writer_is_signalled(pid_t tid)
{
	const uint64_t five = signal_bit(SIGINT) | signal_bit(SIGTERM) | signal_bit(SIGHUP) |
			      signal_bit(SIGQUIT) | signal_bit(SIGKILL);
	AUTO_BUF status = BUF_INIT;
	uint64_t waiting;

	if (read_status(tid, &status) < 0)
		return true;
	waiting = status_mask(buf_text(&status), "\nSigPnd:") |
		  status_mask(buf_text(&status), "\nShdPnd:");
	return waiting & ~status_mask(buf_text(&status), "\nSigBlk:") & five;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static void pending_free(struct pending *p)
{
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	if (p->interrupted && !p->cancelled)
		watched--;
	buf_done(&p->command.reply);
	template_put(p->command.template);
	sbx_put(p->command.sbx);
	open_unref(p->open);
	free(p->text);
	free(p);
}

/* The command is done, its writer gets the answer. */
static void pending_answer(struct post *post)
{
	struct pending *p = (struct pending *)post;

	reply_keep(p->open->ino, &p->command.reply);
	open_set_reply(p->open, &p->command.reply, p->end, p->result < 0);
	if (p->result < 0)
		fuse_reply_err(p->req, -p->result);
	else
		fuse_reply_write(p->req, p->size);
	pending_free(p);
}

/* In the loop. What the command did is to be seen when the write returns, so the kernel first forgets what it
 * knows better: a name that `destroy` has taken away. */
static void pending_done(struct post *post)
{
	post->run = pending_answer;
	notify_then(post);
}

/* Any thread. */
static void command_done(struct command *c, int result)
{
	struct pending *p = c->arg;

	pthread_mutex_lock(&over_lock);
	p->over = true;
	p->result = result;
	pthread_mutex_unlock(&over_lock);
	loop_post(&p->post);
}

static void pending_cancel(struct pending *p, int why)
{
	if (p->interrupted && !p->cancelled)
		watched--;
	p->cancelled = true;
	pthread_mutex_lock(&over_lock);
	if (!p->over)
		command_cancel(&p->command, why);
	pthread_mutex_unlock(&over_lock);
}

/* Runs inside libfuse's hold on the request: only noted, write_tick() does the rest. */
static void pending_interrupt(fuse_req_t req, void *data)
{
	struct pending *p = data;

	(void)req; /* the pending write knows */
	if (!p->interrupted && !p->cancelled)
		watched++;
	p->interrupted = true;
}

int write_tick(void)
{
	int64_t now, first = INT64_MAX;

	if (watched == 0)
		return -1;
	now = clock_ms();
	for (struct pending *p = pendings; p; p = p->next) {
		if (!p->interrupted || p->cancelled)
			continue;
		if (p->look_ms <= now) {
			p->look_ms = now + LOOK_MS;
			if (writer_is_signalled(p->command.writer.pid)) {
				pending_cancel(p, EINTR);
				continue;
			}
		}
		if (p->look_ms < first)
			first = p->look_ms;
	}
	return first == INT64_MAX ? -1 : (int)(first - now);
}

void write_cancel_all(bool host_too, int why)
{
	for (struct pending *p = pendings; p; p = p->next)
		if (!p->cancelled && (host_too || p->command.target != COMMAND_HOST_CTL))
			pending_cancel(p, why);
}

bool write_is_pending(void)
{
	return pendings;
}

static struct pending *pending_new(struct open *o, const char *data, size_t size)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (p)
		p->text = malloc(size + 1);
	if (!p || !p->text) {
		free(p);
		return NULL;
	}
	memcpy(p->text, data, size);
	p->text[size] = '\0';
	p->post.run = pending_done;
	p->size = size;
	p->open = o;
	o->refs++;
	p->next = pendings;
	p->link = &pendings;
	if (pendings)
		pendings->link = &p->next;
	pendings = p;
	return p;
}

static void submit(fuse_req_t req, struct pending *p, bool nonblock)
{
	const struct open *o = p->open;

	p->req = req;
	p->command = (struct command){
		.target = o->file->target,
		.sbx = o->object.sbx ? sbx_get(o->object.sbx) : NULL,
		.template = o->object.template ? template_get(o->object.template) : NULL,
		.nonblock = nonblock,
		.text = p->text,
		.done = command_done,
		.arg = p,
	};
	writer_of(req, &p->command.writer);
	fuse_req_interrupt_func(req, pending_interrupt, p);
	command_submit(&p->command);
}

/* Refused before it became a command: the reason is the reply all the same. */
static void refuse(fuse_req_t req, struct open *o, const struct err *e, off_t end)
{
	struct buf reply = BUF_INIT;

	buf_addf(&reply, "error: %s: %s\n", err_name(e->code), e->text);
	reply_keep(o->ino, &reply);
	open_set_reply(o, &reply, end, true);
	fuse_reply_err(req, e->code);
}

static void write_command(fuse_req_t req, struct open *o, const char *data, size_t size, off_t end,
			  bool nonblock)
{
	struct pending *p;
	struct err e = {0};
	bool cut = false;

	if (o->poisoned) {
		(void)err_set(
			&e, E2BIG,
			"an earlier write through this descriptor ended in a cut line; open it anew");
		refuse(req, o, &e, end);
		return;
	}
	if (command_check(data, size, &cut, &e) < 0) {
		o->poisoned = cut;
		refuse(req, o, &e, end);
		return;
	}
	p = pending_new(o, data, size);
	if (!p) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	p->end = end;
	submit(req, p, nonblock);
}

/* ---- the operation ------------------------------------------------------------------------------------- */

static void write_console(fuse_req_t req, struct open *o, const char *data, size_t size)
{
	int n = sbx_console_write(o->object.sbx, data, size < INT_MAX ? size : INT_MAX, NULL);

	if (n < 0)
		fuse_reply_err(req, -n);
	else
		fuse_reply_write(req, (size_t)n);
}

void write_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		 struct fuse_file_info *fi)
{
	struct open *o = NULL;
	int r = open_of(ino, fi, &o);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	if (o->file->flags & FILE_COMMANDS) {
		write_command(req, o, data, size, off + (off_t)size, fi->flags & O_NONBLOCK);
	} else if (o->file->flags & FILE_CONSOLE) {
		write_console(req, o, data, size);
	} else {
		r = stream_since(o, data, size);
		if (r < 0)
			fuse_reply_err(req, -r);
		else
			fuse_reply_write(req, size);
	}
}
