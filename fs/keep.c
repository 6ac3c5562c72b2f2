// SPDX-License-Identifier: GPL-2.0-or-later
/* fs/keep.c - a mount that outlives its daemon */
#include "fs/keep.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define FUSE_NAME "sbxfs-fuse"
#define INIT_NAME "sbxfs-init"

enum {
	INIT_MAX = 4096, /* bytes of the first request; it has about a hundred */
	RESEND_BIT = 7,  /* FUSE_HAS_RESEND is bit 39: this one of flags2 */
};

static bool kept;

static bool can_resend(const struct buf *init)
{
	struct fuse_init_in in;

	if (init->len < sizeof(struct fuse_in_header) + sizeof(in))
		return false;
	memcpy(&in, init->data + sizeof(struct fuse_in_header), sizeof(in));
	return in.flags & FUSE_INIT_EXT && in.flags2 & 1u << RESEND_BIT;
}

void keep_give(int fuse_fd, const struct buf *init)
{
	AUTO_FD fd = -1;

	if (!can_resend(init))
		return;
	fd = memfd_create(INIT_NAME, MFD_CLOEXEC);
	if (fd < 0 || file_write_all(fd, init->data, init->len) < 0) {
		log_warning("no memory for the mount to be kept, ignoring");
		return;
	}
	/* One of another mount may be there still, and there is room for few. */
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" INIT_NAME);
	/* None of the three does anything when systemd did not start us, or keeps nothing. */
	kept = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=" INIT_NAME, &fd, 1) > 0 &&
	       sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=" FUSE_NAME, &fuse_fd, 1) > 0;
}

bool keep_has(void)
{
	return kept;
}

void keep_forget(void)
{
	if (kept) { /* as above */
		(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" INIT_NAME);
		(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" FUSE_NAME);
	}
	kept = false;
}

static bool init_read(int fd, struct buf *ret)
{
	char data[INIT_MAX];
	ssize_t n = pread(fd, data, sizeof(data), 0);

	if (n < (ssize_t)sizeof(struct fuse_in_header))
		return false;
	buf_add(ret, data, (size_t)n);
	return buf_error(ret) == 0;
}

bool keep_take(struct handover *ret)
{
	struct handover h = HANDOVER_NONE;
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);
	bool has_init = false;

	for (int i = 0; i < count; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (strcmp(names[i], FUSE_NAME) == 0 && h.fuse_fd < 0) {
			h.fuse_fd = fd;
		} else {
			has_init |= strcmp(names[i], INIT_NAME) == 0 && !has_init &&
				    init_read(fd, &h.init);
			fd_close(fd);
		}
	}
	for (int i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
	if (h.fuse_fd < 0 || !has_init) {
		handover_done(&h);
		return false;
	}
	h.lost = true;
	*ret = h;
	return true;
}
