/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/history-record.h - what helper-history-load has seen: calls and events, in the order of time */
#ifndef SBXFS_TESTS_HISTORY_RECORD_H
#define SBXFS_TESTS_HISTORY_RECORD_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

struct call_record {
	const char *name, *verb, *arg;
	bool nowait, signalled;
	int64_t begin;
};

static struct {
	pthread_mutex_t lock;
	struct entry {
		int64_t at;
		size_t number;
		char *text;
	} * list;
	size_t count, room;
} history = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static inline bool is_ok(const char *result)
{
	return strcmp(result, "ok") == 0;
}

static void __attribute__((format(printf, 2, 3))) record(int64_t at, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	pthread_mutex_lock(&history.lock);
	if (history.count == history.room) {
		history.room = history.room ? 2 * history.room : 1024;
		history.list = realloc(history.list, history.room * sizeof(*history.list));
		if (!history.list)
			abort();
	}
	history.list[history.count] = (struct entry){at, history.count, text};
	history.count++;
	pthread_mutex_unlock(&history.lock);
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Append all to a file. What other threads add after that is lost. */
static bool record_write(const char *path)
{
	FILE *file = fopen(path, "ae");
	bool ok = file;

	pthread_mutex_lock(&history.lock);
	if (history.count)
		qsort(history.list, history.count, sizeof(*history.list), compare_entries);
	for (size_t i = 0; i < history.count && ok; i++)
		ok = fputs(history.list[i].text, file) >= 0;
	pthread_mutex_unlock(&history.lock);
	return file && fclose(file) == 0 && ok;
}

/* ---- events -------------------------------------------------------------------------------------------------- */

static struct {
	int fd;
	char line[4096]; /* one that has not come to its end */
	size_t len;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more;
	struct last {
		char name[64], state[16];
	} last[512];
	size_t count;
} events = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

/* The text after "KEY":" up to the next quote; "-" when there is none. */
static inline void member(const char *line, const char *key, char *ret, size_t size)
{
	char pattern[32];
	const char *at;

	(void)snprintf(pattern, sizeof(pattern), "\"%s\":\"", key);
	at = strstr(line, pattern);
	(void)snprintf(ret, size, "%.*s", at ? (int)strcspn(at + strlen(pattern), "\"") : 1,
		       at ? at + strlen(pattern) : "-");
}

/* The state of its last event; NULL: it had none. Under the lock. */
static inline struct last *last_of(const char *name, bool make)
{
	for (size_t i = 0; i < events.count; i++)
		if (strcmp(events.last[i].name, name) == 0)
			return &events.last[i];
	if (!make || events.count == sizeof(events.last) / sizeof(events.last[0]))
		return NULL;
	(void)snprintf(events.last[events.count].name, sizeof(events.last[0].name), "%s", name);
	return &events.last[events.count++];
}

static inline void event_line(const char *line)
{
	char name[64], state[16], from[16];
	const char *seq = strstr(line, "\"seq\":");
	struct last *last;

	member(line, "sandbox", name, sizeof(name));
	member(line, "state", state, sizeof(state));
	member(line, "from", from, sizeof(from));
	record(now_ns(), "event %lu %s %s %s\n", seq ? strtoul(seq + 6, NULL, 10) : 0,
	       name[0] ? name : "-", state, from);
	if (strcmp(from, "-") == 0)
		return;
	pthread_mutex_lock(&events.lock);
	last = last_of(name, true);
	if (last)
		memcpy(last->state, state, sizeof(state));
	pthread_cond_broadcast(&events.more);
	pthread_mutex_unlock(&events.lock);
}

/* Return: bytes read; 0 at the end or when there are none yet. */
static inline ssize_t events_read(bool count_them)
{
	ssize_t n = read(events.fd, events.line + events.len, sizeof(events.line) - 1 - events.len);
	char *end;

	if (n <= 0)
		return n;
	events.len += (size_t)n;
	events.line[events.len] = '\0';
	while ((end = strchr(events.line, '\n'))) {
		*end = '\0';
		if (count_them)
			event_line(events.line);
		events.len -= (size_t)(end + 1 - events.line);
		memmove(events.line, end + 1, events.len + 1);
	}
	return n;
}

static void *follow(void *arg)
{
	struct pollfd pfd = {.fd = events.fd, .events = POLLIN};

	(void)arg;
	for (;;) {
		if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
			return NULL;
		if (events_read(true) <= 0 && errno != EAGAIN && errno != EINTR)
			return NULL;
	}
}

/* Follow .events from now on, in a thread. */
static bool record_follow(const char *mount)
{
	char path[512];
	pthread_t thread;

	(void)snprintf(path, sizeof(path), "%s/.events", mount);
	events.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (events.fd < 0)
		return false;
	while (events_read(false) > 0)
		;
	return pthread_create(&thread, NULL, follow, NULL) == 0 && pthread_detach(thread) == 0;
}

/* What is read of one at rest, after the event that says the same has come; it has a while for that. */
static void record_final(const char *name, const char *state)
{
	struct timespec until;
	struct last *last;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	pthread_mutex_lock(&events.lock);
	while ((last = last_of(name, false)) && strcmp(last->state, state) != 0)
		if (pthread_cond_timedwait(&events.more, &events.lock, &until) != 0)
			break;
	pthread_mutex_unlock(&events.lock);
	record(now_ns(), "final %s %s\n", name, state);
}

/* ---- virtual machines ---------------------------------------------------------------------------------------- */

/* The pid of its virtual machine; 0: it has none; -1 with errno. */
static inline long vm_pid(const char *mount, const char *name, char *buf, size_t size)
{
	char path[512];
	const char *at;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s/status", mount, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, buf, size - 1);
	(void)close(fd);
	if (n < 0)
		return -1;
	buf[n] = '\0';
	at = strstr(buf, "\npid=");
	return at ? strtol(at + 5, NULL, 10) : 0;
}

static inline int pidfd(long pid)
{
	return (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
}

static inline int kill_by(int fd)
{
	return (int)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}

#endif
