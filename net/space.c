/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/space.c - the network namespace of a slot, and its name below /run/netns
 *
 * How it works: a thread is in one network namespace, and so are the sockets that it opens, for as long as they
 * live. So a thread is made for the moment: it enters, opens what is needed, ends. No thread of the
 * daemon ever leaves the host's namespace. The name is given last: what a crash interrupts has no name yet
 * and goes with the process, and what has a name is complete.
 */
#include "net/space.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/magic.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "net/nft.h"
#include "net/nl.h"
#include "net/setting.h"

enum {
	PATH_SIZE = sizeof(NETNS_DIR) + SLOT_NAME_SIZE + 1,
};

/* What a thread does in a namespace; ns_fd of @s is where it is, or -1: in a new one. */
struct visit {
	int (*fn)(struct visit *v);
	struct space *s;
	const char *alias;
	int (*call)(void *arg, struct err *e); /* of space_run() */
	void *arg;
	struct err *e;
	int rc;
};

static void *visit_thread(void *arg)
{
	struct visit *v = arg;

	v->rc = v->fn(v);
	return NULL;
}

static int visit_run(struct visit *v)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, visit_thread, v);

	if (rc)
		return err_sys(v->e, rc, "cannot start a thread to enter a network namespace");
	rc = pthread_join(thread, NULL);
	if (rc)
		return err_sys(v->e, rc, "cannot wait for a thread in a network namespace");
	return v->rc;
}

/* TUNSETIFF; makes the tap if there is none in the calling thread's namespace. */
int space_tap_open(int *ret_fd, struct err *e)
{
	/* The VMM's own flags: it refuses a tap with others. */
	struct ifreq req = {.ifr_name = SPACE_TAP, .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	AUTO_FD fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(e, errno,
			       "cannot open /dev/net/tun (is the kernel module tun there?)");
	if (ioctl(fd, TUNSETIFF, &req) < 0)
		return err_sys(e, errno, "cannot attach to " SPACE_TAP);
	/* It stays when no process has it open: the daemon may end while the VMM is not up. */
	if (ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return err_sys(e, errno, "cannot make " SPACE_TAP " persistent");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int space_tap_remove(int *fd, struct err *e)
{
	AUTO_FD own = steal_fd(fd);
	struct nlr_link link;
	struct nlr *nl = NULL;
	int rc = own < 0 ? space_tap_open(&own, e) : 0;

	if (rc < 0)
		return rc;
	if (ioctl(own, TUNSETPERSIST, 0UL) < 0)
		return err_sys(e, errno, "cannot give up " SPACE_TAP);
	fd_close(steal_fd(&own)); /* the last one takes it along */
	rc = nlr_open(&nl, e);
	if (rc < 0)
		return rc;
	rc = nlr_link_get(nl, SPACE_TAP, &link, NULL);
	nlr_close(nl);
	if (rc == 0)
		return err_set(e, EBUSY, "another program has " SPACE_TAP " open");
	return rc == -ENODEV ? 0 : err_set(e, -rc, "cannot see whether " SPACE_TAP " has gone");
}

static int visit_make(struct visit *v)
{
	struct space *s = v->s;
	int rc = 0;

	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(v->e, errno, "cannot make a network namespace");
	s->ns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (s->ns_fd < 0)
		return err_sys(v->e, errno, "cannot open a new network namespace");
	/* Before there is a link: each takes these over when it is made. */
	rc = setting_write_optional("ipv6/conf/default/disable_ipv6", "1", v->e);
	if (rc == 0)
		rc = setting_write("ipv4/ip_forward", "1", v->e);
	if (rc == 0)
		rc = space_tap_open(&s->tap_fd, v->e);
	if (rc == 0)
		rc = nlr_open(&s->nl, v->e);
	return rc < 0 ? rc : nft_open(&s->nft, v->e);
}

int space_make(struct space *ret, struct err *e)
{
	struct space s = SPACE_NONE;
	struct visit v = {.fn = visit_make, .s = &s, .e = e};
	int rc = visit_run(&v);

	if (rc < 0)
		space_done(&s);
	else
		*ret = s;
	return rc;
}

static int visit_enter(struct visit *v)
{
	struct space *s = v->s;
	struct nlr_link link;
	int rc = 0;

	if (setns(s->ns_fd, CLONE_NEWNET) < 0)
		return err_sys(v->e, errno, "cannot enter a network namespace");
	rc = nlr_open(&s->nl, v->e);
	if (rc < 0)
		return rc;
	rc = nlr_link_get(s->nl, SPACE_LINK, &link, v->e);
	if (rc == 0 && strcmp(link.alias, v->alias) != 0)
		rc = err_set(v->e, ENODEV, "the network namespace is not that of %s", v->alias);
	/* Opening the tap would make it where it is missing, so it is looked for first. */
	if (rc == 0)
		rc = nlr_link_get(s->nl, SPACE_TAP, &link, v->e);
	if (rc < 0)
		return rc;
	rc = space_tap_open(&s->tap_fd, v->e);
	return rc == -EBUSY ? 0 : rc;
}

int space_enter(int ns_fd, const char *alias, struct space *ret, struct err *e)
{
	struct space s = SPACE_NONE;
	struct visit v = {.fn = visit_enter, .s = &s, .alias = alias, .e = e};
	int rc = 0;

	s.ns_fd = fcntl(ns_fd, F_DUPFD_CLOEXEC, 0);
	if (s.ns_fd < 0)
		return err_sys(e, errno, "cannot duplicate a descriptor");
	rc = visit_run(&v);
	if (rc < 0)
		space_done(&s);
	else
		*ret = s;
	return rc;
}

static int visit_call(struct visit *v)
{
	if (setns(v->s->ns_fd, CLONE_NEWNET) < 0)
		return err_sys(v->e, errno, "cannot enter a network namespace");
	return v->call(v->arg, v->e);
}

int space_run(int ns_fd, int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
	struct space s = {.ns_fd = ns_fd, .tap_fd = -1};
	struct visit v = {.fn = visit_call, .s = &s, .call = fn, .arg = arg, .e = e};

	return visit_run(&v);
}

void space_done(struct space *s)
{
	nft_close(s->nft);
	nlr_close(s->nl);
	fd_close(s->tap_fd);
	fd_close(s->ns_fd);
	*s = (struct space)SPACE_NONE;
}

/* Make the directory a shared mount, as `ip netns` does, so that names made in one mount namespace are seen, and
 * gone, in those that have a copy. */
static int dir_share(struct err *e)
{
	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno == EINVAL && mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) == 0 &&
	    mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	return err_sys(e, errno, "cannot make %s a shared mount", NETNS_DIR);
}

int space_dir_lock(int *ret_fd, struct err *e)
{
	AUTO_FD fd = -1;

	if (mkdir(NETNS_DIR, 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot make %s", NETNS_DIR);
	fd = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return err_sys(e, errno, "cannot lock %s", NETNS_DIR);
	if (dir_share(e) < 0)
		return -EIO;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static const char *space_path(const char *name, char ret_path[PATH_SIZE])
{
	(void)snprintf(ret_path, PATH_SIZE, NETNS_DIR "/%s", name); /* names fit a link's name */
	return ret_path;
}

int space_mount(const char *name, int ns_fd, struct err *e)
{
	char path[PATH_SIZE];
	char from[32];
	AUTO_FD fd = open(space_path(name, path), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	if (fd < 0)
		return err_sys(e, errno, "cannot make %s", path);
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", ns_fd); /* always fits */
	if (mount(from, path, "none", MS_BIND, NULL) < 0) {
		int code = errno;

		(void)unlink(path); /* the mount's failure is what the caller has to know */
		return err_sys(e, code, "cannot mount a network namespace on %s", path);
	}
	return 0;
}

int space_open(const char *name, int *ret_fd, struct err *e)
{
	char path[PATH_SIZE];
	struct statfs fs;
	AUTO_FD fd = open(space_path(name, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (fs.f_type != NSFS_MAGIC)
		return err_set(e, ESTALE, "%s is no network namespace", path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int space_unmount(const char *name, struct err *e)
{
	char path[PATH_SIZE];

	/* More than once: nothing keeps others from mounting there again. */
	while (umount2(space_path(name, path), MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (errno != EINVAL && errno != ENOENT)
		return err_sys(e, errno, "cannot unmount %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "cannot remove %s", path);
	return 0;
}

int space_names(void (*fn)(const char *name, void *arg), void *arg, struct err *e)
{
	AUTO_DIR dir = opendir(NETNS_DIR);

	if (!dir)
		return errno == ENOENT ? 0 : err_sys(e, errno, "cannot list %s", NETNS_DIR);
	for (;;) {
		struct dirent *entry = NULL;

		errno = 0;
		/* cppcheck-suppress readdirCalled ; the stream is this call's alone */
		entry = readdir(dir); /* NOLINT(concurrency-mt-unsafe): as above */
		if (!entry)
			return errno ? err_sys(e, errno, "cannot list %s", NETNS_DIR) : 0;
		fn(entry->d_name, arg);
	}
}

static int visit_check(struct visit *v)
{
	struct space *s = v->s;
	struct nlr_link link;
	int rc = 0;

	if (setns(s->ns_fd, CLONE_NEWNET) < 0)
		return -errno;
	rc = nlr_open(&s->nl, NULL);
	if (rc == 0)
		rc = nlr_link_get(s->nl, SPACE_LINK, &link, NULL);
	if (rc == 0 && strcmp(link.alias, v->alias) != 0)
		rc = -ENODEV;
	return rc;
}

/* What a crash between making the file and mounting on it leaves. */
static bool is_empty_file(const char *name)
{
	char path[PATH_SIZE];
	struct stat st;

	return lstat(space_path(name, path), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

bool space_is_ours(const char *name, const char *alias)
{
	struct space s = SPACE_NONE;
	struct visit v = {.fn = visit_check, .s = &s, .alias = alias};
	int rc = space_open(name, &s.ns_fd, NULL);

	if (rc == -ESTALE)
		return is_empty_file(name);
	if (rc == 0)
		rc = visit_run(&v);
	space_done(&s);
	return rc == 0;
}
