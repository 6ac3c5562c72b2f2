/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/event-log.c - events on disk: a bounded log in the state directory that the next daemon reads
 *
 * How it works: events/new is written until it is as long as a segment may be, then it becomes events/old, and the old one is gone.
 * A line is the serial of its sandbox, a blank, and the event as it is shown. write() is enough for the end of the process; a thread
 * syncs what was written a few seconds later, so nobody who makes events waits for that.
 *
 * events/whole holds the id of this boot and the number that the log began at when it was opened: while it is there, each event
 * that was shown since that boot is in the log, and the next daemon goes on with the next number. It is removed when an event could not be
 * written, which takes no room; and after a crash of the host the boot is another. Then the next daemon begins above all numbers
 * that were set aside (serial.c).
 */
#include "ops/event-log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

enum {
	SYNC_SEC = 5,             /* at most so often */
	LINE_MAX_BYTES = 1 << 18, /* that a segment may be too long by; events are far shorter */
	BOOT_ID_LEN = 36,
};

#define NUMBER_MAX ((uint64_t)INT64_MAX / 2)

static struct {
	int dir_fd, fd; /* -1: no log */
	off_t size;
	size_t segment;
	bool failing; /* the last write failed */
} lg = {.dir_fd = -1, .fd = -1};

/* Of the thread that syncs. */
static pthread_mutex_t sync_lock = PTHREAD_MUTEX_INITIALIZER; /* no other is taken with it */
static pthread_cond_t sync_news = PTHREAD_COND_INITIALIZER;
static pthread_t sync_thread;
static bool sync_runs, sync_stop;
static int sync_fd = -1;     /* written since the last sync; owned; -1: nothing was */
static int sync_old_fd = -1; /* the segment before, whose end is not synced; owned */

/* ---- reading it back ------------------------------------------------------------------------------------- */

struct line {
	uint32_t serial;
	uint64_t number;
	const char *event; /* with its newline */
	size_t len;
};

/* Decimal digits. Return: 0 with *@at behind them; -EBADMSG none, or too large a number. */
static int take_number(const char **at, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	const char *p = *at;

	if (*p < '0' || *p > '9')
		return -EBADMSG;
	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (uint64_t)(*p - '0');
		if (n > max)
			return -EBADMSG;
	}
	*at = p;
	*ret = n;
	return 0;
}

/* The line at @at, of @left bytes and a NUL behind them, with a number above @last. Return: its length; 0: it is none. */
static size_t line_parse_at(const char *at, size_t left, uint64_t last, struct line *ret)
{
	static const char begin[] = " {\"seq\":";
	const char *end = memchr(at, '\n', left), *p = at;
	uint64_t serial, number;

	if (!end || end - at < (ptrdiff_t)sizeof(begin) || end[-1] != '}' ||
	    memchr(at, '\0', (size_t)(end - at)))
		return 0;
	if (take_number(&p, UINT32_MAX, &serial) < 0 || strncmp(p, begin, sizeof(begin) - 1) != 0)
		return 0;
	ret->event = p + 1;
	p += sizeof(begin) - 1;
	if (take_number(&p, NUMBER_MAX, &number) < 0 || *p != ',' || number <= last)
		return 0;
	ret->serial = (uint32_t)serial;
	ret->number = number;
	ret->len = (size_t)(end + 1 - ret->event);
	return (size_t)(end + 1 - at);
}

/* Return: bytes of @name that are good lines; 0 with *@ret_bad when it cannot be read. */
static size_t segment_read(const char *name, event_log_take take, uint64_t *last, bool *ret_bad)
{
	AUTO_BUF b = BUF_INIT;
	struct err e = {0};
	struct line line;
	size_t at = 0, n;
	int r = file_read(lg.dir_fd, name, lg.segment + LINE_MAX_BYTES, &b, &e);

	*ret_bad = r < 0 && r != -ENOENT;
	if (*ret_bad)
		log_warning("events/%s: %s, ignoring", name, e.text);
	if (r < 0)
		return 0;
	while (at < b.len && (n = line_parse_at(b.data + at, b.len - at, *last, &line)) > 0) {
		take(line.serial, line.number, line.event, line.len);
		*last = line.number;
		at += n;
	}
	if (at < b.len)
		log_warning("events/%s: the last %zu bytes are no events, ignoring them", name,
			    b.len - at);
	return at;
}

static bool boot_id(char ret[BOOT_ID_LEN + 1])
{
	AUTO_BUF b = BUF_INIT;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &b, NULL) < 0 ||
	    b.len < BOOT_ID_LEN)
		return false;
	memcpy(ret, b.data, BOOT_ID_LEN);
	ret[BOOT_ID_LEN] = '\0';
	return true;
}

/* The number that a log began at which has all that was shown since; 0: it is not whole. */
static uint64_t whole_since(void)
{
	AUTO_BUF b = BUF_INIT;
	char boot[BOOT_ID_LEN + 1];
	uint64_t first;
	const char *at;

	if (!boot_id(boot) || file_read(lg.dir_fd, "whole", 128, &b, NULL) < 0 ||
	    strncmp(buf_text(&b), boot, BOOT_ID_LEN) != 0 || b.data[BOOT_ID_LEN] != ' ')
		return 0;
	at = b.data + BOOT_ID_LEN + 1;
	return take_number(&at, NUMBER_MAX, &first) < 0 ? 0 : first;
}

/* ---- syncing --------------------------------------------------------------------------------------------- */

/* With the lock, which is released meanwhile. */
static void sync_once(void)
{
	int fd = steal_fd(&sync_fd), old = steal_fd(&sync_old_fd);
	bool failed;

	pthread_mutex_unlock(&sync_lock);
	failed = fd >= 0 && fdatasync(fd) < 0;
	if (old >= 0) {
		failed |= fdatasync(old) < 0;
		failed |= file_sync_dir(lg.dir_fd, NULL) < 0;
	}
	if (failed)
		log_warning(
			"events that happened are not safe from a crash of the host: %s, ignoring",
			strerrordesc_np(errno));
	fd_close(fd);
	fd_close(old);
	pthread_mutex_lock(&sync_lock);
}

static void *sync_main(void *arg)
{
	struct timespec until;

	(void)arg;
	pthread_mutex_lock(&sync_lock);
	while (!sync_stop) {
		if (sync_fd < 0 && sync_old_fd < 0) {
			pthread_cond_wait(&sync_news, &sync_lock);
			continue;
		}
		sync_once();
		(void)clock_gettime(CLOCK_REALTIME, &until); /* a clock that is set is no harm */
		until.tv_sec += SYNC_SEC;
		while (!sync_stop && pthread_cond_timedwait(&sync_news, &sync_lock, &until) == 0)
			;
	}
	sync_once();
	pthread_mutex_unlock(&sync_lock);
	return NULL;
}

static void sync_want(void)
{
	pthread_mutex_lock(&sync_lock);
	if (sync_runs && sync_fd < 0) {
		sync_fd = fcntl(lg.fd, F_DUPFD_CLOEXEC, 3); /* without: the kernel's own time */
		pthread_cond_signal(&sync_news);
	}
	pthread_mutex_unlock(&sync_lock);
}

/* @fd is handed over. */
static void sync_want_old(int fd)
{
	pthread_mutex_lock(&sync_lock);
	fd_close(steal_fd(&sync_old_fd)); /* quicker than the thread: the kernel's own time */
	if (sync_runs)
		sync_old_fd = steal_fd(&fd);
	pthread_cond_signal(&sync_news);
	pthread_mutex_unlock(&sync_lock);
	fd_close(fd);
}

/* ---- writing --------------------------------------------------------------------------------------------- */

/* From here on the next daemon cannot go by what is in the log. */
static void lacks_some(int code)
{
	if (unlinkat(lg.dir_fd, "whole", 0) < 0 && errno != ENOENT)
		log_warning("cannot remove events/whole, ignoring: %s", strerrordesc_np(errno));
	if (!lg.failing)
		log_warning("cannot write the log of events, ignoring: %s; they are kept in memory "
			    "alone",
			    strerrordesc_np(code));
	lg.failing = true;
}

static int new_open(const char *name, int flags)
{
	int fd = openat(lg.dir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);

	return fd < 0 ? -errno : fd;
}

/* The next one is made first, so that a failure leaves all as it is. */
static int rotate(void)
{
	AUTO_FD fresh = new_open("fresh", O_TRUNC);

	if (fresh < 0)
		return fresh;
	if (renameat(lg.dir_fd, "new", lg.dir_fd, "old") < 0 ||
	    renameat(lg.dir_fd, "fresh", lg.dir_fd, "new") < 0)
		return -errno;
	sync_want_old(steal_fd(&lg.fd));
	lg.fd = steal_fd(&fresh);
	lg.size = 0;
	return 0;
}

static int write_at_end(const char *text, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(lg.fd, text + done, len - done, lg.size + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int code = n < 0 ? errno : EIO;

			/* Whole lines only; what stays is overwritten, or cut off at the next start. */
			(void)!ftruncate(lg.fd, lg.size);
			return -code;
		}
		done += (size_t)n;
	}
	lg.size += (off_t)len;
	return 0;
}

void event_log_append(const char *text, size_t len)
{
	int r = text ? 0 : -ENOMEM;

	if (lg.fd < 0)
		return;
	if (r == 0 && lg.size > 0 && (size_t)lg.size + len > lg.segment)
		r = rotate();
	if (r == 0)
		r = write_at_end(text, len);
	if (r < 0) {
		lacks_some(-r);
		return;
	}
	if (lg.failing)
		log_info("the log of events is written again");
	lg.failing = false;
	sync_want();
}

/* ---- opening and closing --------------------------------------------------------------------------------- */

static int dir_open(int state_fd, struct err *e)
{
	if (mkdirat(state_fd, "events", 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot make events in the state directory");
	return file_open_dir(state_fd, "events", &lg.dir_fd, e);
}

/* Behind the first @good bytes of it. */
static int new_begin(size_t good, bool bad, struct err *e)
{
	int fd;

	if (bad)
		(void)renameat(lg.dir_fd, "new", lg.dir_fd, "old"); /* else it is cut off below */
	fd = new_open("new", 0);
	if (fd < 0)
		return err_sys(e, -fd, "cannot open events/new");
	if (ftruncate(fd, (off_t)good) < 0) {
		int code = errno;

		fd_close(fd);
		return err_sys(e, code, "cannot write events/new");
	}
	lg.fd = fd;
	lg.size = (off_t)good;
	return 0;
}

int event_log_open(int state_fd, size_t segment, event_log_take take, struct event_log_numbers *ret,
		   struct err *e)
{
	uint64_t last = 0, since;
	bool bad = false;
	size_t good;
	int r;

	*ret = (struct event_log_numbers){.above = 1};
	lg.segment = segment;
	lg.failing = false;
	r = dir_open(state_fd, e);
	if (r < 0)
		return r;
	(void)segment_read("old", take, &last, &bad);
	good = segment_read("new", take, &last, &bad);
	since = whole_since();
	ret->above = last + 1 > since ? last + 1 : since;
	ret->next = since > 0 ? ret->above : 0;
	r = new_begin(good, bad, e);
	if (r < 0)
		fd_close(steal_fd(&lg.dir_fd));
	return r;
}

void event_log_begin(uint64_t first)
{
	char boot[BOOT_ID_LEN + 1], text[80];
	struct err e = {0};

	if (lg.fd < 0)
		return;
	if (boot_id(boot)) {
		(void)snprintf(text, sizeof(text), "%s %" PRIu64 "\n", boot, first); /* fits */
		if (file_replace(lg.dir_fd, "whole", 0600, text, strlen(text), &e) < 0)
			lacks_some(e.code);
	}
	sync_stop = false;
	sync_runs = pthread_create(&sync_thread, NULL, sync_main, NULL) == 0;
	if (!sync_runs)
		log_warning("no thread to sync the log of events, ignoring");
}

void event_log_close(void)
{
	if (sync_runs) {
		pthread_mutex_lock(&sync_lock);
		sync_stop = true;
		pthread_cond_signal(&sync_news);
		pthread_mutex_unlock(&sync_lock);
		(void)pthread_join(sync_thread, NULL); /* it was started, and only once */
		sync_runs = false;
	}
	fd_close(steal_fd(&lg.fd));
	fd_close(steal_fd(&lg.dir_fd));
}
