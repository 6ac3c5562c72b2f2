/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/helper-poll.c - system calls that a shell cannot make: poll(), non-blocking and interrupted ones
 *
 *   helper-poll poll FILE pri|in MS    reads the file, says "waiting", polls, prints what came; reads and polls again
 *   helper-poll write FILE TEXT        writes with handlers for SIGINT, SIGWINCH, SIGCHLD and SIGTERM that do nothing
 *   helper-poll write-nonblock FILE TEXT
 *   helper-poll read FILE [TEXT]       one read, after writing TEXT if there is one
 *   helper-poll read-nonblock FILE [TEXT]
 *   helper-poll both FILE TEXT MS      a thread reads; then, through the same descriptor, TEXT is written
 *
 * Prints what was read, the number of bytes written, or the name of the error.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void nothing(int sig)
{
	(void)sig;
}

static int say_error(void)
{
	printf("%s\n", strerrorname_np(errno));
	return 0;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0) {
		(void)say_error();
		(void)fflush(stdout);
		_exit(0);
	}
	return fd;
}

static int say_poll(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, ms);

	if (n < 0)
		return say_error();
	printf("%s%s%s%s%s\n", n == 0 ? "nothing" : "", p.revents & POLLIN ? "IN " : "",
	       p.revents & POLLPRI ? "PRI " : "", p.revents & POLLERR ? "ERR " : "",
	       p.revents & POLLHUP ? "HUP" : "");
	return fflush(stdout);
}

static int do_poll(const char *path, const char *what, int ms)
{
	char text[65536];
	int fd = open_or_die(path, O_RDONLY);
	short events = strcmp(what, "pri") == 0 ? POLLPRI : POLLIN;

	if (events == POLLPRI && pread(fd, text, sizeof(text), 0) < 0)
		return say_error();
	printf("waiting\n");
	(void)fflush(stdout);
	if (say_poll(fd, events, ms))
		return 1;
	if (events == POLLPRI && pread(fd, text, sizeof(text), 0) < 0)
		return say_error();
	return say_poll(fd, events, 0);
}

static int do_write(const char *path, const char *text, int flags)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGWINCH, SIGCHLD};
	struct sigaction sa = {.sa_handler = nothing}; /* no SA_RESTART: EINTR is seen */
	int fd = open_or_die(path, O_WRONLY | flags);
	ssize_t n;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &sa, NULL);
	n = write(fd, text, strlen(text));
	if (n < 0)
		return say_error();
	printf("%zd bytes\n", n);
	return 0;
}

static int read_and_say(int fd)
{
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text));

	if (n < 0)
		return say_error();
	(void)fwrite(text, 1, (size_t)n, stdout);
	printf("read %s\n", n ? "something" : "nothing");
	return fflush(stdout);
}

static int do_read(const char *path, const char *text, int flags)
{
	struct sigaction sa = {.sa_handler = nothing};
	int fd = open_or_die(path, (text ? O_RDWR : O_RDONLY) | flags);

	(void)sigaction(SIGWINCH, &sa, NULL);
	if (text && write(fd, text, strlen(text)) < 0)
		return say_error();
	return read_and_say(fd);
}

static void *reader(void *arg)
{
	(void)read_and_say(*(int *)arg);
	return NULL;
}

static int do_both(const char *path, const char *text, int ms)
{
	int fd = open_or_die(path, O_RDWR);
	pthread_t thread;

	if (pthread_create(&thread, NULL, reader, &fd))
		return 1;
	(void)poll(NULL, 0, ms); /* so that the reader truly blocks first */
	if (write(fd, text, strlen(text)) < 0)
		return say_error();
	return pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";

	if (strcmp(verb, "poll") == 0 && argc == 5)
		return do_poll(argv[2], argv[3], (int)strtol(argv[4], NULL, 10));
	if (strcmp(verb, "write") == 0 && argc == 4)
		return do_write(argv[2], argv[3], 0);
	if (strcmp(verb, "write-nonblock") == 0 && argc == 4)
		return do_write(argv[2], argv[3], O_NONBLOCK);
	if (strcmp(verb, "read") == 0)
		return do_read(argv[2], argv[3], 0);
	if (strcmp(verb, "read-nonblock") == 0)
		return do_read(argv[2], argv[3], O_NONBLOCK);
	if (strcmp(verb, "both") == 0 && argc == 5)
		return do_both(argv[2], argv[3], (int)strtol(argv[4], NULL, 10));
	(void)fputs("helper-poll: see the head of its source\n", stderr);
	return 2;
}
