/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-proc.c - children: descriptors, signals, identity, run to the end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/proc.h"

static const struct proc_spec plain = {
	.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .netns_fd = -1};

/* Start @script under sh with @spec, take all that it prints, and reap it. Return: its raw status. */
static int run_sh(const char *script, struct proc_spec spec, struct buf *out)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	const struct deadline d = deadline_in(10000, -1);
	AUTO_FD pidfd = -1;
	struct proc_id id;
	char piece[512];
	int fds[2], status;
	ssize_t n;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	spec.argv = argv;
	spec.stdout_fd = fds[1];
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, NULL), 0);
	(void)close(fds[1]);
	while ((n = read(fds[0], piece, sizeof(piece))) > 0)
		buf_add(out, piece, (size_t)n);
	(void)close(fds[0]);
	assert_int_equal(proc_wait(pidfd, &d), 0);
	proc_reap(pidfd, &status);
	return status;
}

static void test_spawn(void **state)
{
	AUTO_BUF out = BUF_INIT;
	int status = run_sh("cat; ls /proc/self/fd | tr '\\n' ' '; exit 7", plain, &out);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	/* 3 is the directory that ls itself reads. */
	assert_string_equal(buf_text(&out), "0 1 2 3 ");
}

static int file_with(const char *text)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(file_write_all(fds[1], text, strlen(text)), 0);
	(void)close(fds[1]);
	return fds[0];
}

/* Sources lie where the targets are, in reversed order. */
static void test_overlapping_fds(void **state)
{
	enum { COUNT = 4 };
	int fds[COUNT], saved[COUNT];
	struct proc_spec spec = plain;
	AUTO_BUF out = BUF_INIT;
	int status;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		saved[i] = fcntl(PROC_FD_FIRST + i, F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < COUNT; i++) {
		char text[] = {(char)('a' + i), '\0'};
		int fd = file_with(text), high = fcntl(fd, F_DUPFD_CLOEXEC, 200);

		(void)close(fd);
		fds[i] = PROC_FD_FIRST + COUNT - 1 - i;
		assert_int_equal(dup3(high, fds[i], O_CLOEXEC), fds[i]);
		(void)close(high);
	}
	spec.fds = fds;
	spec.fd_count = COUNT;
	status = run_sh("cat <&3; cat <&4; cat <&5; cat <&6; [ -e /proc/$$/fd/7 ] && echo more",
			spec, &out);
	for (int i = 0; i < COUNT; i++) {
		(void)close(PROC_FD_FIRST + i);
		if (saved[i] < 0)
			continue;
		assert_int_equal(dup3(saved[i], PROC_FD_FIRST + i, O_CLOEXEC), PROC_FD_FIRST + i);
		(void)close(saved[i]);
	}
	assert_true(WIFEXITED(status));
	assert_string_equal(buf_text(&out), "abcd");
}

static void test_signals_and_session(void **state)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	sigset_t blocked, old;
	AUTO_BUF out = BUF_INIT;

	(void)state;
	assert_int_equal(sigaction(SIGPIPE, &ignore, &before), 0);
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGUSR1);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &blocked, &old), 0);
	(void)run_sh("grep -E 'Sig(Blk|Ign)' /proc/$$/status | tr -d '\\t\\n';"
		     "set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo leader",
		     plain, &out);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	assert_int_equal(sigaction(SIGPIPE, &before, NULL), 0);
	assert_string_equal(buf_text(&out),
			    "SigBlk:0000000000000000SigIgn:0000000000000000leader\n");
}

static void test_no_program(void **state)
{
	const char *argv[] = {"sbxfs-no-such-program", NULL};
	struct proc_spec spec = plain;
	struct proc_id id;
	struct err e = {0};
	int pidfd;

	(void)state;
	spec.argv = argv;
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, &e), -ENOENT);
	argv[0] = "/nowhere/sh";
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, &e), -ENOENT);
	argv[0] = "/etc/passwd";
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, &e), -EACCES);
	assert_non_null(strstr(e.text, "/etc/passwd"));
	argv[0] = "sh";
	spec.cgroup = "/nowhere";
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/cgroup.procs"));
	/* No child is left behind. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int refuse(void *arg)
{
	return -*(int *)arg;
}

static void test_hook(void **state)
{
	const char *argv[] = {"true", NULL};
	struct proc_spec spec = plain;
	int code = EDOM, pidfd;
	struct proc_id id;
	struct err e = {0};

	(void)state;
	spec.argv = argv;
	spec.child = refuse;
	spec.child_arg = &code;
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, &e), -EDOM);
	assert_non_null(strstr(e.text, "preparations"));
}

static void test_bad_netns(void **state)
{
	AUTO_FD null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const char *argv[] = {"true", NULL};
	struct proc_spec spec = plain;
	struct proc_id id;
	struct err e = {0};
	int pidfd;

	(void)state;
	spec.argv = argv;
	spec.netns_fd = null;
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, &e), -EINVAL);
	assert_non_null(strstr(e.text, "network namespace"));
}

/* A namespace of its own has one link, lo, whatever this one has. */
static void test_netns(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	const char *argv[] = {"unshare", "-n", "sleep", "60", NULL};
	struct proc_spec spec = plain;
	char here[64], there[64], path[64];
	AUTO_FD pidfd = -1;
	AUTO_BUF out = BUF_INIT;
	struct proc_id id;
	ssize_t n;
	int status;

	(void)state;
	if (geteuid() != 0)
		skip();
	spec.argv = argv;
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, NULL), 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)id.pid);
	n = readlink("/proc/self/ns/net", here, sizeof(here) - 1);
	assert_true(n > 0);
	here[n] = '\0';
	do { /* until unshare has done it */
		n = readlink(path, there, sizeof(there) - 1);
		assert_true(n > 0);
		there[n] = '\0';
	} while (strcmp(here, there) == 0 && deadline_left_ms(&d) > 0 && sched_yield() == 0);
	spec.netns_fd = open(path, O_RDONLY | O_CLOEXEC);
	(void)run_sh("printf %s \"$(readlink /proc/self/ns/net)\"", spec, &out);
	fd_close(spec.netns_fd);
	assert_string_equal(buf_text(&out), there);
	assert_string_not_equal(buf_text(&out), here);
	assert_int_equal(proc_kill(pidfd, SIGKILL), 0);
	assert_int_equal(proc_wait(pidfd, &d), 0);
	proc_reap(pidfd, &status);
	assert_true(WIFSIGNALED(status));
}

static void test_identity(void **state)
{
	const char *argv[] = {"sleep", "60", NULL};
	const struct deadline soon = deadline_in(20, -1), d = deadline_in(10000, -1);
	struct proc_spec spec = plain;
	AUTO_FD pidfd = -1;
	AUTO_FD again = -1;
	struct proc_id id, other;
	int status;

	(void)state;
	spec.argv = argv;
	assert_int_equal(proc_spawn(&spec, &id, &pidfd, NULL), 0);
	assert_int_equal(proc_open(&id, &again), 0);
	other = id;
	other.start++;
	assert_int_equal(proc_open(&other, &status), -ESRCH);
	other.pid = 0;
	assert_int_equal(proc_open(&other, &status), -ESRCH);
	assert_int_equal(proc_wait(again, &soon), -ETIMEDOUT);
	assert_int_equal(proc_kill(again, SIGTERM), 0);
	assert_int_equal(proc_wait(again, &d), 0);
	proc_reap(pidfd, &status);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_int_equal(proc_kill(pidfd, SIGTERM), 0);
	proc_reap(pidfd, &status);
	assert_int_equal(status, -1);
	assert_int_equal(proc_open(&id, &status), -ESRCH);
}

static int run(const char *script, int64_t ms, int cancel_fd, struct err *e)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct deadline d = deadline_in(ms, cancel_fd);
	int status = -1, r = proc_run(argv, &d, &status, e);

	return r < 0 ? r : status;
}

static void test_run(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(run("exit 0", 10000, -1, &e), 0);
	assert_int_equal(e.code, 0);
	assert_int_equal(
		run("echo first >&2; echo 'the last' >&2; echo >&2; exit 3", 10000, -1, &e), 3);
	assert_string_equal(e.text, "sh exited with status 3: the last");
	assert_int_equal(run("kill -9 $$", 10000, -1, &e), 137);
	/* More than a pipe holds. */
	assert_int_equal(
		run("head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2; exit 1",
		    10000, -1, &e),
		1);
	assert_string_equal(e.text, "sh exited with status 1: end");
	/* A background process that keeps stderr open is not waited for. */
	assert_int_equal(run("sleep 60 & echo $! >&2; exit 4", 10000, -1, &e), 4);
	assert_int_equal(kill((pid_t)strtol(strrchr(e.text, ' ') + 1, NULL, 10), SIGKILL), 0);
}

static void test_run_ends(void **state)
{
	AUTO_FD cancel = eventfd(1, EFD_CLOEXEC);
	struct err e = {0};
	int64_t before = clock_ms();

	(void)state;
	assert_int_equal(run("echo waiting >&2; sleep 60; :", 200, -1, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "killed: waiting"));
	assert_int_equal(run("yes >&2", 200, -1, &e), -ETIMEDOUT);
	assert_int_equal(run("sleep 60; :", 10000, cancel, &e), -ECANCELED);
	assert_true(clock_ms() - before < 5000);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spawn),
		cmocka_unit_test(test_overlapping_fds),
		cmocka_unit_test(test_signals_and_session),
		cmocka_unit_test(test_no_program),
		cmocka_unit_test(test_hook),
		cmocka_unit_test(test_bad_netns),
		cmocka_unit_test(test_netns),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_run),
		cmocka_unit_test(test_run_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
