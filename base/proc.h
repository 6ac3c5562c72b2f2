/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/proc.h - child processes: started with chosen descriptors, known by pid and start time */
#ifndef SBXFS_BASE_PROC_H
#define SBXFS_BASE_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/deadline.h"
#include "base/err.h"

/* A process that cannot be mistaken for a later one with the same pid. */
struct proc_id {
	pid_t pid;      /* 0: none */
	uint64_t start; /* field 22 of /proc/PID/stat, in clock ticks since boot */
};

enum {
	PROC_FDS_MAX = 16, /* descriptors handed to a child besides 0, 1, 2 */
	PROC_FD_FIRST = 3, /* the child's number of the first of them */
};

struct proc_spec {
	const char *const *argv; /* NULL-terminated; borrowed */
	const char *program;     /* path of what is executed; NULL: argv[0], looked up in PATH */
	int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null; borrowed */
	const int *
		fds; /* the child gets fds[i] as PROC_FD_FIRST + i, everything else closed; borrowed */
	unsigned fd_count;  /* PROC_FDS_MAX at most */
	int netns_fd;       /* network namespace to enter before exec, -1: stay; borrowed */
	const char *cgroup; /* directory of a cgroup to enter before exec, NULL: stay */
	int (*child)(
		void *arg); /* run in the child just before exec; only async-signal-safe calls; NULL: none */
	void *child_arg;
};

/**
 * proc_spawn() - Start a program in a session of its own, default signals, nothing inherited but what is named
 * @spec:    what to start
 * @ret_id:  its identity
 * @ret_pidfd: its pidfd (CLOEXEC); becomes readable when it has ended
 *
 * Context: blocks until exec has succeeded or failed.
 * Owner:   the caller reaps it with proc_reap() and closes the pidfd.
 * Return:  0; -ENOENT when the program is not there; another negative errno with the failed step in @e.
 */
int proc_spawn(const struct proc_spec *spec, struct proc_id *ret_id, int *ret_pidfd, struct err *e);

/* Start time of @pid for a proc_id. Return: 0; -ESRCH. */
int proc_start_time(pid_t pid, uint64_t *ret_start);

/**
 * proc_open() - A pidfd of a process known by pid and start time
 * Return: 0 and @ret_pidfd; -ESRCH when it is gone or the pid has another owner by now.
 */
int proc_open(const struct proc_id *id, int *ret_pidfd);

/**
 * proc_find() - Find a process by its program and one word of its command line
 * @program: path of its executable
 * @word:    a whole argument, such as the name that was given to a VMM
 * Return: 0; -ESRCH there is none.
 */
int proc_find(const char *program, const char *word, struct proc_id *ret_id);

/* The same for the first of which @is says of a whole argument that it is looked for. */
int proc_find_by(const char *program, bool (*is)(const char *word, const void *arg),
		 const void *arg, struct proc_id *ret_id);

/* Send @sig through the pidfd. Return: 0, also when it has ended; negative errno. */
int proc_kill(int pidfd, int sig);

/* Wait until the process has ended. Return: 0; -ETIMEDOUT; -ECANCELED. */
int proc_wait(int pidfd, const struct deadline *d);

/**
 * proc_reap() - Collect an ended child
 * @pidfd:      of a process for which proc_wait() gave 0
 * @ret_status: as of waitpid(); -1 when it is not our child (init got it)
 */
void proc_reap(int pidfd, int *ret_status);

/**
 * proc_run() - Run a program to its end, such as mke2fs or e2fsck
 * @argv:       NULL-terminated
 * @d:          it is killed when this is over
 * @ret_status: its exit status 0..255, 128+n for a signal
 * @e:          also filled when it ran and @ret_status is not 0; ends with the last line that it wrote to stderr
 * Return: 0 when it ran, whatever its status; negative errno otherwise.
 */
int proc_run(const char *const *argv, const struct deadline *d, int *ret_status, struct err *e);

/* The same with an open file of ours, which is its PROC_FD_FIRST; -1: none. */
int proc_run_on(const char *const *argv, int fd, const struct deadline *d, int *ret_status,
		struct err *e);

#endif
