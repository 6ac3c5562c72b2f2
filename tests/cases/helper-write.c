/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/helper-write.c - one write(2) of a command, its errno and its reply
 *
 *   helper-write [-q] [-n] [-s MS] FILE TEXT
 *
 * Prints "ok" or the name of write's error, then the reply that is read from the same descriptor. -q: the first line
 * only; -n: opened O_NONBLOCK; -s MS: a SIGALRM each MS milliseconds meanwhile. Handlers that do nothing stand for SIGINT and the
 * like, without SA_RESTART, so that EINTR is seen. Exit status: 0 when the write went well, 1 when it did not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static void nothing(int sig)
{
	(void)sig;
}

static void handle_signals(void)
{
	static const int signals[] = {SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT,
				      SIGALRM, SIGWINCH, SIGCHLD, SIGURG};
	struct sigaction sa = {.sa_handler = nothing};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &sa, NULL); /* all of them can be handled */
}

static void every(long ms)
{
	const struct timeval interval = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	const struct itimerval timer = {.it_interval = interval, .it_value = interval};

	(void)setitimer(ITIMER_REAL, &timer, NULL); /* fails for a bad argument only */
}

static int show_reply(int fd)
{
	char text[65536];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			(void)fwrite(text, 1, (size_t)n, stdout);
	if (n < 0)
		printf("read: %s\n", strerrorname_np(errno));
	return n < 0;
}

int main(int argc, char **argv)
{
	int flags = O_RDWR | O_CLOEXEC, quiet = 0, option, fd;
	long ms = 0;
	ssize_t n;

	while ((option = getopt(argc, argv, "qns:")) != -1) {
		if (option == 'q')
			quiet = 1;
		else if (option == 'n')
			flags |= O_NONBLOCK;
		else if (option == 's')
			ms = strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (argc - optind != 2)
		return 2;
	handle_signals();
	fd = open(argv[optind], flags);
	if (fd < 0) {
		printf("open: %s\n", strerrorname_np(errno));
		return 1;
	}
	if (ms > 0)
		every(ms);
	n = write(fd, argv[optind + 1], strlen(argv[optind + 1]));
	printf("%s\n", n < 0 ? strerrorname_np(errno) : "ok");
	if (!quiet && show_reply(fd))
		return 1;
	return n < 0;
}
