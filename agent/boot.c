/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot.c - from the kernel's first process to the root file system of the image
 *
 * How it works: the kernel starts this program as /init of an initramfs that holds it and the drivers.
 * Order: kernel file systems, command line, drivers, root disk, move into it, what a root file system needs
 * mounted, network, names. Device events are listened to before the first driver is loaded. The kernel file
 * systems are mounted once and moved along. Nothing is waited for but devices, and those by event.
 * A module that does not load is named and passed over: the wait for the device it drives tells if it mattered.
 */
#include "agent/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/boot-parts.h"
#include "base/cleanup.h"

#define NEW_ROOT "/newroot"

enum {
	ROOT_WAIT_MS = 10000, /* as LINK_WAIT_MS in boot-net.c */
	SAY_MAX = 1024,
	CMDLINE_MAX = 4096, /* the kernel keeps 2048 bytes on x86 */
	FTW_FDS = 16,
};

struct mount_row {
	const char *type, *target;
	unsigned long flags;
	const char *options;
	mode_t mode; /* of the directory when it has to be made */
};

/* clang-format off */
static const struct mount_row EARLY[] = {
	{ "proc",     "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,       0555 },
	{ "sysfs",    "/sys",  MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,       0555 },
	{ "devtmpfs", "/dev",  MS_NOSUID,                        "mode=755", 0755 },
};

static const struct mount_row LATE[] = {
	{ "devpts",  "/dev/pts",       MS_NOSUID | MS_NOEXEC,             "gid=5,mode=620,ptmxmode=666", 0755 },
	{ "tmpfs",   "/dev/shm",       MS_NOSUID | MS_NODEV,              "mode=1777",                   01777 },
	{ "tmpfs",   "/run",           MS_NOSUID | MS_NODEV,              "mode=755",                    0755 },
	{ "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,  "nsdelegate",                  0555 },
};

static const struct mount_row TMP = { "tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", 01777 };

/* udev would make these; without it programs still expect them. */
static const struct {
	const char *text, *path;
} DEV_LINKS[] = {
	{ "/proc/self/fd",   "/dev/fd" },
	{ "/proc/self/fd/0", "/dev/stdin" },
	{ "/proc/self/fd/1", "/dev/stdout" },
	{ "/proc/self/fd/2", "/dev/stderr" },
};
/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void boot_say(const char *fmt, ...)
{
	/* Non-blocking: a console that nobody empties must not stop the agent. */
	AUTO_FD console = open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	char text[SAY_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* Nobody is left to tell when this fails. */
	(void)dprintf(console >= 0 ? console : STDERR_FILENO, "sbxfs-agent: %s\n", text);
}

static int mount_row(const struct mount_row *m, struct err *e)
{
	(void)mkdir(m->target, m->mode); /* there already, or mount() says why not */
	if (mount(m->type, m->target, m->type, m->flags, m->options) != 0 && errno != EBUSY)
		return err_sys(e, errno, "cannot mount %s on %s", m->type, m->target);
	return 0;
}

static int cmdline_read(struct boot_args *ret_args, struct err *e)
{
	AUTO_FD fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	char text[CMDLINE_MAX];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return err_sys(e, errno, "cannot read /proc/cmdline");
	text[n] = '\0';
	return boot_cmdline_parse(text, ret_args, e);
}

static void module_load(int dir, const char *name)
{
	AUTO_FD fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0)
		return;
	/* Built in or loaded already; or a driver for a CPU or bus that this machine has not. */
	if (errno != EEXIST && errno != ENODEV)
		boot_say("cannot load /modules/%s: %s, ignoring", name, strerrordesc_np(errno));
}

/* A line of the order: FILE [PATH], with a path only where that exists. No /modules: all is built in. */
static void modules_load(void)
{
	AUTO_FD dir = open("/modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FILE order = dir < 0 ? NULL : fopen("/modules/order", "re");
	AUTO_FREE char *line = NULL;
	size_t room = 0;

	while (order && getline(&line, &room, order) > 0) {
		char *rest = line;
		const char *name = strsep(&rest, " \n");
		const char *path = strsep(&rest, "\n");

		if (name[0] != '\0' && (!path || path[0] == '\0' || access(path, F_OK) == 0))
			module_load(dir, name);
	}
}

static bool node_is_there(void *arg)
{
	return access(arg, F_OK) == 0;
}

static int root_mount(struct boot_args *a, int uevents, struct boot_grow *grow, struct err *e)
{
	if (boot_uevents_wait(uevents, node_is_there, a->root, ROOT_WAIT_MS) != 0)
		return err_set(e, ENODEV,
			       "no root disk %s after %d s; does the initramfs have its driver?",
			       a->root, ROOT_WAIT_MS / 1000);
	(void)mkdir(NEW_ROOT, 0755); /* there already, or mount() says why not */
	grow->blocks = boot_grow_wanted(a->root);
	if (mount(a->root, NEW_ROOT, "ext4", 0, grow->blocks ? NULL : BOOT_ROOT_OPTIONS) != 0)
		return err_sys(e, errno, "cannot mount %s as ext4", a->root);
	if (grow->blocks)
		boot_grow_begin(grow, NEW_ROOT);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	(void)remove(path); /* what stays costs memory and nothing else; "/" itself always stays */
	return 0;
}

/* What follows deletes and moves: never on a real root file system. */
static int initramfs_check(struct err *e)
{
	struct statfs fs;

	if (statfs("/", &fs) != 0)
		return err_sys(e, errno, "cannot look at the first root file system");
	if (fs.f_type != RAMFS_MAGIC && fs.f_type != TMPFS_MAGIC)
		return err_set(
			e, EINVAL,
			"process 1 was not started from an initramfs; give the template's initrd to the VM");
	return 0;
}

static int root_switch(struct err *e)
{
	for (size_t i = 0; i < COUNT(EARLY); i++) {
		char to[sizeof(NEW_ROOT) + 16];

		(void)snprintf(to, sizeof(to), NEW_ROOT "%s", EARLY[i].target);
		(void)mkdir(to, EARLY[i].mode); /* there already, or mount() says why not */
		if (mount(EARLY[i].target, to, NULL, MS_MOVE, NULL) != 0)
			return err_sys(e, errno, "cannot move %s into the root file system",
				       EARLY[i].target);
	}
	/* Give the initramfs's memory back; the walk stays on its file system. */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread, and nothing else runs yet */
	(void)nftw("/", remove_one, FTW_FDS, FTW_MOUNT | FTW_PHYS | FTW_DEPTH);
	if (chdir(NEW_ROOT) != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 ||
	    chdir("/") != 0)
		return err_sys(e, errno, "cannot move into the root file system");
	return 0;
}

static bool dir_is_empty(const char *path)
{
	AUTO_DIR dir = opendir(path);
	int n = 0;

	while (dir && n < 3 &&
	       readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		n++;
	return dir && n == 2; /* "." and ".." */
}

/* /tmp of an image that ships files in it stays on the disk; an image's own init has its own rules for it. */
static int root_furnish(const struct boot_args *a, struct err *e)
{
	for (size_t i = 0; i < COUNT(LATE); i++) {
		int r = mount_row(&LATE[i], e);

		if (r != 0)
			return r;
	}
	for (size_t i = 0; i < COUNT(DEV_LINKS); i++)
		if (symlink(DEV_LINKS[i].text, DEV_LINKS[i].path) != 0 && errno != EEXIST)
			return err_sys(e, errno, "cannot make %s", DEV_LINKS[i].path);
	if (mkdir("/run/lock", 01777) == 0 && chmod("/run/lock", 01777) != 0)
		return err_sys(e, errno, "cannot make /run/lock");
	if (a->init[0] != '\0')
		return 0;
	(void)mkdir(TMP.target, TMP.mode); /* there already, in most images */
	return dir_is_empty(TMP.target) ? mount_row(&TMP, e) : 0;
}

static int boot_steps(struct boot_args *a, struct err *e)
{
	AUTO_FD uevents = -1;
	struct boot_grow grow = {0};
	int r = initramfs_check(e);

	for (size_t i = 0; i < COUNT(EARLY) && r == 0; i++)
		r = mount_row(&EARLY[i], e);
	if (r == 0)
		r = cmdline_read(a, e);
	if (r == 0)
		r = boot_uevents_open(&uevents, e);
	if (r != 0)
		return r;
	modules_load();
	r = root_mount(a, uevents, &grow, e);
	if (r == 0)
		r = root_switch(e);
	if (r == 0)
		r = root_furnish(a, e);
	if (r == 0)
		r = boot_net_up(a, uevents, e);
	if (r == 0)
		boot_etc_write(a);
	if (r == 0 && grow.blocks)
		boot_grow_end(&grow);
	return r;
}

/* The image's init needs process 1; the agent goes on in a session of its own. */
static int init_start(const char *path)
{
	char *const argv[] = {strdupa(path), NULL};
	pid_t pid = fork();

	if (pid == 0) {
		(void)setsid(); /* cannot fail: a new child leads no group */
		return 0;
	}
	if (pid > 0)
		(void)execv(path, argv);
	boot_say("boot failed: cannot start %s of the image: %s; powering off", path,
		 strerrordesc_np(errno));
	boot_halt();
}

int boot_run(void)
{
	struct boot_args args;
	struct err e = {0};

	(void)umask(022);
	if (boot_steps(&args, &e) != 0) {
		boot_say("boot failed: %s; powering off", e.text);
		boot_halt();
	}
	return args.init[0] == '\0' ? 0 : init_start(args.init);
}
