/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-off.c - shut the guest down
 *
 * How it works: another process 1 is asked in its own way, and does the rest. When it is us, or when nobody
 * knows how to ask it: SIGTERM to all, a short wait, SIGKILL to all, a short wait, file systems, power. The
 * waits end as soon as nothing else runs, whoever's child it is (pidfds).
 * Interactive shells take no notice of SIGTERM; a leader of a session with a terminal gets SIGHUP too.
 * A root that cannot be mounted read-only, because a file on it is open for writing, is frozen instead: that
 * leaves its journal clean just as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "agent/boot-parts.h"
#include "agent/boot.h"
#include "base/cleanup.h"

enum {
	TERM_WAIT_MS = 3000, /* for processes to end by themselves */
	KILL_WAIT_MS = 1000, /* for the kernel to be done with killed ones */
	MOUNTS_MAX = 256,
	PROCESSES_MAX = 512, /* waited for in one round; below the usual limit of descriptors */
};

/* What sysvinit reads from its FIFO; initreq.h of sysvinit: 384 bytes in all. */
struct initctl_request {
	int32_t magic, command, runlevel, sleep_sec;
	char rest[368];
};
enum { INITCTL_MAGIC = 0x03091969, INITCTL_RUNLEVEL = 1 };

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void boot_halt(void)
{
	sync();
	(void)reboot(
		RB_POWER_OFF); /* returns only without the right to do it; then there is no machine to stop */
	_exit(1);
}

static bool init_is_busybox(void)
{
	static const char name[] = "/busybox";
	char exe[256];
	ssize_t n = readlink("/proc/1/exe", exe, sizeof(exe) - 1);

	if (n < (ssize_t)sizeof(name) - 1)
		return false;
	exe[n] = '\0';
	return strcmp(exe + n - (sizeof(name) - 1), name) == 0;
}

static bool initctl_ask(const char *path)
{
	const struct initctl_request r = {.magic = INITCTL_MAGIC,
					  .command = INITCTL_RUNLEVEL,
					  .runlevel = '0',
					  .sleep_sec = TERM_WAIT_MS / 1000};
	AUTO_FD fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	_Static_assert(sizeof(r) == 384, "sysvinit reads requests of this size");
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
	       write(fd, &r, sizeof(r)) == (ssize_t)sizeof(r);
}

/* systemd(1) and sd_booted(3); busybox init/halt.c: SIGUSR1 halts, SIGUSR2 powers off. */
static bool init_ask(void)
{
	if (access("/run/systemd/system", F_OK) == 0)
		return kill(1, SIGRTMIN + 4) == 0;
	if (init_is_busybox())
		return kill(1, SIGUSR2) == 0;
	return initctl_ask("/run/initctl") || initctl_ask("/dev/initctl");
}

/* Kernel threads and zombies have no program. */
static bool process_runs(int proc, const char *pid)
{
	char path[32];
	char exe[2];

	(void)snprintf(path, sizeof(path), "%.10s/exe", pid);
	return readlinkat(proc, path, exe, sizeof(exe)) >= 0;
}

/* Descriptors of the processes that run, but process 1 and us; @max at most. */
static nfds_t others_open(struct pollfd *fds, nfds_t max)
{
	AUTO_DIR dir = opendir("/proc");
	const struct dirent *d;
	nfds_t n = 0;

	while (dir && n < max &&
	       (d = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		const pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

		if (pid <= 1 || pid == getpid() || !process_runs(dirfd(dir), d->d_name))
			continue;
		fds[n] = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, pid, 0),
					 .events = POLLIN};
		if (fds[n].fd >= 0)
			n++;
	}
	return n;
}

/* Wait for each of them in turn: all have to end anyway. */
static void others_poll(struct pollfd *fds, nfds_t n, int64_t end_ms)
{
	for (nfds_t i = 0; i < n; i++) {
		int64_t left = end_ms - now_ms();

		(void)poll(&fds[i], 1, left > 0 ? (int)left : 0); /* the caller looks again */
		fd_close(fds[i].fd);
	}
}

/* Until no other process runs: true; or the time is over. */
static bool others_wait(int ms)
{
	const int64_t end = now_ms() + ms;

	for (;;) {
		struct pollfd fds[PROCESSES_MAX];
		nfds_t n = others_open(fds, PROCESSES_MAX);

		if (n == 0)
			return true;
		others_poll(fds, n, end);
		if (now_ms() >= end)
			return false;
	}
}

/* The numbers behind the name in /proc/PID/stat, which may itself hold anything; proc(5). */
enum { STAT_PARENT, STAT_GROUP, STAT_SESSION, STAT_TTY, STAT_COUNT };

static bool stat_read(int proc, const char *pid, long ret[STAT_COUNT])
{
	char path[32];
	char text[512];
	char *at;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%.10s/stat", pid);
	AUTO_FD fd = openat(proc, path, O_RDONLY | O_CLOEXEC);

	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	at = strrchr(text, ')');
	if (!at || strlen(at) < sizeof(") S ") - 1)
		return false;
	at += sizeof(") S ") - 1;
	for (int i = 0; i < STAT_COUNT; i++)
		ret[i] = strtol(at, &at, 10);
	return true;
}

/* Leaders of a session with a terminal. */
static void terminals_hangup(void)
{
	AUTO_DIR dir = opendir("/proc");
	const struct dirent *d;

	while (dir && (d = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		const long pid = strtol(d->d_name, NULL, 10);
		long stat[STAT_COUNT];

		if (pid > 1 && pid != getpid() && stat_read(dirfd(dir), d->d_name, stat) &&
		    stat[STAT_SESSION] == pid && stat[STAT_TTY] != 0)
			(void)kill((pid_t)pid, SIGHUP); /* gone already is as good */
	}
}

static void processes_end(void)
{
	/* kill(-1) spares process 1 and the caller; it fails only when nobody else is there. */
	(void)kill(-1, SIGTERM);
	(void)kill(-1, SIGCONT);
	terminals_hangup();
	if (others_wait(TERM_WAIT_MS))
		return;
	(void)kill(-1, SIGKILL);
	if (!others_wait(KILL_WAIT_MS))
		boot_say("shutdown: some processes do not end even by SIGKILL, going on");
}

/* Mounts on top of the root, the last one first. Kernel file systems hold nothing; what is busy stays. */
static void mounts_remove(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char *dirs[MOUNTS_MAX];
	char line[4096];
	struct mntent m;
	size_t n = 0;

	while (mounts && n < MOUNTS_MAX && getmntent_r(mounts, &m, line, sizeof(line))) {
		if (m.mnt_fsname[0] != '/' || strcmp(m.mnt_dir, "/") == 0)
			continue;
		dirs[n] = strdup(m.mnt_dir);
		if (dirs[n])
			n++;
	}
	if (mounts)
		(void)endmntent(mounts);
	while (n > 0) {
		n--;
		(void)umount2(dirs[n], UMOUNT_NOFOLLOW);
		free(dirs[n]);
	}
}

static void root_settle(void)
{
	AUTO_FD root = -1;

	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
		return;
	root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || ioctl(root, FIFREEZE, 0) != 0)
		boot_say("shutdown: the root file system stays mounted (%s); it is synced",
			 strerrordesc_np(errno));
}

void boot_poweroff(void)
{
	if (getpid() != 1 && init_ask())
		return;
	processes_end();
	sync();
	mounts_remove();
	root_settle();
	boot_halt();
}
