/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nl-talk.c - requests over netlink and their answers
 *
 * How it works: the messages are put together with libnl's attribute functions, and the kernel's own errno
 * is taken from its answer (libnl's codes lose some of them). Every request ends with an acknowledgement
 * or the end of a dump, which the kernel queues before sendmsg() returns, so nothing here waits for others.
 */
#include "net/nl-talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <string.h>

/* What the callbacks of one exchange share. */
struct talk {
	reply_fn reply;
	void *arg;
	int error; /* negative errno, as the kernel said */
	bool is_over;
};

int req_open(int protocol, struct nl_sock **ret, struct err *e)
{
	struct nl_sock *sock = nl_socket_alloc();
	int rc;

	if (!sock)
		return err_set(e, ENOMEM, "no memory for a netlink connection");
	rc = nl_connect(sock, protocol);
	if (rc < 0) {
		nl_socket_free(sock);
		return err_set(e, EIO, "cannot open netlink: %s", nl_geterror(rc));
	}
	*ret = sock;
	return 0;
}

struct req req_begin(int type, int flags, void *head, size_t head_len)
{
	struct req r = {.msg = nlmsg_alloc_simple(type, flags | NLM_F_REQUEST)};

	r.failed = !r.msg || nlmsg_append(r.msg, head, head_len, NLMSG_ALIGNTO) < 0;
	return r;
}

void req_put(struct req *r, int attr, const void *data, size_t len)
{
	if (!r->failed)
		r->failed = nla_put(r->msg, attr, (int)len, data) < 0;
}

void req_put_text(struct req *r, int attr, const char *text)
{
	req_put(r, attr, text, strlen(text) + 1);
}

void req_put_u32(struct req *r, int attr, uint32_t value)
{
	req_put(r, attr, &value, sizeof(value));
}

void req_put_addr(struct req *r, int attr, uint32_t addr)
{
	req_put_u32(r, attr, htonl(addr));
}

struct nlattr *req_nest(struct req *r, int attr)
{
	struct nlattr *nest = r->failed ? NULL : nla_nest_start(r->msg, attr);

	r->failed = r->failed || !nest;
	return nest;
}

void req_nest_end(struct req *r, struct nlattr *nest)
{
	if (!r->failed)
		(void)nla_nest_end(r->msg, nest); /* fails only for an empty nest; none is */
}

static int on_reply(struct nl_msg *msg, void *arg)
{
	struct talk *t = arg;

	if (t->reply)
		t->reply(nlmsg_hdr(msg), t->arg);
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	struct talk *t = arg;

	(void)msg;
	t->is_over = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct talk *t = arg;

	(void)from;
	t->error = error->error;
	t->is_over = true;
	return NL_STOP;
}

static int talk_receive(struct nl_sock *sock, struct talk *t)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int rc = 0;

	if (!cb)
		return -ENOMEM;
	/* These can only fail for a kind out of range. */
	(void)nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_reply, t);
	(void)nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, t);
	(void)nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, t);
	(void)nl_cb_err(cb, NL_CB_CUSTOM, on_error, t);
	while (!t->is_over && rc >= 0)
		rc = nl_recvmsgs(sock, cb);
	nl_cb_put(cb);
	if (t->error)
		return t->error;
	if (rc == -NLE_DUMP_INTR)
		return -EAGAIN;
	return rc < 0 && !t->is_over ? -EIO : 0;
}

int req_run(struct nl_sock *sock, struct req *r, reply_fn reply, void *arg)
{
	struct talk t = {.reply = reply, .arg = arg};
	int rc = r->failed ? -ENOMEM : 0;

	if (rc == 0 && nl_send_auto(sock, r->msg) < 0)
		rc = -EIO;
	if (rc == 0)
		rc = talk_receive(sock, &t);
	if (r->msg)
		nlmsg_free(r->msg);
	return rc;
}
