// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/vm/helper-volume.c - the calls of storage/volume.h as commands, for volume-dm.sh
 *
 * usage: helper-volume DRIVER INSTANCE SERIAL DIR BASE SIZE COMMAND [ARGUMENT…]
 * A failure prints the errno's name to stdout, the reason to stderr, and exits with 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "storage/volume.h"

enum { LIMIT_MS = 30000, FEED_MS = 50, PUT_BYTES = 1 << 20 };

struct command {
	const char *name;
	int (*run)(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		   struct err *e);
};

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock always exists */
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int run_probe(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		     struct err *e)
{
	char why[128];
	int r = drv->probe(s->dir, why, sizeof(why), e);

	(void)args;
	if (r == 0)
		printf("%s\n", why);
	return r;
}

static int run_create(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		      struct err *e)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);

	(void)args;
	return drv->create(s, &d, e);
}

static int run_destroy(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		       struct err *e)
{
	(void)args;
	return drv->destroy(s, e);
}

/* Attach, print the path, wait for the end of stdin, detach. */
static int run_hold(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		    struct err *e)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct volume *v;
	int r = drv->up(s, &d, &v, e);

	(void)args;
	if (r < 0)
		return r;
	printf("%s\n", volume_path(v));
	fflush(stdout);
	while (getchar() != EOF)
		;
	d = deadline_in(LIMIT_MS, -1);
	r = drv->down(s, v, &d, e);
	if (r == 0)
		printf("down\n");
	return r;
}

/* down() without a volume, within ARGUMENT milliseconds. */
static int run_down(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		    struct err *e)
{
	struct deadline d = deadline_in(args[0] ? strtol(args[0], NULL, 10) : LIMIT_MS, -1);

	return drv->down(s, NULL, &d, e);
}

static int run_alive(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		     struct err *e)
{
	(void)args;
	(void)e;
	printf("%s\n", drv->alive(s) ? "yes" : "no");
	return 0;
}

static int run_usage(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		     struct err *e)
{
	struct volume_usage u;
	int r = drv->usage(s, &u);

	(void)args;
	if (r < 0)
		return err_sys(e, -r, "usage");
	printf("%llu %llu %s\n", (unsigned long long)u.used_bytes,
	       (unsigned long long)u.total_bytes,
	       u.health == VOLUME_WELL   ? "well"
	       : u.health == VOLUME_FULL ? "full"
					 : "broken");
	return 0;
}

/* Grow once, leaving ARGUMENT MiB free, with the time that it took. */
static int run_grow(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		    struct err *e)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	uint64_t reserve_mib = args[0] ? strtoull(args[0], NULL, 10) : 0;
	double start = now_ms();
	int r = drv->grow(s, reserve_mib << 20, &d, e);

	if (r == 0)
		printf("# grow: %.1f ms\n", now_ms() - start);
	return r;
}

/* Grow again and again until the end of stdin, as a daemon does. */
static int run_feed(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		    struct err *e)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	int r = 0;

	(void)args;
	while (r == 0 && poll(&in, 1, FEED_MS) == 0) {
		struct deadline d = deadline_in(LIMIT_MS, -1);

		r = drv->grow(s, 0, &d, e);
	}
	return r;
}

/* Into the directory ARGUMENT. */
static int run_copy(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		    struct err *e)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	AUTO_FD to = open(args[0] ? args[0] : "", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (to < 0)
		return err_set(e, EINVAL, "no directory to copy to");
	return drv->copy(s, to, &d, e);
}

/* Into the new file ARGUMENT, with the time that it took. */
static int run_flatten(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		       struct err *e)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	AUTO_FD out = open(args[0] ? args[0] : "", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	double start = now_ms();
	int r;

	if (out < 0)
		return err_set(e, EINVAL, "no file to write to");
	r = drv->flatten(s, out, &d, e);
	if (r == 0)
		printf("# flatten: %.1f ms\n", now_ms() - start);
	return r;
}

static int run_adopt(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		     struct err *e)
{
	(void)args;
	return drv->adopt_data(s, e);
}

/* Write the file ARGUMENT 3 through the descriptor ARGUMENT 1 at ARGUMENT 2 MiB, past all caches. */
static int run_put(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		   struct err *e)
{
	int to = args[0] ? atoi(args[0]) : -1;
	off_t at = args[0] && args[1] ? (off_t)strtoull(args[1], NULL, 10) << 20 : 0;
	AUTO_FD from = args[0] && args[1] && args[2] ? open(args[2], O_RDONLY | O_CLOEXEC) : -1;
	AUTO_FREE void *buffer = aligned_alloc(4096, PUT_BYTES);
	ssize_t n;

	(void)drv;
	(void)s;
	if (from < 0 || !buffer || fcntl(to, F_SETFL, O_DIRECT) < 0)
		return err_set(e, EINVAL, "put needs a descriptor, an offset and a file");
	while ((n = read(from, buffer, PUT_BYTES)) > 0) {
		if (pwrite(to, buffer, (size_t)n, at) != n)
			return err_sys(e, errno ? errno : EIO, "write at %lld", (long long)at);
		at += n;
	}
	return n < 0 ? err_sys(e, errno, "read") : 0;
}

/* What asking costs, ARGUMENT times each. */
static int run_ask(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		   struct err *e)
{
	int n = args[0] ? atoi(args[0]) : 1, r = 0;
	struct volume_usage u;
	double start = now_ms();

	for (int i = 0; i < n && r == 0; i++)
		r = drv->usage(s, &u);
	printf("# usage: %.1f us\n", (now_ms() - start) * 1e3 / n);
	start = now_ms();
	for (int i = 0; i < n && r == 0; i++) {
		struct deadline d = deadline_in(LIMIT_MS, -1);

		r = drv->grow(s, 0, &d, e);
	}
	printf("# grow, nothing to do: %.1f us\n", (now_ms() - start) * 1e3 / n);
	start = now_ms();
	for (int i = 0; i < n; i++) {
		struct stat st;

		(void)fstatat(s->dir_fd, "cow", &st, AT_SYMLINK_NOFOLLOW); /* for its time only */
	}
	printf("# one fstatat: %.1f us\n", (now_ms() - start) * 1e3 / n);
	return r;
}

static bool is_listed(uint32_t serial, void *arg)
{
	for (char **at = arg; *at; at++) {
		if (strtoul(*at, NULL, 10) == serial)
			return true;
	}
	return false;
}

/* Sweep all but the serials given; print the number removed. */
static int run_sweep(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		     struct err *e)
{
	int r = drv->sweep(s->instance, is_listed, args, e);

	if (r >= 0)
		printf("%d\n", r);
	return r < 0 ? r : 0;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void print_times(const char *what, double *ms, int n)
{
	qsort(ms, (size_t)n, sizeof(*ms), by_value);
	printf("# %s: median %.1f ms, least %.1f, most %.1f, of %d\n", what, ms[n / 2], ms[0],
	       ms[n - 1], n);
}

/* ARGUMENT times up and down, with their times. */
static int run_cycle(const struct volume_driver *drv, const struct volume_spec *s, char **args,
		     struct err *e)
{
	int n = args[0] ? atoi(args[0]) : 1, r = 0;
	AUTO_FREE double *up = calloc((size_t)n + 1, sizeof(*up));
	AUTO_FREE double *down = calloc((size_t)n + 1, sizeof(*down));

	if (!up || !down)
		return err_set(e, ENOMEM, "no memory");
	for (int i = 0; i < n && r == 0; i++) {
		struct deadline d = deadline_in(LIMIT_MS, -1);
		double start = now_ms();
		struct volume *v;

		r = drv->up(s, &d, &v, e);
		if (r < 0)
			return r;
		up[i] = now_ms() - start;
		start = now_ms();
		r = drv->down(s, v, &d, e);
		down[i] = now_ms() - start;
	}
	print_times("up", up, n);
	print_times("down", down, n);
	return r;
}

static const struct command commands[] = {
	{"probe", run_probe},     {"create", run_create}, {"destroy", run_destroy},
	{"hold", run_hold},       {"down", run_down},     {"alive", run_alive},
	{"usage", run_usage},     {"sweep", run_sweep},   {"cycle", run_cycle},
	{"grow", run_grow},       {"feed", run_feed},     {"copy", run_copy},
	{"put", run_put},         {"adopt", run_adopt},   {"ask", run_ask},
	{"flatten", run_flatten},
};

static const struct volume_driver *find_driver(const char *name)
{
	for (const struct volume_driver *const *d = volume_drivers; *d; d++) {
		if (!strcmp((*d)->name, name))
			return *d;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct volume_driver *drv = argc > 7 ? find_driver(argv[1]) : NULL;
	struct volume_spec s;
	struct err e = {0};
	int r;

	if (!drv) {
		fprintf(stderr,
			"usage: helper-volume dm|file INSTANCE SERIAL DIR BASE SIZE COMMAND\n");
		return 2;
	}
	s = (struct volume_spec){
		.instance = argv[2],
		.serial = (uint32_t)strtoul(argv[3], NULL, 10),
		.dir_fd = open(argv[4], O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.dir = argv[4],
		.base = argv[5],
		.size_bytes = strtoull(argv[6], NULL, 10),
	};
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, argv[7]) != 0)
			continue;
		r = commands[i].run(drv, &s, argv + 8, &e);
		if (r < 0) {
			printf("%s\n", err_name(e.code));
			fprintf(stderr, "%s: %s\n", argv[7], e.text);
		}
		fd_close(s.dir_fd);
		return r < 0;
	}
	fprintf(stderr, "helper-volume: no command %s\n", argv[7]);
	return 2;
}
