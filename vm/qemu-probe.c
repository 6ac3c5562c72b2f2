/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-probe.c - find QEMU and what it can do on this host */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/proc.h"
#include "vm/accel.h"
#include "vm/qemu.h"

#define PROGRAM      "qemu-system-x86_64"
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

enum {
	ASK_LIMIT_MS = 10 * 1000, /* for one run of QEMU that only prints something */
	ASK_MAX = 64 * 1024,      /* bytes of its answer */
};

/* Look PROGRAM up in PATH. */
static int find_program(char *ret, size_t size, struct err *e)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment is never changed once threads run */
	const char *dirs = getenv("PATH");

	if (!dirs || !*dirs)
		dirs = DEFAULT_PATH;
	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		int n = snprintf(ret, size, "%.*s/" PROGRAM, (int)len, dirs);

		if (len > 0 && n > 0 && (size_t)n < size && access(ret, X_OK) == 0)
			return 0;
		dirs += len + (dirs[len] == ':');
	}
	return err_set(e, ENOTSUP,
		       "there is no " PROGRAM " in PATH; install the package qemu-system-x86");
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

/* Run QEMU with one or two arguments and collect what it prints. */
static int ask(const char *const *argv, struct buf *answer, struct err *e)
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

/* "QEMU emulator version 7.2.22 (Debian …)" and a newline: all behind "version ". */
static int find_version(struct vm_host *host, struct err *e)
{
	static const char mark[] = "version ";
	const char *const argv[] = {host->program, "--version", NULL};
	AUTO_BUF answer = BUF_INIT;
	const char *at;
	int r = ask(argv, &answer, e);

	if (r < 0)
		return r;
	at = strstr(buf_text(&answer), mark);
	if (!at)
		return err_set(e, ENOTSUP, "%s does not tell its version", host->program);
	at += sizeof(mark) - 1;
	(void)snprintf(host->version, sizeof(host->version), "%.*s", (int)strcspn(at, "\r\n"), at);
	return 0;
}

static int check_machine(const struct vm_host *host, struct err *e)
{
	const char *const argv[] = {host->program, "-machine", "help", NULL};
	AUTO_BUF answer = BUF_INIT;
	int r = ask(argv, &answer, e);

	if (r < 0)
		return r;
	if (!strstr(buf_text(&answer), "\nmicrovm "))
		return err_set(e, ENOTSUP,
			       "%s (version %s) has no microvm machine; 5.0 or later has",
			       host->program, host->version);
	return 0;
}

int qemu_probe(enum vm_accel want, struct vm_host *ret, struct err *e)
{
	struct vm_host host = {.driver = &qemu_driver, .accel = VM_ACCEL_TCG};
	int r = find_program(host.program, sizeof(host.program), e);

	if (r == 0)
		r = find_version(&host, e);
	if (r == 0)
		r = check_machine(&host, e);
	if (r == 0)
		r = accel_choose(want, &host.accel, host.accel_why, sizeof(host.accel_why), e);
	if (r < 0)
		return r;
	host.tsc_khz = accel_tsc_khz();
	*ret = host;
	return 0;
}
