/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/bench/bench.h - what the helpers of the bench share: a clock, a sample, the end
 *
 * A sample is a line "SERIES MICROSECONDS" on stdout; tests/bench/run makes medians of them.
 */
#ifndef SBXFS_TESTS_BENCH_BENCH_H
#define SBXFS_TESTS_BENCH_BENCH_H

#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* CLOCK_MONOTONIC in microseconds. */
static inline double bench_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock always exists */
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* @series took the time since @start. */
static inline void bench_sample(const char *series, double start)
{
	(void)printf("%s %.2f\n", series, bench_now() - start);
}

/* A measurement that went wrong is none: say why, end. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void bench_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)fputs("bench: ", stderr);
	(void)vfprintf(stderr, fmt, args);
	(void)fputc('\n', stderr);
	va_end(args);
	exit(EXIT_FAILURE);
}

/* The same with the reason of a system call. */
__attribute__((noreturn)) static inline void bench_die_sys(const char *what)
{
	bench_die("%s: %s", what, strerrordesc_np(errno));
}

/* Start a program by fork and exec, wait for its end; its output goes to @out, cut at the first newline. */
static inline void bench_run(char **argv, char *out, size_t size)
{
	posix_spawn_file_actions_t actions;
	int status = 0, ends[2] = {-1, -1};
	size_t len = 0;
	ssize_t n = 0;
	pid_t pid = 0;

	errno = posix_spawn_file_actions_init(&actions);
	if (errno || (out && pipe(ends) < 0) ||
	    (out && posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) != 0))
		bench_die_sys("pipe");
	errno = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	if (errno)
		bench_die_sys(argv[0]);
	if (out) {
		(void)close(ends[1]);
		while (len + 1 < size && (n = read(ends[0], out + len, size - 1 - len)) > 0)
			len += (size_t)n;
		(void)close(ends[0]);
		out[len] = '\0';
		out[strcspn(out, "\n")] = '\0';
	}
	(void)posix_spawn_file_actions_destroy(&actions); /* cannot fail here */
	if (waitpid(pid, &status, 0) != pid)
		bench_die_sys(argv[0]);
	if (status != 0)
		bench_die("%s %s ended with status %d", argv[0], argv[1] ? argv[1] : "", status);
}

/* A command line, its words separated by one blank; '@' begins a word that has blanks, written as '_'. */
__attribute__((format(printf, 3, 4))) static inline void bench_command(char *out, size_t size,
								       const char *fmt, ...)
{
	char line[1024], *words[64], *cursor = NULL;
	unsigned n = 0;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	for (char *w = strtok_r(line, " ", &cursor); w && n < 63;
	     w = strtok_r(NULL, " ", &cursor)) {
		words[n++] = *w == '@' ? w + 1 : w;
		for (char *c = w; *w == '@' && *c; c++)
			*c = *c == '_' ? ' ' : *c;
	}
	words[n] = NULL;
	bench_run(words, out, size);
}

static inline unsigned bench_number(const char *text)
{
	char *end = NULL;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n > 100000000)
		bench_die("not a number: %s", text);
	return (unsigned)n;
}

#endif
