/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/history-call.h - single calls of helper-history-load, and what they answer in a word */
#ifndef SBXFS_TESTS_HISTORY_CALL_H
#define SBXFS_TESTS_HISTORY_CALL_H

#include <sys/stat.h>

#include "tests/cases/history-record.h"

static const char *mount_dir;
static volatile bool dead; /* the daemon has been killed */

static void nap_ms(uint64_t ms)
{
	const struct timespec t = {.tv_sec = (time_t)(ms / 1000),
				   .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&t, NULL);
}

static void path_of(char *ret, size_t size, const char *name, const char *file)
{
	(void)snprintf(ret, size, "%s/%s%s%s", mount_dir, name, file[0] ? "/" : "", file);
}

static const char *error_word(int code)
{
	const char *name = strerrorname_np(code);

	if (code != ENOTCONN && code != ECONNABORTED)
		return name ? name : "E?";
	dead = true;
	return "died";
}

static const char *read_word(const char *name, const char *file, char *ret, size_t size)
{
	char path[512];
	int fd;
	ssize_t n;

	path_of(path, sizeof(path), name, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, ret, size - 1);
	(void)snprintf(ret + (n > 0 ? n : 0), size - (size_t)(n > 0 ? n : 0), "%s",
		       n < 0 ? error_word(errno) : "");
	if (fd >= 0)
		(void)close(fd);
	ret[strcspn(ret, "\n")] = '\0';
	return ret;
}

static const char *write_text(const char *name, const char *text, bool nonblock)
{
	char path[512];
	int fd, code = 0;

	path_of(path, sizeof(path), name, "ctl");
	fd = open(path, O_RDWR | O_CLOEXEC | (nonblock ? O_NONBLOCK : 0));
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		code = errno;
	if (fd >= 0)
		(void)close(fd);
	return code ? error_word(code) : "ok";
}

static void record_op(const struct call_record *c, const char *result)
{
	record(now_ns(), "op %s %ld %ld %s %s %s %s %s\n", c->name, c->begin, now_ns(), c->verb,
	       c->arg, c->nowait ? "nowait" : "wait", result, c->signalled ? "signalled" : "-");
}

/* Kill its virtual machine, and wait until the daemon has seen that. */
static const char *crash(const char *name)
{
	char text[4096];
	const char *result = "ok";
	long pid = vm_pid(mount_dir, name, text, sizeof(text));
	int fd = pid > 0 ? pidfd(pid) : -1;

	if (fd < 0)
		return "none";
	if (vm_pid(mount_dir, name, text, sizeof(text)) == pid)
		(void)kill_by(fd);
	else
		result = "none";
	(void)close(fd);
	for (int64_t until = now_ns() + 300 * SECOND; is_ok(result); nap_ms(20)) {
		long other = vm_pid(mount_dir, name, text, sizeof(text));

		if (other < 0 && errno == ENOTCONN)
			return error_word(errno);
		if (other != pid)
			break;
		if (now_ns() > until)
			result = "unseen";
	}
	return result;
}

#endif
