/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/bench/bare.h - a QEMU as the daemon runs it, without the daemon: for helpers that start one
 *
 * How it works: MODEL is what the caller kept of a running sandbox: `argv`, its /proc/PID/cmdline, and `fds`, a line
 * "NUMBER FLAGS TARGET" for each descriptor. Every descriptor that the command line names is made anew under the
 * same number: memory, control socket, console, an overlay of its own, a tap of its own; files that are only
 * read are opened again. So the command line is the same but for the name of the run directory and, with
 * user networking, the forwarded address.
 */
#ifndef SBXFS_TESTS_BENCH_BARE_H
#define SBXFS_TESTS_BENCH_BARE_H

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "base/log.h"
#include "base/proc.h"
#include "guest/guest.h"
#include "net/driver.h"
#include "storage/volume.h"
#include "tests/bench/bench.h"

enum {
	BARE_ARGS_MAX = 128,
	BARE_FDS_MAX = 16,
	BARE_LIMIT_MS = 120000,
	BARE_ASK_MS = 500,
	BARE_SERIAL = 7777,      /* of the slot and the disk: no sandbox of ours gets that far */
	BARE_USER_INDEX = 15000, /* a slot that the daemon beside us is not using */
	BARE_CONSOLE_MAX = 1 << 20,
	BARE_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, /* of a guest's memory */
};

#define BARE_INSTANCE "bare"

struct bare {
	const char *dir;
	const char *saved; /* directory of saved memory to go on from; NULL: it boots */
	char *args[BARE_ARGS_MAX];
	int fds[BARE_FDS_MAX];
	unsigned fd_count;
	struct buf text; /* of the command line, words NUL-terminated */
	char base[PATH_MAX];
	const struct slot_driver *net;
	struct slot slot;
	struct volume_spec disk;
	struct proc_id id;
	int pidfd;
};

static inline void bare_check(int r, const struct err *e)
{
	if (r < 0)
		bench_die("%s", e->text);
}

/* ---- the command line --------------------------------------------------------------------------------- */

/* The word with what stands between @from and @until replaced; the same word when it has no such part. */
static inline char *bare_replaced(char *word, const char *from, const char *until, const char *by)
{
	char *at = strstr(word, from), *end = at ? strstr(at + strlen(from), until) : NULL;
	char *all = NULL;

	if (!end)
		return word;
	at += strlen(from);
	if (asprintf(&all, "%.*s%s%s", (int)(at - word), word, by, end) < 0)
		bench_die("no memory");
	return all; /* the process ends soon */
}

static inline void bare_read_args(struct bare *b, const char *model)
{
	AUTO_FREE char *path = NULL;
	struct err e;
	unsigned n = 0;

	if (asprintf(&path, "%s/argv", model) < 0)
		bench_die("no memory");
	bare_check(file_read(AT_FDCWD, path, BARE_CONSOLE_MAX, &b->text, &e), &e);
	for (char *at = b->text.data; at < b->text.data + b->text.len; at += strlen(at) + 1) {
		if (n + 1 >= BARE_ARGS_MAX)
			bench_die("the command line is too long");
		b->args[n] = bare_replaced(at, "pipe,id=ser,path=", "/serial,", b->dir);
		b->args[n] = bare_replaced(b->args[n], "hostfwd=tcp:", ":", b->slot.agent_addr);
		n++;
	}
}

/* Does the command line name descriptor @number? */
static inline bool bare_is_named(const struct bare *b, unsigned number)
{
	char file[32], option[32];

	(void)snprintf(file, sizeof(file), "/proc/self/fd/%u", number);
	(void)snprintf(option, sizeof(option), "fd=%u", number);
	for (unsigned i = 0; b->args[i]; i++) {
		const char *at = strstr(b->args[i], file);
		size_t len = strlen(file);

		if (!at) {
			at = strstr(b->args[i], option);
			len = strlen(option);
		}
		if (at && (at[len] < '0' || at[len] > '9'))
			return true;
	}
	return false;
}

/* ---- descriptors --------------------------------------------------------------------------------------- */

static inline int bare_make_memory(const struct bare *b)
{
	int fd = memfd_create("bare", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	unsigned long mib = 0;

	for (unsigned i = 0; b->args[i]; i++)
		if (strcmp(b->args[i], "-m") == 0)
			mib = strtoul(b->args[i + 1], NULL, 10);
	if (fd < 0 || ftruncate(fd, (off_t)(mib << 20)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, BARE_SEALS) < 0)
		bench_die_sys("guest memory");
	return fd;
}

static inline int bare_make_socket(const struct bare *b)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/qmp.sock", b->dir);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0)
		bench_die_sys(address.sun_path);
	return fd;
}

static inline bool bare_ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static inline int bare_reopen(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		bench_die_sys(path);
	return fd;
}

/*
 * By what it was in the model: only the console is a file open for writing, and only the disk one open for both, but for saved
 * memory that is mapped privately: that is the model's own.
 */
static inline int bare_make_fd(const struct bare *b, int flags, const char *target)
{
	char path[PATH_MAX];

	if (strncmp(target, "socket:", 7) == 0)
		return bare_make_socket(b);
	if (strncmp(target, "/memfd:", 7) == 0)
		return bare_make_memory(b);
	if (strcmp(target, "/dev/net/tun") == 0)
		return b->slot.tap_fd;
	if ((flags & O_ACCMODE) == O_WRONLY) {
		(void)snprintf(path, sizeof(path), "%s/console.log", b->dir);
		return bare_reopen(path, O_WRONLY | O_APPEND | O_CREAT);
	}
	if (b->saved &&
	    (bare_ends_with(target, "/memory") || bare_ends_with(target, "/memory (deleted)"))) {
		(void)snprintf(path, sizeof(path), "%s/memory", b->saved);
		return bare_reopen(path, O_RDWR);
	}
	if ((flags & O_ACCMODE) == O_RDWR) {
		(void)snprintf(path, sizeof(path), "%s/disk.qcow2", b->dir);
		return bare_reopen(path, O_RDWR | (flags & O_DIRECT));
	}
	return bare_reopen(target, O_RDONLY | (flags & O_DIRECT));
}

/* Call @each for each line of MODEL/fds. */
static inline void bare_for_fds(struct bare *b, const char *model,
				void (*each)(struct bare *b, unsigned number, int flags,
					     const char *target))
{
	char line[PATH_MAX + 64], path[PATH_MAX];
	AUTO_FILE list = NULL;

	(void)snprintf(path, sizeof(path), "%s/fds", model);
	list = fopen(path, "re");
	if (!list)
		bench_die_sys(path);
	while (fgets(line, sizeof(line), list)) {
		char *at = line;
		unsigned number = (unsigned)strtoul(at, &at, 10);
		int flags = (int)strtol(at, &at, 8);

		line[strcspn(line, "\n")] = '\0';
		if (number >= PROC_FD_FIRST && bare_is_named(b, number))
			each(b, number, flags, at + strspn(at, " "));
	}
}

static inline void bare_find_base(struct bare *b, unsigned number, int flags, const char *target)
{
	(void)number;
	if ((flags & O_ACCMODE) == O_RDONLY && strstr(target, "/rootfs"))
		(void)snprintf(b->base, sizeof(b->base), "%s", target);
}

static inline void bare_add_fd(struct bare *b, unsigned number, int flags, const char *target)
{
	if (number != PROC_FD_FIRST + b->fd_count || b->fd_count == BARE_FDS_MAX)
		bench_die("descriptor %u of the model is out of order", number);
	b->fds[b->fd_count++] = bare_make_fd(b, flags, target);
}

/* ---- what is there before ------------------------------------------------------------------------------ */

static inline const struct volume_driver *bare_file_store(void)
{
	const struct volume_driver *drv = volume_driver_named("file");

	if (!drv)
		bench_die("there is no file store");
	return drv;
}

static inline void bare_open_net(struct bare *b, const char *kind)
{
	uint32_t total = 0;
	struct err e;

	b->net = strcmp(kind, "netns") == 0 ? &slot_netns : &slot_user;
	bare_check(b->net->init(BARE_INSTANCE, "", &total, &e), &e);
}

/* @number: of several at once, from 0 */
static inline void bare_make_slot(struct bare *b, unsigned number)
{
	struct deadline d = deadline_in(BARE_LIMIT_MS, -1);
	uint32_t index = (b->net->is_user ? BARE_USER_INDEX : 0) + number;
	struct err e;

	bare_check(b->net->up(index, BARE_SERIAL + number, &d, &b->slot, &e), &e);
}

static inline void bare_make_disk(struct bare *b, unsigned mib)
{
	struct deadline d = deadline_in(BARE_LIMIT_MS, -1);
	struct err e;

	b->disk = (struct volume_spec){.instance = BARE_INSTANCE,
				       .serial = BARE_SERIAL,
				       .dir_fd = bare_reopen(b->dir, O_RDONLY | O_DIRECTORY),
				       .dir = b->dir,
				       .base = b->base,
				       .size_bytes = (uint64_t)mib << 20};
	bare_check(bare_file_store()->create(&b->disk, &d, &e), &e);
}

static inline void bare_make_serial(const struct bare *b)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/serial.in", b->dir);
	if (mkfifo(path, 0600) < 0)
		bench_die_sys(path);
	(void)snprintf(path, sizeof(path), "%s/serial.out", b->dir);
	if (symlink("/dev/null", path) < 0)
		bench_die_sys(path);
}

static inline void bare_end(struct bare *b)
{
	struct deadline d = deadline_in(BARE_LIMIT_MS, -1);
	struct err e;
	int status = 0;

	if (proc_kill(b->pidfd, SIGKILL) < 0 || proc_wait(b->pidfd, &d) < 0)
		bench_die("the bare QEMU does not end");
	proc_reap(b->pidfd, &status);
	bare_check(b->net->down(&b->slot, &d, &e), &e);
}

#endif
