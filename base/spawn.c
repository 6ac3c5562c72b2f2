/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/spawn.c - proc_spawn(): fork and exec from a process with many threads
 *
 * How it works: everything that may allocate or lock (the way through PATH, opening /dev/null and the cgroup)
 * is done before the fork; the child makes only async-signal-safe calls. All signals are blocked over the
 * fork, so that no handler of ours runs in the child. The child tells a failed step through a pipe that exec
 * closes: end of file means that the program runs. PR_SET_PDEATHSIG is not set, because a VMM is to
 * survive its daemon.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/proc.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum {
	KERNEL_SIGNALS = 64, /* numbers from 1 on */
	ALL_FDS = PROC_FD_FIRST + PROC_FDS_MAX,
	CHILD_FAILED = 127, /* exit status nobody sees: the pipe tells more */
};

enum spawn_step {
	STEP_SESSION,
	STEP_NETNS,
	STEP_CGROUP,
	STEP_FDS,
	STEP_HOOK,
	STEP_EXEC,
	STEP_COUNT
};

static const char *const step_names[] = {
	[STEP_SESSION] = "begin a session",         [STEP_NETNS] = "enter the network namespace",
	[STEP_CGROUP] = "enter the cgroup",         [STEP_FDS] = "hand over its descriptors",
	[STEP_HOOK] = "make its last preparations", [STEP_EXEC] = "execute the program",
};
_Static_assert(sizeof(step_names) / sizeof(step_names[0]) == STEP_COUNT, "a name for each step");

/* What the child tells before it gives up. */
struct report {
	enum spawn_step step;
	int code; /* positive errno */
};

/* All that the child needs, made by the parent. */
struct plan {
	const struct proc_spec *spec;
	char path[PATH_MAX];
	int null_fd, cgroup_fd; /* owned */
	int report_fd;          /* the pipe's end that the child writes to; owned */
	sigset_t empty;
};

static void plan_done(struct plan *p)
{
	fd_close(p->null_fd);
	fd_close(p->cgroup_fd);
	fd_close(p->report_fd);
}

/* ---- in the child: only async-signal-safe calls ------------------------------------------------ */

_Noreturn static void child_fail(int report_fd, enum spawn_step step, int code)
{
	struct report r = {.step = step, .code = code};
	ssize_t n = write(report_fd, &r, sizeof(r));

	(void)n; /* without the pipe the parent sees an exit status of 127 */
	_exit(CHILD_FAILED);
}

/* Give the descriptors their numbers. Sources and targets may overlap, so all go through high numbers. */
static int child_place_fds(const struct plan *p, int *report_fd)
{
	const struct proc_spec *s = p->spec;
	const int std[] = {s->stdin_fd, s->stdout_fd, s->stderr_fd};
	int high[ALL_FDS], count = PROC_FD_FIRST + (int)s->fd_count;

	*report_fd = fcntl(*report_fd, F_DUPFD_CLOEXEC, ALL_FDS);
	if (*report_fd < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		int from = i < PROC_FD_FIRST ? std[i] : s->fds[i - PROC_FD_FIRST];

		if (i < PROC_FD_FIRST && from < 0)
			from = p->null_fd;
		high[i] = fcntl(from, F_DUPFD_CLOEXEC, ALL_FDS);
		if (high[i] < 0)
			return -errno;
	}
	for (int i = 0; i < count; i++)
		if (dup2(high[i], i) < 0)
			return -errno;
	/* At exec rather than now: the pipe is still needed. */
	if (close_range((unsigned)count, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* What we handle or ignore is not the program's business; exec alone would pass on what is ignored. */
static void child_reset_signals(const sigset_t *empty)
{
	const struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} def = {.handler = SIG_DFL}; /* the kernel's struct sigaction */

	/* The C library keeps 32 and 33 to itself, and some that started us left them ignored: hence the raw call. */
	for (int sig = 1; sig <= KERNEL_SIGNALS; sig++)
		(void)syscall(SYS_rt_sigaction, sig, &def, NULL,
			      sizeof(def.mask));         /* KILL and STOP refuse */
	(void)pthread_sigmask(SIG_SETMASK, empty, NULL); /* cannot fail */
}

_Noreturn static void child_run(const struct plan *p)
{
	const struct proc_spec *s = p->spec;
	/* execve() takes pointers to what it does not change. */
	const union {
		const char *const *given;
		char *const *taken;
	} argv = {.given = s->argv};
	int report_fd = p->report_fd, r;

	if (setsid() < 0)
		child_fail(report_fd, STEP_SESSION, errno);
	if (s->netns_fd >= 0 && setns(s->netns_fd, CLONE_NEWNET) < 0)
		child_fail(report_fd, STEP_NETNS, errno);
	if (p->cgroup_fd >= 0 && write(p->cgroup_fd, "0", 1) != 1)
		child_fail(report_fd, STEP_CGROUP, errno);
	r = child_place_fds(p, &report_fd);
	if (r < 0)
		child_fail(report_fd < 0 ? p->report_fd : report_fd, STEP_FDS, -r);
	child_reset_signals(&p->empty);
	r = s->child ? s->child(s->child_arg) : 0;
	if (r < 0)
		child_fail(report_fd, STEP_HOOK, -r);
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): it loses argv in the union */
	(void)execve(p->path, argv.taken, environ); /* returns only on failure */
	child_fail(report_fd, STEP_EXEC, errno);
}

/* ---- in the parent ----------------------------------------------------------------------------- */

static bool can_execute(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Look @name up in PATH. Return: 0; -ENOENT. */
static int find_program(const char *name, char ret_path[PATH_MAX])
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment is never changed once threads run */
	const char *dirs = getenv("PATH");

	if (strchr(name, '/')) {
		size_t len = strnlen(name, PATH_MAX);

		if (len == PATH_MAX)
			return -ENAMETOOLONG;
		memcpy(ret_path, name, len + 1);
		return 0; /* execve() tells whether it is there */
	}
	if (!dirs || !*dirs)
		dirs = DEFAULT_PATH;
	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		int n = snprintf(ret_path, PATH_MAX, "%.*s/%s", (int)len, dirs, name);

		if (len > 0 && n > 0 && n < PATH_MAX && can_execute(ret_path))
			return 0;
		dirs += len;
		if (*dirs == ':')
			dirs++;
	}
	return -ENOENT;
}

static int plan_make(struct plan *p, struct err *e)
{
	const struct proc_spec *s = p->spec;
	char procs[PATH_MAX];
	int r = find_program(s->program ? s->program : s->argv[0], p->path);

	if (r < 0)
		return err_set(e, -r, "there is no program %s in PATH; install it",
			       s->program ? s->program : s->argv[0]);
	if (s->fd_count > PROC_FDS_MAX)
		return err_set(e, EINVAL, "%s cannot be given %u descriptors", s->argv[0],
			       s->fd_count);
	(void)sigemptyset(&p->empty); /* cannot fail */
	p->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (p->null_fd < 0)
		return err_sys(e, errno, "cannot open /dev/null");
	if (!s->cgroup)
		return 0;
	r = snprintf(procs, sizeof(procs), "%s/cgroup.procs", s->cgroup);
	if (r < 0 || r >= (int)sizeof(procs))
		return err_set(e, ENAMETOOLONG, "the cgroup's name is too long: %s", s->cgroup);
	p->cgroup_fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (p->cgroup_fd < 0)
		return err_sys(e, errno, "cannot open %s", procs);
	return 0;
}

/* Fork with all signals blocked. Return: the child's pid; negative errno. */
static pid_t fork_child(const struct plan *p)
{
	sigset_t all, before;
	pid_t pid;

	(void)sigfillset(&all); /* cannot fail, nor can what follows with a valid set */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		child_run(p);
	if (pid < 0)
		pid = -errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/* Wait for exec. Return: 0; negative errno of the child's failed step. */
static int read_report(int fd, const char *program, struct err *e)
{
	struct report r;
	ssize_t n;

	do
		n = read(fd, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof(r) || r.step >= STEP_COUNT)
		return err_set(e, EIO, "%s was not started, and why is not known", program);
	return err_sys(e, r.code, "cannot start %s: the child could not %s", program,
		       step_names[r.step]);
}

/* Collect a child that did not get as far as exec, or that we cannot keep. */
static void discard(pid_t pid)
{
	(void)kill(pid, SIGKILL); /* ours and not reaped: it can only have ended */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Fork, and hear from the child that it has executed its program. */
static int start(struct plan *p, struct proc_id *id, int *ret_pidfd, struct err *e)
{
	const char *program = p->spec->argv[0];
	AUTO_FD report = -1;
	AUTO_FD pidfd = -1;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe to start %s", program);
	report = fds[0];
	p->report_fd = fds[1];
	id->pid = fork_child(p);
	if (id->pid < 0)
		return err_sys(e, -id->pid, "cannot fork for %s", program);
	fd_close(steal_fd(&p->report_fd));
	pidfd = pidfd_open(id->pid, 0);
	r = pidfd < 0 ? err_sys(e, errno, "cannot open a pidfd of %s", program) : 0;
	if (r == 0)
		r = read_report(report, program, e);
	if (r == 0 && proc_start_time(id->pid, &id->start) < 0)
		r = err_set(e, ESRCH, "cannot learn the start time of %s; is /proc mounted?",
			    program);
	if (r < 0) {
		discard(id->pid);
		return r;
	}
	*ret_pidfd = steal_fd(&pidfd);
	return 0;
}

int proc_spawn(const struct proc_spec *spec, struct proc_id *ret_id, int *ret_pidfd, struct err *e)
{
	struct plan p = {.spec = spec, .null_fd = -1, .cgroup_fd = -1, .report_fd = -1};
	struct proc_id id = {.pid = 0};
	int r = plan_make(&p, e);

	if (r == 0)
		r = start(&p, &id, ret_pidfd, e);
	plan_done(&p);
	if (r == 0)
		*ret_id = id;
	return r;
}
