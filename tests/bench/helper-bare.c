// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-bare.c - starts QEMU as the daemon does, without the daemon, until the agent answers
 *
 *   helper-bare SERIES MODEL DIR DISK_MIB user|netns
 *
 * How it works: MODEL is what the caller kept of a running sandbox: `argv`, its /proc/PID/cmdline, and `fds`, a line
 * "NUMBER FLAGS TARGET" for each descriptor. Every descriptor that the command line names is made anew under the
 * same number: memory, control socket, console, an overlay of its own, a tap of its own; files that are only
 * read are opened again. So the command line is the same but for the name of the run directory and, with
 * user networking, the forwarded address. Then it is run, and the console log watched for the agent's line as the daemon
 * does. The time runs from before the fork to the first answer to /health; disk and network slot are there before.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/inotify.h>
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
	ARGS_MAX = 128,
	FDS_MAX = 16,
	LIMIT_MS = 120000,
	ASK_MS = 500,
	SERIAL = 7777,      /* of the slot and the disk: no sandbox of ours gets that far */
	USER_INDEX = 15000, /* a slot that the daemon beside us is not using */
	CONSOLE_MAX = 1 << 20,
};

#define INSTANCE "bare"

struct bare {
	const char *dir;
	char *args[ARGS_MAX];
	int fds[FDS_MAX];
	unsigned fd_count;
	struct buf text; /* of the command line, words NUL-terminated */
	char base[PATH_MAX];
	const struct slot_driver *net;
	struct slot slot;
	struct volume_spec disk;
	struct proc_id id;
	int pidfd;
};

static void check(int r, const struct err *e)
{
	if (r < 0)
		bench_die("%s", e->text);
}

/* ---- the command line --------------------------------------------------------------------------------- */

/* The word with what stands between @from and @until replaced; the same word when it has no such part. */
static char *replaced(char *word, const char *from, const char *until, const char *by)
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

static void read_args(struct bare *b, const char *model)
{
	AUTO_FREE char *path = NULL;
	struct err e;
	unsigned n = 0;

	if (asprintf(&path, "%s/argv", model) < 0)
		bench_die("no memory");
	check(file_read(AT_FDCWD, path, CONSOLE_MAX, &b->text, &e), &e);
	for (char *at = b->text.data; at < b->text.data + b->text.len; at += strlen(at) + 1) {
		if (n + 1 >= ARGS_MAX)
			bench_die("the command line is too long");
		b->args[n] = replaced(at, "pipe,id=ser,path=", "/serial,", b->dir);
		b->args[n] = replaced(b->args[n], "hostfwd=tcp:", ":", b->slot.agent_addr);
		n++;
	}
}

/* Does the command line name descriptor @number? */
static bool is_named(const struct bare *b, unsigned number)
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

static int make_memory(const struct bare *b)
{
	int fd = memfd_create("bare", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	unsigned long mib = 0;

	for (unsigned i = 0; b->args[i]; i++)
		if (strcmp(b->args[i], "-m") == 0)
			mib = strtoul(b->args[i + 1], NULL, 10);
	if (fd < 0 || ftruncate(fd, (off_t)(mib << 20)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		bench_die_sys("guest memory");
	return fd;
}

static int make_socket(const struct bare *b)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/qmp.sock", b->dir);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0)
		bench_die_sys(address.sun_path);
	return fd;
}

static int reopen(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		bench_die_sys(path);
	return fd;
}

/* By what it was in the model: only the disk is a file open for both, only the console one open for writing. */
static int make_fd(const struct bare *b, int flags, const char *target)
{
	char path[PATH_MAX];

	if (strncmp(target, "socket:", 7) == 0)
		return make_socket(b);
	if (strncmp(target, "/memfd:", 7) == 0)
		return make_memory(b);
	if (strcmp(target, "/dev/net/tun") == 0)
		return b->slot.tap_fd;
	if ((flags & O_ACCMODE) == O_WRONLY) {
		(void)snprintf(path, sizeof(path), "%s/console.log", b->dir);
		return reopen(path, O_WRONLY | O_APPEND | O_CREAT);
	}
	if ((flags & O_ACCMODE) == O_RDWR) {
		(void)snprintf(path, sizeof(path), "%s/disk.qcow2", b->dir);
		return reopen(path, O_RDWR | (flags & O_DIRECT));
	}
	return reopen(target, O_RDONLY | (flags & O_DIRECT));
}

/* Call @each for each line of MODEL/fds. */
static void for_fds(struct bare *b, const char *model,
		    void (*each)(struct bare *b, unsigned number, int flags, const char *target))
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
		if (number >= PROC_FD_FIRST && is_named(b, number))
			each(b, number, flags, at + strspn(at, " "));
	}
}

static void find_base(struct bare *b, unsigned number, int flags, const char *target)
{
	(void)number;
	if ((flags & O_ACCMODE) == O_RDONLY && strstr(target, "/rootfs"))
		(void)snprintf(b->base, sizeof(b->base), "%s", target);
}

static void add_fd(struct bare *b, unsigned number, int flags, const char *target)
{
	if (number != PROC_FD_FIRST + b->fd_count || b->fd_count == FDS_MAX)
		bench_die("descriptor %u of the model is out of order", number);
	b->fds[b->fd_count++] = make_fd(b, flags, target);
}

/* ---- what is there before ------------------------------------------------------------------------------ */

static const struct volume_driver *file_store(void)
{
	const struct volume_driver *drv = volume_driver_named("file");

	if (!drv)
		bench_die("there is no file store");
	return drv;
}

static void make_slot(struct bare *b, const char *kind)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	uint32_t total = 0;
	struct err e;

	b->net = strcmp(kind, "netns") == 0 ? &slot_netns : &slot_user;
	check(b->net->init(INSTANCE, &total, &e), &e);
	check(b->net->up(b->net->is_user ? USER_INDEX : 0, SERIAL, &d, &b->slot, &e), &e);
}

static void make_disk(struct bare *b, unsigned mib)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct err e;

	b->disk = (struct volume_spec){.instance = INSTANCE,
				       .serial = SERIAL,
				       .dir_fd = reopen(b->dir, O_RDONLY | O_DIRECTORY),
				       .dir = b->dir,
				       .base = b->base,
				       .size_bytes = (uint64_t)mib << 20};
	check(file_store()->create(&b->disk, &d, &e), &e);
}

static void make_serial(const struct bare *b)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/serial.in", b->dir);
	if (mkfifo(path, 0600) < 0)
		bench_die_sys(path);
	(void)snprintf(path, sizeof(path), "%s/serial.out", b->dir);
	if (symlink("/dev/null", path) < 0)
		bench_die_sys(path);
}

/* ---- the run ------------------------------------------------------------------------------------------- */

static int console_watch(const struct bare *b)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/console.log", b->dir);
	if (fd < 0 || inotify_add_watch(fd, path, IN_MODIFY) < 0)
		bench_die_sys(path);
	return fd;
}

static bool console_says_ready(const struct bare *b)
{
	static const char hint[] = "sbxfs-agent: ready";
	AUTO_BUF text = BUF_INIT;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/console.log", b->dir);
	return file_read(AT_FDCWD, path, CONSOLE_MAX, &text, NULL) == 0 && text.len &&
	       memmem(text.data, text.len, hint, sizeof(hint) - 1);
}

static void await_agent(const struct bare *b, int inotify_fd)
{
	const struct guest g = {
		.addr = b->slot.agent_addr, .port = b->slot.agent_port, .token = ""};
	struct deadline d = deadline_in(LIMIT_MS, -1);
	bool ready = false;

	do {
		struct deadline ask = deadline_in(ASK_MS, -1);
		struct pollfd fds[] = {{.fd = inotify_fd, .events = POLLIN},
				       {.fd = b->pidfd, .events = POLLIN}};
		char events[4096];

		while (!ready && !console_says_ready(b) && deadline_poll(&ask, fds, 2) > 0) {
			if (fds[1].revents)
				bench_die("QEMU ended, see %s/stderr", b->dir);
			while (read(inotify_fd, events, sizeof(events)) > 0)
				;
		}
		ready = guest_health(&g, &d, NULL) == 0;
	} while (!ready && deadline_left_ms(&d) > 0);
	if (!ready)
		bench_die("the agent of the bare QEMU did not answer");
}

static void run(struct bare *b, const char *series)
{
	struct proc_spec spec = {.argv = (const char *const *)b->args,
				 .stdin_fd = -1,
				 .fds = b->fds,
				 .fd_count = b->fd_count,
				 .netns_fd = b->slot.netns_fd};
	AUTO_FD inotify_fd = console_watch(b);
	char path[PATH_MAX];
	double start = 0;
	struct err e;

	(void)snprintf(path, sizeof(path), "%s/stderr", b->dir);
	spec.stderr_fd = spec.stdout_fd = reopen(path, O_WRONLY | O_CREAT | O_APPEND);
	start = bench_now();
	check(proc_spawn(&spec, &b->id, &b->pidfd, &e), &e);
	await_agent(b, inotify_fd);
	bench_sample(series, start);
}

static void end(struct bare *b)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct err e;
	int status = 0;

	if (proc_kill(b->pidfd, SIGKILL) < 0 || proc_wait(b->pidfd, &d) < 0)
		bench_die("the bare QEMU does not end");
	proc_reap(b->pidfd, &status);
	check(b->net->down(&b->slot, &d, &e), &e);
	b->net->done();
}

int main(int argc, char **argv)
{
	static struct bare b = {.text = BUF_INIT, .pidfd = -1};

	if (argc != 6)
		bench_die("usage: helper-bare SERIES MODEL DIR DISK_MIB user|netns");
	log_open(false);
	if (http_init() < 0)
		bench_die("no memory");
	b.dir = argv[3];
	make_slot(&b, argv[5]);
	read_args(&b, argv[2]);
	for_fds(&b, argv[2], find_base);
	make_disk(&b, bench_number(argv[4]));
	make_serial(&b);
	for_fds(&b, argv[2], add_fd);
	run(&b, argv[1]);
	end(&b);
	return 0;
}
