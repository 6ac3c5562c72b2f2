/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/program.c - a VMM's program: found, asked what it is, ended, its last words */
#include "vm/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/proc.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

enum {
	ASK_LIMIT_MS = 60 * 1000, /* for one run that only prints something; a host may be busy */
	ASK_MAX = 64 * 1024,      /* bytes of its answer */
	LAST_WORDS = 1024,        /* bytes of stderr in an error */
};

int program_find(const char *name, const char *hint, char *ret, size_t size, struct err *e)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment is never changed once threads run */
	const char *dirs = getenv("PATH");

	if (!dirs || !*dirs)
		dirs = DEFAULT_PATH;
	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		int n = snprintf(ret, size, "%.*s/%s", (int)len, dirs, name);

		if (len > 0 && n > 0 && (size_t)n < size && access(ret, X_OK) == 0)
			return 0;
		dirs += len + (dirs[len] == ':');
	}
	return err_set(e, ENOTSUP, "there is no %s in PATH; %s", name, hint);
}

/* Read until the end of the pipe. Return: 0; -ETIMEDOUT; -EFBIG. */
static int read_answer(int fd, const struct deadline *d, struct buf *answer)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char piece[4096];
		ssize_t n;
		int r = deadline_poll(d, &p, 1);

		if (r < 0)
			return r;
		n = read(fd, piece, sizeof(piece));
		if (n == 0)
			return 0;
		if (n > 0)
			buf_add(answer, piece, (size_t)n);
		if (answer->len > ASK_MAX)
			return -EFBIG;
	}
}

int program_ask(const char *const *argv, struct buf *answer, struct err *e)
{
	struct deadline d = deadline_in(ASK_LIMIT_MS, -1);
	struct proc_spec spec = {.argv = argv, .stdin_fd = -1, .stderr_fd = -1, .netns_fd = -1};
	AUTO_FD in = -1;
	AUTO_FD out = -1;
	AUTO_FD pidfd = -1;
	struct proc_id id;
	int status = -1;
	int fds[2];
	int r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	in = fds[0];
	out = fds[1];
	spec.stdout_fd = out;
	r = proc_spawn(&spec, &id, &pidfd, e);
	if (r < 0)
		return r;
	fd_close(steal_fd(&out));
	r = read_answer(in, &d, answer);
	if (r < 0)
		(void)proc_kill(pidfd, SIGKILL); /* the wait tells */
	if (proc_wait(pidfd, &d) < 0 && proc_kill(pidfd, SIGKILL) == 0) {
		d = deadline_in(ASK_LIMIT_MS, -1);
		r = proc_wait(pidfd, &d);
	}
	if (r == 0)
		proc_reap(pidfd, &status);
	if (status != 0 || buf_error(answer) < 0)
		return err_set(e, ENOTSUP, "%s %s gave no answer; is it installed completely?",
			       argv[0], argv[1]);
	return 0;
}

int program_end(int pidfd, const char *what, const struct deadline *d, struct err *e)
{
	int status = -1;
	int r = proc_kill(pidfd, SIGKILL);

	if (r < 0)
		return err_sys(e, -r, "cannot kill %s", what);
	r = proc_wait(pidfd, d);
	if (r < 0)
		return err_set(e, -r, "%s was killed, but the kernel has not let it go yet", what);
	proc_reap(pidfd, &status);
	return 0;
}

off_t program_stderr_length(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

void program_last_words(int fd, off_t from, struct err *e)
{
	char path[40];
	char text[LAST_WORDS + 1];
	off_t end = program_stderr_length(fd);
	AUTO_FD file = -1;
	ssize_t n;

	if (!e || from < 0 || end <= from)
		return;
	if (end - from > LAST_WORDS)
		from = end - LAST_WORDS;
	/* The descriptor may be open for writing only. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fits */
	file = open(path, O_RDONLY | O_CLOEXEC);
	n = file < 0 ? -1 : pread(file, text, LAST_WORDS, from);
	while (n > 0 && strchr("\r\n ", text[n - 1]))
		n--;
	if (n > 0) {
		size_t have = strlen(e->text);

		text[n] = '\0';
		(void)snprintf(e->text + have, sizeof(e->text) - have, "; it said: %s", text);
	}
}
