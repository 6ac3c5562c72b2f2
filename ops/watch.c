/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/watch.c - the thread that waits for VMMs to end, and keeps console logs short
 *
 * How it works: an epoll set holds one pidfd for each running sandbox, tagged with its serial. When one
 * becomes readable a job is queued on that sandbox's lane; the job has the turn and so knows whether the
 * end was wanted.
 */
#include "ops/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/lifecycle.h"
#include "ops/registry.h"
#include "vm/vm.h"

enum {
	WATCH_TRIM_MS = 2000,
	WATCH_BATCH = 32,
	CONSOLE_KEPT_BYTES = 4 << 20, /* of a console.log; what lies before is punched out */
};

static int epoll_fd = -1, stop_fd = -1;
static pthread_t watch_thread;

void watch_add(struct sbx *s)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = s->serial};
	int fd = fcntl(vm_common(s->vm)->pidfd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		log_warning(
			"cannot watch the virtual machine, ignoring: its end will go unnoticed");
		fd_close(fd);
		return;
	}
	s->watch_fd = fd;
}

void watch_remove(struct sbx *s)
{
	if (s->watch_fd >= 0)
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->watch_fd, NULL); /* it is in the set */
	fd_close(steal_fd(&s->watch_fd));
}

/* The pidfd stays readable, hence EPOLLONESHOT: the job that is queued takes it out of the set. */
static void vm_ended_event(uint32_t serial)
{
	struct sbx *s = registry_find_serial(serial);

	if (!s)
		return;
	lifecycle_vm_ended(s);
	sbx_put(s);
}

static void console_trim(const struct sbx *s)
{
	AUTO_FD fd = sbx_open(s, "console.log", O_WRONLY);
	struct stat st;
	off_t cut;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_blocks * 512 < (off_t)CONSOLE_KEPT_BYTES * 2)
		return;
	cut = (st.st_size - CONSOLE_KEPT_BYTES) & ~(off_t)4095;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, cut) < 0)
		log_warning("cannot shorten console.log, ignoring");
}

static void trim_all(void)
{
	uint32_t after = 0;
	struct sbx *s;

	while ((s = registry_next(after))) {
		after = s->serial;
		if (sbx_state(s) == SBX_RUNNING)
			console_trim(s);
		sbx_put(s);
	}
}

static void *watch_run(void *arg)
{
	struct epoll_event events[WATCH_BATCH];
	int64_t trimmed = clock_ms();

	(void)arg;
	for (;;) {
		int left = (int)(trimmed + WATCH_TRIM_MS - clock_ms());
		int n = epoll_wait(epoll_fd, events, WATCH_BATCH, left > 0 ? left : 0);

		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == 0)
				return NULL;
			vm_ended_event((uint32_t)events[i].data.u64);
		}
		if (clock_ms() - trimmed >= WATCH_TRIM_MS) {
			trim_all();
			trimmed = clock_ms();
		}
	}
}

int watch_init(struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 0};
	int r;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (epoll_fd < 0 || stop_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, stop_fd, &ev) < 0)
		return err_sys(e, errno, "cannot set up the watcher");
	r = pthread_create(&watch_thread, NULL, watch_run, NULL);
	return r ? err_sys(e, r, "cannot start the watcher") : 0;
}

void watch_stop(void)
{
	uint64_t one = 1;

	(void)file_write_all(stop_fd, &one, sizeof(one)); /* an eventfd at 0 takes it */
	(void)pthread_join(watch_thread, NULL);           /* it was started, and only once */
}

void watch_done(void)
{
	fd_close(steal_fd(&stop_fd));
	fd_close(steal_fd(&epoll_fd));
}
