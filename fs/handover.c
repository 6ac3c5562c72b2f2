// SPDX-License-Identifier: GPL-2.0-or-later
/* fs/handover.c - a live mount passed from one daemon to the next
 *
 * How it works: the next daemon connects to a socket of this one, which then keeps what it has not begun, ends or cuts short what it has, and
 * sends two descriptors: /dev/fuse and a memfd with all the rest. The next one says that it has them; this one lets go of the state directory and
 * ends, which closes the connection; only then the next one begins. Until it has said so the mount is this one's.
 *
 * libfuse has no call for this. But a session whose descriptor is read and written by functions of ours can be given the request that began the
 * mount, and its answer to that be dropped; then it reads what was handed over, and then the kernel.
 */
#include "fs/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "fs/open.h"

#define MAGIC "sbxfs-h2" /* 8 bytes; another form of what follows has another number */

enum {
	NOTIFY_RESEND = 7, /* FUSE_NOTIFY_RESEND of Linux 6.9 */
	PART_COUNT = 4,    /* init, opens, pending, host: each a uint64_t length and its bytes */
	TOOK_MS = 10000,   /* for the next daemon to say that it has all */
	TAKEN = 'T',
	BLOB_MAX = 1 << 30, /* bytes */
};

/* FUSE_UNIQUE_RESEND, likewise: this request was said before. */
#define SAID_BEFORE (UINT64_C(1) << 63)

/* What one open file knows, as it is written; the text of its buffer follows. */
struct open_record {
	uint64_t fh, id;
	uint64_t next_event;
	int64_t base, console_begin;
	uint64_t text_len;
	uint32_t flags; /* OPEN_… */
	uint32_t zero;
};

enum {
	OPEN_WRITES = 1u << 0,
	OPEN_POISONED = 1u << 1,
	OPEN_WROTE = 1u << 2,
	OPEN_RENDERED = 1u << 3,
	OPEN_REPLIED = 1u << 4,
	OPEN_FAILED = 1u << 5,
};

void handover_done(struct handover *h)
{
	fd_close(steal_fd(&h->fuse_fd));
	fd_close(steal_fd(&h->conn_fd));
	buf_done(&h->init);
	buf_done(&h->opens);
	buf_done(&h->pending);
	buf_done(&h->host);
}

void handover_add(struct buf *pending, const void *request, size_t len)
{
	uint32_t n = (uint32_t)len;

	buf_add(pending, &n, sizeof(n));
	buf_add(pending, request, len);
}

const void *handover_next(const struct buf *pending, size_t *at, size_t *ret_len)
{
	const char *data;
	uint32_t n;

	if (pending->len - *at < sizeof(n))
		return NULL;
	memcpy(&n, pending->data + *at, sizeof(n));
	if (n > pending->len - *at - sizeof(n))
		return NULL;
	data = pending->data + *at + sizeof(n);
	*at += sizeof(n) + n;
	*ret_len = n;
	return data;
}

/* ---- the socket -------------------------------------------------------------------------------------------- */

static int address(const char *path, struct sockaddr_un *ret, struct err *e)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret->sun_path))
		return err_set(e, ENAMETOOLONG, "the path of the socket is too long: %s", path);
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return 0;
}

int handover_listen(const char *path, int *ret_fd, struct err *e)
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;
	int r = address(path, &addr, e);

	if (r < 0)
		return r;
	(void)unlink(path); /* of an earlier daemon; else bind() tells */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, 1) < 0)
		return err_sys(e, errno, "cannot listen at %s", path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int handover_accept(int listen_fd)
{
	AUTO_FD fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t size = sizeof(peer);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
	    peer.uid != geteuid())
		return -1;
	return steal_fd(&fd);
}

/* ---- giving ------------------------------------------------------------------------------------------------ */

static int put_part(int fd, const struct buf *part)
{
	uint64_t len = part->len;

	if (file_write_all(fd, &len, sizeof(len)) < 0)
		return -errno;
	return file_write_all(fd, buf_text(part), part->len);
}

static int send_both(int conn, int fuse_fd, int blob_fd)
{
	char byte = TAKEN, space[CMSG_SPACE(2 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = space,
			   .msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	const int fds[2] = {fuse_fd, blob_fd};

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	return sendmsg(conn, &m, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int handover_give(const struct handover *h, struct err *e)
{
	const struct buf *parts[PART_COUNT] = {&h->init, &h->opens, &h->pending, &h->host};
	struct deadline d = deadline_in(TOOK_MS, -1);
	struct pollfd pfd = {.fd = h->conn_fd, .events = POLLIN};
	AUTO_FD blob = memfd_create("sbxfs-handover", MFD_CLOEXEC);
	char byte = 0;
	int r = blob < 0 ? -errno : file_write_all(blob, MAGIC, sizeof(MAGIC) - 1);

	for (int i = 0; i < PART_COUNT && r == 0; i++)
		r = buf_error(parts[i]) < 0 ? -ENOMEM : put_part(blob, parts[i]);
	if (r == 0)
		r = send_both(h->conn_fd, h->fuse_fd, blob);
	if (r < 0)
		return err_sys(e, -r, "cannot pass the mount on");
	r = deadline_poll(&d, &pfd, 1);
	if (r > 0 && recv(h->conn_fd, &byte, 1, 0) == 1 && byte == TAKEN)
		return 0;
	return err_set(e, ECONNABORTED, "the next daemon ended before it had taken the mount");
}

/* ---- taking ------------------------------------------------------------------------------------------------ */

static int receive_both(int conn, int fds[2])
{
	char byte = 0, space[CMSG_SPACE(2 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = space,
			   .msg_controllen = sizeof(space)};
	const struct cmsghdr *c;

	if (recvmsg(conn, &m, MSG_CMSG_CLOEXEC) != 1)
		return -EPROTO;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		return -EPROTO;
	memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
	return 0;
}

static int take_part(const char **at, const char *end, struct buf *ret)
{
	uint64_t len;

	if ((size_t)(end - *at) < sizeof(len))
		return -EPROTO;
	memcpy(&len, *at, sizeof(len));
	*at += sizeof(len);
	if (len > (uint64_t)(end - *at))
		return -EPROTO;
	buf_add(ret, *at, (size_t)len);
	*at += len;
	return buf_error(ret);
}

static int take_blob(int fd, struct handover *ret)
{
	struct buf *parts[PART_COUNT] = {&ret->init, &ret->opens, &ret->pending, &ret->host};
	const char *at, *end;
	struct stat st;
	void *map;
	int r = 0;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(MAGIC) - 1 || st.st_size > BLOB_MAX)
		return -EPROTO;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	at = map;
	end = at + st.st_size;
	if (memcmp(at, MAGIC, sizeof(MAGIC) - 1) != 0)
		r = -EPROTO;
	at += sizeof(MAGIC) - 1;
	for (int i = 0; i < PART_COUNT && r == 0; i++)
		r = take_part(&at, end, parts[i]);
	(void)munmap(map, (size_t)st.st_size); /* it was mapped */
	return r == 0 && ret->init.len < sizeof(struct fuse_in_header) ? -EPROTO : r;
}

static int receive(struct handover *ret, const struct deadline *d)
{
	struct pollfd pfd = {.fd = ret->conn_fd, .events = POLLIN};
	int fds[2] = {-1, -1}, r = deadline_poll(d, &pfd, 1);

	if (r > 0)
		r = receive_both(ret->conn_fd, fds);
	if (r < 0)
		return r;
	ret->fuse_fd = fds[0];
	r = take_blob(fds[1], ret);
	fd_close(fds[1]);
	return r;
}

int handover_ask(const char *path, const struct deadline *d,
		 int (*fits)(const char *text, struct err *e), struct handover *ret, struct err *e)
{
	const char byte = TAKEN;
	struct handover h = HANDOVER_NONE;
	struct sockaddr_un addr;
	int r = address(path, &addr, e);

	if (r < 0)
		return r;
	h.conn_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h.conn_fd < 0 || connect(h.conn_fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		r = err_sys(e, errno, "no daemon answers at %s", path);
	if (r == 0) {
		r = receive(&h, d);
		if (r < 0)
			(void)err_sys(e, -r, "the daemon at %s does not pass its mount on", path);
		else
			r = fits(buf_text(&h.host), e);
		if (r == 0 && send(h.conn_fd, &byte, 1, MSG_NOSIGNAL) != 1)
			r = err_sys(e, errno, "the daemon at %s is gone", path);
	}
	if (r < 0)
		handover_done(&h);
	else
		*ret = h;
	return r;
}

int handover_wait_end(struct handover *h, const struct deadline *d, struct err *e)
{
	struct pollfd pfd = {.fd = h->conn_fd, .events = POLLIN};
	int r = deadline_poll(d, &pfd, 1);

	fd_close(steal_fd(&h->conn_fd));
	return r > 0 ? 0 : err_sys(e, -r, "waiting for the daemon that had the mount to end");
}

/* ---- open files -------------------------------------------------------------------------------------------- */

static void save_open(const struct open *o, struct buf *b)
{
	const struct open_record r = {
		.fh = o->fh,
		.id = o->id,
		.next_event = o->next_event,
		.base = o->base,
		.console_begin = o->console_begin,
		.text_len = o->text.len,
		.flags = (o->holds_node ? OPEN_WRITES : 0) | (o->poisoned ? OPEN_POISONED : 0) |
			 (o->wrote ? OPEN_WROTE : 0) | (o->rendered ? OPEN_RENDERED : 0) |
			 (o->replied ? OPEN_REPLIED : 0) | (o->failed ? OPEN_FAILED : 0),
	};

	buf_add(b, &r, sizeof(r));
	buf_add(b, buf_text(&o->text), o->text.len);
}

void handover_save_opens(struct buf *b)
{
	for (const struct open *o = open_all; o; o = o->next)
		save_open(o, b);
}

static void restore_open(const struct open_record *r, const char *text)
{
	const struct open from = {.fh = r->fh, .id = r->id};
	struct open *o = open_restore(&from, r->flags & OPEN_WRITES);

	if (!o) /* what it was of is gone: ESTALE when it is used */
		return;
	o->next_event = r->next_event;
	o->base = r->base;
	o->console_begin = r->console_begin;
	o->poisoned = r->flags & OPEN_POISONED;
	o->wrote = r->flags & OPEN_WROTE;
	o->rendered = r->flags & OPEN_RENDERED;
	o->replied = r->flags & OPEN_REPLIED;
	o->failed = r->flags & OPEN_FAILED;
	o->seen = ~0u; /* changes are counted anew: say that there was one */
	buf_add(&o->text, text, (size_t)r->text_len);
}

void handover_restore_opens(const struct buf *b)
{
	struct open_record r;

	for (size_t at = 0; b->len - at >= sizeof(r);) {
		memcpy(&r, b->data + at, sizeof(r));
		at += sizeof(r);
		if (r.text_len > b->len - at)
			return;
		restore_open(&r, b->data + at);
		at += (size_t)r.text_len;
	}
}

/* ---- the session ------------------------------------------------------------------------------------------- */

static struct handover *source; /* what is read before the kernel; the loop's thread */
static size_t source_at;
static int source_fd = -1;
static bool began;        /* the first request has been read */
static uint64_t first_id; /* its number; 0: answered */

bool handover_changes(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_WRITE:
	case FUSE_MKDIR:
	case FUSE_RMDIR:
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_SETATTR:
		return true;
	default:
		return false;
	}
}

void handover_ask_again(void)
{
	const struct fuse_out_header out = {.len = sizeof(out), .error = NOTIFY_RESEND};

	if (!source || !source->lost)
		return;
	source->lost = false;
	if (write(source_fd, &out, sizeof(out)) < 0)
		log_warning("the kernel does not say again what was not answered (%s), ignoring",
			    err_name(errno));
}

bool handover_refuse(int fd, const void *request, size_t len)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = -EINTR};
	struct fuse_in_header head;

	if (len < sizeof(head))
		return false;
	memcpy(&head, request, sizeof(head));
	if (!(head.unique & SAID_BEFORE) || !handover_changes(head.opcode))
		return false;
	out.unique = head.unique;
	return write(fd, &out, sizeof(out)) > 0;
}

bool handover_has_more(void)
{
	size_t at = source_at, len;

	return source && (!began || handover_next(&source->pending, &at, &len));
}

static ssize_t give_request(void *to, size_t room, const void *request, size_t len)
{
	if (len > room) {
		errno = EIO;
		return -1;
	}
	memcpy(to, request, len);
	return (ssize_t)len;
}

static ssize_t read_next(int fd, void *to, size_t room, void *userdata)
{
	const void *request;
	size_t len;

	(void)userdata; /* there is one session */
	if (!began) {
		struct fuse_in_header head;

		began = true;
		memcpy(&head, source->init.data, sizeof(head));
		first_id = head.unique;
		return give_request(to, room, source->init.data, source->init.len);
	}
	request = handover_next(&source->pending, &source_at, &len);
	return request ? give_request(to, room, request, len) : read(fd, to, room);
}

/* The kernel had its answer to the first request long ago. */
static ssize_t write_answer(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fuse_out_header head;
	ssize_t sum = 0;

	(void)userdata; /* as above */
	if (first_id && count > 0 && iov[0].iov_len >= sizeof(head)) {
		memcpy(&head, iov[0].iov_base, sizeof(head));
		if (head.unique == first_id) {
			first_id = 0;
			for (int i = 0; i < count; i++)
				sum += (ssize_t)iov[i].iov_len;
			return sum;
		}
	}
	return writev(fd, iov, count);
}

int handover_attach(struct fuse_session *se, struct handover *h, struct err *e)
{
	static const struct fuse_custom_io io = {.writev = write_answer, .read = read_next};
	int r = fuse_session_custom_io(se, &io, h->fuse_fd);

	if (r < 0)
		return err_sys(e, -r, "libfuse does not take the mount");
	source_fd = h->fuse_fd; /* the session's, while it lives */
	h->fuse_fd = -1;
	source = h;
	source_at = 0;
	began = false;
	return 0;
}
