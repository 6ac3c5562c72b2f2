// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/cases/helper-keeper.c - a service manager that keeps descriptors for a daemon over its ends
 *
 *   helper-keeper keep SOCKET FILE COMMAND…   run it with a NOTIFY_SOCKET at the path SOCKET; again, with what it gave to be kept, each time it ends
 *                                             while FILE is there; says "pid N" for each run, "kept NAME" for each descriptor, and
 *                                             "told LINE" for each line of all other messages
 *   helper-keeper connect PATH                connect to a socket and let go of it
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { KEPT_MAX = 16, TEXT_MAX = 1024, FIRST_FD = 3 };

struct kept {
	char name[64];
	int fd;
};

static struct kept kept[KEPT_MAX];
static int kept_count;

static void die(const char *what)
{
	(void)fprintf(stderr, "helper-keeper: %s: %s\n", what, strerrordesc_np(errno));
	exit(125); /* NOLINT(concurrency-mt-unsafe): there is one thread */
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	return addr;
}

/* The value of KEY= in lines of text. */
static bool value_of(const char *text, const char *key, char *ret, size_t size)
{
	const char *at = strstr(text, key);

	if (!at)
		return false;
	at += strlen(key);
	(void)snprintf(ret, size, "%.*s", (int)strcspn(at, "\n"), at);
	return true;
}

static void forget(const char *name)
{
	for (int i = 0; i < kept_count; i++) {
		if (strcmp(kept[i].name, name) != 0)
			continue;
		close(kept[i].fd);
		kept[i--] = kept[--kept_count];
	}
}

static void show_lines(const char *text)
{
	for (; *text; text += strspn(text, "\n")) {
		int len = (int)strcspn(text, "\n");

		printf("told %.*s\n", len, text);
		text += len;
	}
	(void)fflush(stdout);
}

static void take_message(int sock)
{
	char text[TEXT_MAX], name[64], space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text) - 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = space,
			   .msg_controllen = sizeof(space)};
	const struct cmsghdr *c;
	ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0)
		return;
	text[n] = '\0';
	c = CMSG_FIRSTHDR(&m);
	if (!value_of(text, "FDNAME=", name, sizeof(name))) {
		show_lines(text);
		return;
	}
	forget(name);
	if (!c || !strstr(text, "FDSTORE=1") || kept_count == KEPT_MAX)
		return;
	memcpy(&kept[kept_count].fd, CMSG_DATA(c), sizeof(int));
	memcpy(kept[kept_count++].name, name, sizeof(name));
	printf("kept %s\n", name);
	(void)fflush(stdout);
}

static void run(char **argv)
{
	char names[KEPT_MAX * sizeof(kept[0].name) + 1] = "", number[16];
	char *at = names;

	for (int i = 0; i < kept_count; i++) { /* from above, so that none is written over */
		kept[i].fd = fcntl(kept[i].fd, F_DUPFD, 100);
		if (kept[i].fd < 0)
			die("fcntl");
	}
	for (int i = 0; i < kept_count; i++) {
		if (dup2(kept[i].fd, FIRST_FD + i) < 0)
			die("dup2");
		close(kept[i].fd);
		at = stpcpy(at, i ? ":" : "");
		at = stpcpy(at, kept[i].name);
	}
	/* NOLINTBEGIN(concurrency-mt-unsafe): there is one thread */
	if (kept_count) {
		(void)snprintf(number, sizeof(number), "%d", kept_count);
		setenv("LISTEN_FDS", number, 1);
		(void)snprintf(number, sizeof(number), "%d", (int)getpid());
		setenv("LISTEN_PID", number, 1);
		setenv("LISTEN_FDNAMES", names, 1);
	}
	/* NOLINTEND(concurrency-mt-unsafe) */
	execv(argv[0], argv);
	die(argv[0]);
}

static int run_once(int sock, char **argv)
{
	pid_t pid = fork();
	struct pollfd fds[] = {{.events = POLLIN}, {.fd = sock, .events = POLLIN}};
	int status = 0;

	if (pid < 0)
		die("fork");
	if (pid == 0)
		run(argv);
	printf("pid %d\n", (int)pid);
	(void)fflush(stdout);
	fds[0].fd = (int)syscall(SYS_pidfd_open, pid, 0);
	while (!fds[0].revents) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (fds[1].revents)
			take_message(sock);
	}
	take_message(sock);
	close(fds[0].fd);
	(void)waitpid(pid, &status, 0); /* it is our child */
	return status;
}

static int keep(const char *path, const char *file, char **argv)
{
	struct sockaddr_un addr = address(path);
	AUTO_FD sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int status;

	if (sock < 0 || bind(sock, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		die(path);
	setenv("NOTIFY_SOCKET", path, 1); /* NOLINT(concurrency-mt-unsafe): as above */
	do {
		status = run_once(sock, argv);
	} while (access(file, F_OK) == 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	if (argc >= 5 && strcmp(argv[1], "keep") == 0)
		return keep(argv[2], argv[3], argv + 4);
	if (argc == 3 && strcmp(argv[1], "connect") == 0) {
		struct sockaddr_un addr = address(argv[2]);
		AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
			die(argv[2]);
		return 0;
	}
	(void)fputs("usage: see the head of its source\n", stderr);
	return 125;
}
