/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/agent-run.h - the real agent, started as a plain process on a free port of 127.0.0.1
 *
 * The program is $SBXFS_AGENT, or sbxfs-agent in the build directory that the test itself lies in.
 */
#ifndef SBXFS_TESTS_UNIT_AGENT_RUN_H
#define SBXFS_TESTS_UNIT_AGENT_RUN_H

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/proc.h"
#include "guest/guest.h"

enum {
	AGENT_WAIT_MS = 20000, /* for anything that is sure to come, on a busy machine */
};

#define AGENT_TOKEN "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct agent_run {
	struct proc_id id;
	int pidfd;
	struct guest guest; /* with AGENT_TOKEN */
	char dir[32];       /* a directory for the test's files */
};

static inline void agent_path(char path[PATH_MAX])
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) nothing here changes the environment */
	const char *given = getenv("SBXFS_AGENT");
	char self[PATH_MAX - 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(self, '/');

		assert_non_null(slash);
		*slash = '\0';
	}
	(void)snprintf(path, PATH_MAX, "%s%s", given ? given : self, given ? "" : "/sbxfs-agent");
	if (access(path, X_OK) != 0)
		fail_msg("there is no agent at %s: run make, or set SBXFS_AGENT", path);
}

static inline void agent_start(struct agent_run *a)
{
	char path[PATH_MAX], line[32] = "";
	const char *argv[] = {path, "-a", "127.0.0.1", "-p", "0", NULL};
	int out[2];
	struct err e;

	agent_path(path);
	(void)snprintf(a->dir, sizeof(a->dir), "/tmp/sbxfs-test-XXXXXX");
	assert_non_null(mkdtemp(a->dir));
	assert_int_equal(chmod(a->dir, 0777), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	const struct proc_spec spec = {.argv = argv,
				       .stdin_fd = -1,
				       .stdout_fd = out[1],
				       .stderr_fd = STDERR_FILENO,
				       .netns_fd = -1};

	if (proc_spawn(&spec, &a->id, &a->pidfd, &e))
		fail_msg("%s", e.text);
	fd_close(out[1]);
	for (size_t n = 0; n + 1 < sizeof(line) && !strchr(line, '\n');) {
		ssize_t got = read(out[0], line + n, sizeof(line) - 1 - n);

		assert_true(got > 0);
		n += (size_t)got;
	}
	fd_close(out[0]);
	assert_int_equal(strncmp(line, "port ", 5), 0);
	a->guest = (struct guest){.addr = "127.0.0.1",
				  .port = (uint16_t)strtoul(line + 5, NULL, 10),
				  .token = AGENT_TOKEN};
}

static inline void agent_stop(struct agent_run *a)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	const char *const argv[] = {"rm", "-rf", a->dir, NULL};
	int status;

	assert_int_equal(proc_kill(a->pidfd, SIGKILL), 0);
	assert_int_equal(proc_wait(a->pidfd, &d), 0);
	proc_reap(a->pidfd, &status);
	fd_close(a->pidfd);
	assert_int_equal(proc_run(argv, &d, &status, NULL), 0);
}

/* Hand over the token and an environment. */
static inline void agent_init(struct agent_run *a)
{
	static const char *const env[] = {"FROM_INIT=yes", "EITHER=init", NULL};
	const struct guest_setup setup = {.hostname = "test", .env = env};
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct guest_facts facts;
	struct err e;

	if (guest_init(&a->guest, &setup, &d, &facts, &e))
		fail_msg("%s", e.text);
	assert_string_equal(facts.agent_version, SBXFS_VERSION);
}

/* Wait until @pid has ended. */
static inline void assert_ends(pid_t pid)
{
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	assert_true(pid > 1);
	if (p.fd < 0)
		return; /* gone already */
	if (poll(&p, 1, AGENT_WAIT_MS) != 1)
		fail_msg("process %d did not end", (int)pid);
	fd_close(p.fd);
}

/* The number that a command has left in file @name of the test's directory. */
static inline pid_t read_pid(const struct agent_run *a, const char *name)
{
	char path[64], text[16] = "";
	AUTO_FD fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", a->dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC); /* waits for a writer when it is a FIFO */
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	return (pid_t)strtol(text, NULL, 10);
}

#endif
