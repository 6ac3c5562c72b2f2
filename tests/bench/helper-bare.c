// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-bare.c - starts QEMU as the daemon does, without the daemon, until the agent answers
 *
 *   helper-bare SERIES MODEL DIR DISK_MIB user|netns
 *
 * MODEL is as bare.h has it. The console log is watched for the agent's line as the daemon does. The time runs from before
 * the fork to the first answer to /health; disk and network slot are there before.
 */
#include <sys/inotify.h>

#include "tests/bench/bare.h"

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
	return file_read(AT_FDCWD, path, BARE_CONSOLE_MAX, &text, NULL) == 0 && text.len &&
	       memmem(text.data, text.len, hint, sizeof(hint) - 1);
}

static void await_agent(const struct bare *b, int inotify_fd)
{
	const struct guest g = {
		.addr = b->slot.agent_addr, .port = b->slot.agent_port, .token = ""};
	struct deadline d = deadline_in(BARE_LIMIT_MS, -1);
	bool ready = false;

	do {
		struct deadline ask = deadline_in(BARE_ASK_MS, -1);
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
	spec.stderr_fd = spec.stdout_fd = bare_reopen(path, O_WRONLY | O_CREAT | O_APPEND);
	start = bench_now();
	bare_check(proc_spawn(&spec, &b->id, &b->pidfd, &e), &e);
	await_agent(b, inotify_fd);
	bench_sample(series, start);
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
	bare_open_net(&b, argv[5]);
	bare_make_slot(&b, 0);
	bare_read_args(&b, argv[2]);
	bare_for_fds(&b, argv[2], bare_find_base);
	bare_make_disk(&b, bench_number(argv[4]));
	bare_make_serial(&b);
	bare_for_fds(&b, argv[2], bare_add_fd);
	run(&b, argv[1]);
	bare_end(&b);
	b.net->done();
	return 0;
}
