/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/proc.c - child processes: known, signalled, awaited, run to their end
 *
 * How it works: a pidfd is opened first and the start time compared after; had the process ended in between
 * and its pid been taken by another, the start time would differ. proc_spawn() is in spawn.c.
 */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/parse.h"

enum {
	STAT_SIZE = 1024, /* bytes of /proc/PID/stat: 52 numbers and a name of 64 bytes at most */
	STAT_START_WORD = 19, /* the start time is the 20th word behind the name (field 22) */
	STDERR_TAIL = 4096,   /* bytes kept of what a program wrote last to stderr */
	KILL_MS = 5000,       /* from SIGKILL to the end */
	SIGNAL_STATUS = 128,  /* added to a signal's number, as sh does */
};

int proc_start_time(pid_t pid, uint64_t *ret_start)
{
	char path[64], text[STAT_SIZE];
	AUTO_FD fd = -1;
	char *p;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid); /* fits */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	p = strrchr(text, ')'); /* a process may have any name, also ") R 1" */
	if (!p || p[1] != ' ')
		return -ESRCH;
	p += 2;
	for (int i = 0; i < STAT_START_WORD; i++) {
		p = strchr(p, ' ');
		if (!p)
			return -ESRCH;
		p++;
	}
	p[strcspn(p, " \n")] = '\0';
	return parse_u64(p, 0, UINT64_MAX, ret_start) < 0 ? -ESRCH : 0;
}

int proc_open(const struct proc_id *id, int *ret_pidfd)
{
	AUTO_FD fd = -1;
	uint64_t start;

	if (id->pid <= 0)
		return -ESRCH;
	fd = pidfd_open(id->pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	if (proc_start_time(id->pid, &start) < 0 || start != id->start)
		return -ESRCH;
	*ret_pidfd = steal_fd(&fd);
	return 0;
}

int proc_kill(int pidfd, int sig)
{
	if (pidfd_send_signal(pidfd, sig, NULL, 0) < 0 && errno != ESRCH)
		return -errno;
	return 0;
}

int proc_wait(int pidfd, const struct deadline *d)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int r = deadline_poll(d, &p, 1);

	return r < 0 ? r : 0;
}

void proc_reap(int pidfd, int *ret_status)
{
	siginfo_t info;
	int r;

	memset(&info, 0, sizeof(info));
	do
		r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		*ret_status = -1;
	else if (info.si_code == CLD_EXITED)
		*ret_status = (info.si_status & 0xff) << 8;
	else
		*ret_status = info.si_status | (info.si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

/* The end of what a program wrote. */
struct tail {
	char text[STDERR_TAIL + 1];
	size_t len;
};

/* Take what is there to read. Return: false at the end of the pipe. */
static bool tail_read(struct tail *t, int fd)
{
	char piece[STDERR_TAIL / 2];
	ssize_t n = read(fd, piece, sizeof(piece));
	size_t len, drop = 0;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	len = (size_t)n;
	if (t->len + len > STDERR_TAIL)
		drop = t->len + len - STDERR_TAIL;
	memmove(t->text, t->text + drop, t->len - drop);
	memcpy(t->text + t->len - drop, piece, len);
	t->len += len - drop;
	return true;
}

/* The last line that says something; "" if there is none. Cuts the text up. */
static char *tail_line(struct tail *t)
{
	char *line;

	while (t->len > 0 && strchr(" \t\r\n", t->text[t->len - 1]))
		t->len--;
	t->text[t->len] = '\0';
	line = strrchr(t->text, '\n');
	return line ? line + 1 : t->text;
}

/* Read stderr until the program has ended. What it leaves behind may hold the pipe longer: no matter. */
static int follow(int pidfd, int fd, const struct deadline *d, struct tail *t)
{
	bool open = true;

	for (;;) {
		struct pollfd p[] = {
			{.fd = pidfd, .events = POLLIN},
			{.fd = open ? fd : -1, .events = POLLIN},
		};
		int r = deadline_poll(d, p, 2);

		if (r < 0)
			return r;
		if (p[1].revents)
			open = tail_read(t, fd);
		else if (p[0].revents)
			return 0;
		/* A program that never stops writing must not outlive its deadline. */
		if (deadline_left_ms(d) == 0 && !p[0].revents)
			return -ETIMEDOUT;
	}
}

/* Kill @id with all that it started, and collect it. */
static void kill_group(const struct proc_id *id, int pidfd)
{
	/* Only one that hangs in the kernel takes longer; waiting for it for ever would spread that. */
	const struct deadline soon = deadline_in(KILL_MS, -1);
	int status;

	/* It leads a session, and is not reaped, so the number cannot be another's. It may have ended. */
	(void)kill(-id->pid, SIGKILL);
	if (proc_wait(pidfd, &soon) == 0)
		proc_reap(pidfd, &status);
}

/* Tell how it ended, when not well. */
static int judge(const char *name, int raw, struct tail *t, struct err *e)
{
	const char *line = tail_line(t), *colon = *line ? ": " : "";
	int status;

	if (raw < 0) {
		(void)err_set(e, ECHILD, "%s was collected by somebody else%s%s", name, colon,
			      line);
		return -ECHILD;
	}
	if (WIFSIGNALED(raw)) {
		status = SIGNAL_STATUS + WTERMSIG(raw);
		(void)err_set(e, EIO, "%s was ended by signal %d%s%s", name, WTERMSIG(raw), colon,
			      line);
	} else {
		status = WEXITSTATUS(raw);
		if (status)
			(void)err_set(e, EIO, "%s exited with status %d%s%s", name, status, colon,
				      line);
	}
	return status;
}

int proc_run(const char *const *argv, const struct deadline *d, int *ret_status, struct err *e)
{
	return proc_run_on(argv, -1, d, ret_status, e);
}

int proc_run_on(const char *const *argv, int fd, const struct deadline *d, int *ret_status,
		struct err *e)
{
	AUTO_FD out = -1;
	AUTO_FD in = -1;
	AUTO_FD pidfd = -1;
	struct proc_spec spec = {.argv = argv,
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = -1,
				 .fds = &fd,
				 .fd_count = fd >= 0 ? 1 : 0,
				 .netns_fd = -1};
	struct tail t = {.len = 0};
	struct proc_id id;
	int fds[2], r, raw;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, errno, "cannot make a pipe for %s", argv[0]);
	out = fds[0];
	in = fds[1];
	/* The program's end blocks as usual. */
	if (fcntl(in, F_SETFL, 0) < 0)
		return err_sys(e, errno, "cannot set up a pipe for %s", argv[0]);
	spec.stderr_fd = in;
	r = proc_spawn(&spec, &id, &pidfd, e);
	if (r < 0)
		return r;
	fd_close(steal_fd(&in));
	r = follow(pidfd, out, d, &t);
	if (r < 0) {
		const char *line = tail_line(&t);

		kill_group(&id, pidfd);
		return err_set(e, -r, "%s %s%s%s", argv[0],
			       r == -ECANCELED ? "was cancelled"
					       : "did not end in time and was killed",
			       *line ? ": " : "", line);
	}
	proc_reap(pidfd, &raw);
	r = judge(argv[0], raw, &t, e);
	if (r < 0)
		return r;
	*ret_status = r;
	return 0;
}
