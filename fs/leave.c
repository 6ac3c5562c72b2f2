// SPDX-License-Identifier: GPL-2.0-or-later
/* fs/leave.c - the loop's part in passing the mount on
 *
 * How it works: from the moment that the next daemon asks, requests that change something are not begun but kept as they were read;
 * all others are answered as ever. Commands under way have LEAVE_MS to end, then their writers get EINTR. When the last one has been answered,
 * everything goes to the next daemon at once. Should that one fail, what was kept is answered here.
 */
#include "fs/leave.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include <fuse_lowlevel.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/log.h"
#include "fs/handover.h"
#include "fs/keep.h"
#include "fs/stream.h"
#include "fs/tree.h"
#include "fs/write.h"
#include "ops/host.h"

enum {
	LEAVE_MS = 5000, /* for commands under way */
	CUT_MS = 10000,  /* for them to be undone */
};

static int listen_fd = -1;
static struct handover leaving =
	HANDOVER_NONE; /* conn_fd >= 0: another daemon has asked; init: since the mount began */
static int64_t cut_ms, end_ms;
static bool cut;
static bool given; /* to who keeps it over our end */

void leave_offer(int fd)
{
	fd_close(listen_fd);
	listen_fd = fd;
}

int leave_fd(void)
{
	return leaving.conn_fd < 0 ? listen_fd : -1;
}

void leave_accept(void)
{
	leaving.conn_fd = handover_accept(listen_fd);
	if (leaving.conn_fd < 0)
		return;
	log_info("another daemon asks for the mount");
	cut = false;
	cut_ms = clock_ms() + LEAVE_MS;
	end_ms = cut_ms + CUT_MS;
}

bool leave_keep(const void *request, size_t len)
{
	struct fuse_in_header head;

	if (len < sizeof(head))
		return false;
	memcpy(&head, request, sizeof(head));
	if (head.opcode == FUSE_INIT) {
		buf_reset(&leaving.init);
		buf_add(&leaving.init, request, len);
	}
	if (leaving.conn_fd < 0)
		return false;
	if (!handover_changes(head.opcode) &&
	    head.opcode != FUSE_INTERRUPT) /* perhaps of such a one */
		return false;
	handover_add(&leaving.pending, request, len);
	return buf_error(&leaving.pending) == 0;
}

int leave_left_ms(void)
{
	int64_t left = (cut ? end_ms : cut_ms) - clock_ms();

	if (leaving.conn_fd < 0)
		return -1;
	return left > 0 ? (int)left : 0;
}

/* What was kept is ours after all. */
static void stay(struct fuse_session *se)
{
	AUTO_BUF pending = leaving.pending;
	const void *request;
	size_t at = 0, len;

	leaving.pending = (struct buf)BUF_INIT;
	fd_close(steal_fd(&leaving.conn_fd));
	while ((request = handover_next(&pending, &at, &len))) {
		struct fuse_buf buf = {.mem = malloc(len), .size = len};

		if (buf.mem) { /* else its sender waits for ever, as for any request that cannot be read */
			memcpy(buf.mem, request, len);
			fuse_session_process_buf(se, &buf);
		}
		free(buf.mem);
	}
}

static bool give(struct fuse_session *se)
{
	struct handover h = {.fuse_fd = fuse_session_fd(se),
			     .conn_fd = leaving.conn_fd,
			     .init = leaving.init,
			     .opens = BUF_INIT,
			     .pending = BUF_INIT,
			     .host = BUF_INIT};
	struct err e = {0};
	int r;

	host_describe(&h.host);
	handover_save_opens(&h.opens);
	stream_hand_over(&h.pending); /* they asked first */
	buf_add(&h.pending, buf_text(&leaving.pending), leaving.pending.len);
	r = handover_give(&h, &e);
	if (r < 0)
		log_warning("%s, ignoring", e.text);
	buf_done(&h.opens);
	buf_done(&h.pending);
	buf_done(&h.host);
	return r == 0;
}

bool leave_tick(struct fuse_session *se)
{
	int64_t now = clock_ms();

	if (!given && leaving.init.len) {
		given = true;
		keep_give(fuse_session_fd(se), &leaving.init);
	}
	if (leaving.conn_fd < 0)
		return false;
	if (!cut && now >= cut_ms) {
		cut = true;
		write_cancel_all(true, EINTR);
	}
	if (write_is_pending() && now < end_ms)
		return false;
	dirwork_stop(); /* which ends what it has */
	if (!write_is_pending() && give(se))
		return true;
	if (dirwork_start() < 0)
		log_error("cannot start a thread again: directories cannot be made any more");
	stay(se);
	return false;
}
