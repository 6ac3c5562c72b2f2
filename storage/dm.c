// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/dm.c - device-mapper devices by name: made, changed and removed by libdevmapper
 *
 * How it works
 * libdevmapper keeps global lists and is not thread-safe: every call is made under one lock, which is held
 * for one device's tasks and never over a wait for a removal.
 * A device is made by three tasks (create, load, resume), not by the library's all-in-one create, which
 * forgets the errno of a refused table.
 * A table is changed by load and resume, in which the kernel suspends the device by itself.
 * With udev running, tasks that cause uevents carry a cookie with flags that keep udev's rules from
 * reading a guest's disk; the wait for udev is bounded, since the node that is used comes from devtmpfs.
 * Removal: a device that is open is marked for deferred removal and closed; the kernel then removes it in
 * a worker, so that removals of many sandboxes overlap (a plain one blocks for grace periods).
 */
#include "storage/dm.h"

#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/fault.h"

enum {
	UDEV_WAIT_MS = 5000,
	LEVEL_ERROR = 3,    /* syslog's; the library's header has no name for it */
	LOG_LEVEL_MASK = 7, /* the library puts flags above it */
	LOG_TEXT_SIZE = 256,
	NODE_MODE = 0600,
};

/* Nobody but us has business with these devices. */
#define UDEV_FLAGS                                                                                 \
	(DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG |                      \
	 DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG)

static pthread_mutex_t dm_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_message[LOG_TEXT_SIZE]; /* first error since the last task_new(); under dm_lock */

/* The library's log: it would write to stderr. Its first error explains a failed task. */
static void __attribute__((format(printf, 5, 6)))
keep_message(int level, const char *file, int line, int dm_errno, const char *fmt, ...)
{
	va_list args;

	(void)file;
	(void)line;
	(void)dm_errno;
	if ((level & LOG_LEVEL_MASK) > LEVEL_ERROR || last_message[0])
		return;
	va_start(args, fmt);
	/* May be cut: only text. NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was started */
	(void)vsnprintf(last_message, sizeof(last_message), fmt, args);
	va_end(args);
}

static void lock(void)
{
	static bool initialised; /* under dm_lock */

	pthread_mutex_lock(&dm_lock);
	if (initialised)
		return;
	dm_log_with_errno_init(keep_message);
	initialised = true;
}

static void unlock(void)
{
	pthread_mutex_unlock(&dm_lock);
}

static void cleanup_task(struct dm_task **t)
{
	if (*t)
		dm_task_destroy(*t);
}
#define AUTO_TASK __attribute__((cleanup(cleanup_task))) struct dm_task *

static int fail(struct err *e, int code, const char *what, const char *name)
{
	return err_set(e, code, "%s %s: %s", what, name,
		       last_message[0] ? last_message : strerrordesc_np(code));
}

static struct dm_task *task_new(int type, const char *name)
{
	struct dm_task *t;

	last_message[0] = '\0';
	t = dm_task_create(type);
	if (t && name && !dm_task_set_name(t, name)) {
		dm_task_destroy(t);
		return NULL;
	}
	return t;
}

/* Return: 0; the negative errno that the kernel gave, -EIO when the library failed by itself. */
static int task_run(struct dm_task *t)
{
	int code;

	if (dm_task_run(t))
		return 0;
	code = dm_task_get_errno(t);
	return code > 0 ? -code : -EIO;
}

/* Wait until udev has dealt with the uevents of a cookie. Its semaphore offers no descriptor to poll. */
static void udev_wait(uint32_t cookie)
{
	int64_t end = clock_ms() + UDEV_WAIT_MS;
	int ready = 0;

	if (!cookie || !dm_udev_get_sync_support()) {
		(void)dm_udev_wait(cookie); /* no udev: it only makes the library's own nodes */
		return;
	}
	while (dm_udev_wait_immediate(cookie, &ready) && !ready) {
		if (clock_ms() > end) {
			/* udev hangs or has died: take the semaphore away, or it would stay for ever. */
			int id = semget((key_t)cookie, 1, 0);

			if (id >= 0)
				(void)semctl(id, 0, IPC_RMID); /* gone meanwhile is as good */
			return;
		}
		(void)poll(NULL, 0, 1); /* a pause only; its result says nothing */
	}
}

/* Run a task that causes a uevent. */
static int task_run_uevent(struct dm_task *t)
{
	uint32_t cookie = 0;
	int r;

	if (!dm_task_set_cookie(t, &cookie, UDEV_FLAGS))
		return -EIO;
	r = task_run(t);
	udev_wait(cookie); /* also after a failure: the cookie must go */
	return r;
}

int dmdev_probe(const char *target, unsigned ret_version[3], struct err *e)
{
	const struct dm_versions *v;
	int r = -ENOMEM;

	if (access("/dev/mapper/control", R_OK | W_OK) < 0)
		return err_set(
			e, ENOTSUP,
			"no device-mapper: /dev/mapper/control: %s; be root on a kernel with it "
			"(modprobe -a dm-mod dm-snapshot)",
			strerrordesc_np(errno));
	lock();
	AUTO_TASK t = task_new(DM_DEVICE_GET_TARGET_VERSION, target);
	if (t)
		r = task_run(t);
	v = r < 0 ? NULL : dm_task_get_versions(t);
	if (v)
		memcpy(ret_version, v->version, sizeof(v->version));
	else
		r = err_set(e, ENOTSUP, "no device-mapper target %s: modprobe dm-%s (%s)", target,
			    target, last_message[0] ? last_message : strerrordesc_np(-r));
	unlock();
	return r;
}

/* The device exists afterwards, empty and suspended. */
static int create_empty(const char *name, const char *uuid, struct err *e)
{
	AUTO_TASK t = task_new(DM_DEVICE_CREATE, name);
	int r;

	if (!t || !dm_task_set_uuid(t, uuid) || !dm_task_set_mode(t, NODE_MODE) ||
	    !dm_task_set_add_node(t, DM_ADD_NODE_ON_RESUME))
		return fail(e, EIO, "cannot prepare device", name);
	r = task_run(t);
	return r < 0 ? fail(e, -r, "cannot create device", name) : 0;
}

static int load_table(const char *name, const struct dmdev_table *table, struct err *e)
{
	AUTO_TASK t = task_new(DM_DEVICE_RELOAD, name);
	const struct dmdev_line *line;
	int r;

	if (!t || (table->read_only && !dm_task_set_ro(t)))
		return fail(e, EIO, "cannot prepare the table of device", name);
	for (line = table->lines; line < table->lines + table->count; line++) {
		if (!dm_task_add_target(t, line->start, line->sectors, line->target, line->params))
			return fail(e, EIO, "cannot prepare the table of device", name);
	}
	r = task_run(t);
	if (r < 0)
		return fail(e, -r, "the kernel refused the table (dmesg says why) of device", name);
	return 0;
}

static int resume(const char *name, dev_t *ret_dev, struct err *e)
{
	AUTO_TASK t = task_new(DM_DEVICE_RESUME, name);
	struct dm_info info;
	int r;

	/* No file system of this host lies on the device: there is none to freeze while tables change. */
	if (!t || !dm_task_skip_lockfs(t) || !dm_task_no_flush(t))
		return fail(e, EIO, "cannot prepare device", name);
	r = task_run_uevent(t);
	if (r < 0)
		return fail(e, -r, "cannot start device", name);
	if (!dm_task_get_info(t, &info) || !info.exists)
		return fail(e, EIO, "no number of device", name);
	*ret_dev = makedev(info.major, info.minor);
	return 0;
}

/* Plainly, for a device that nobody can have opened yet. */
static void undo_create(const char *name)
{
	AUTO_TASK t = task_new(DM_DEVICE_REMOVE, name);

	if (t)
		(void)task_run_uevent(t); /* the failure before is the one to report */
}

int dmdev_create(const char *name, const char *uuid, const struct dmdev_table *table,
		 dev_t *ret_dev, struct err *e)
{
	int r;

	lock();
	r = create_empty(name, uuid, e);
	if (r == 0) {
		r = fault_point("dm-load", NULL, e);
		if (r == 0)
			r = load_table(name, table, e);
		if (r == 0)
			r = fault_point("dm-resume", NULL, e);
		if (r == 0)
			r = resume(name, ret_dev, e);
		if (r == 0)
			r = fault_point("dm-created", NULL, e);
		if (r < 0)
			undo_create(name);
	}
	unlock();
	return r;
}

/* A table that an interrupted change has left waiting would be in the way of another on the same devices. */
static int drop_waiting(const char *name, struct err *e)
{
	AUTO_TASK t = task_new(DM_DEVICE_CLEAR, name);
	int r = t ? task_run(t) : -EIO;

	return r < 0 ? fail(e, -r, "cannot drop the waiting table of device", name) : 0;
}

int dmdev_swap(const char *name, const struct dmdev_table *table, struct err *e)
{
	dev_t dev;
	int r;

	lock();
	r = drop_waiting(name, e);
	if (r == 0)
		r = load_table(name, table, e);
	if (r == 0)
		r = fault_point("dm-swap", NULL, e);
	if (r == 0)
		r = resume(name, &dev, e);
	unlock();
	return r;
}

/* -1 where neither devtmpfs nor udev makes nodes: then the removal is a plain one. */
static int open_node(dev_t dev)
{
	char path[32];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/dev/dm-%u", minor(dev)); /* cannot be cut */
	AUTO_FD fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_rdev != dev)
		return -1;
	return steal_fd(&fd);
}

int dmdev_remove(const char *name, struct err *e)
{
	struct dmdev_state state;
	int r;

	lock();
	r = dmdev_state(name, &state, e);
	if (r == 0 && state.exists)
		r = fault_point("dm-remove", NULL, e);
	if (r == 0 && state.exists) {
		/* cppcheck-suppress unreadVariable; open until the end: the device goes at its close */
		AUTO_FD fd = open_node(state.dev);
		AUTO_TASK t = task_new(DM_DEVICE_REMOVE, name);

		r = t && dm_task_deferred_remove(t) ? task_run_uevent(t) : -EIO;
		if (r < 0 && r != -ENXIO)
			r = fail(e, -r, "cannot remove device", name);
		else
			r = 0;
	}
	unlock();
	return r;
}

/* Copy the wanted names into one allocation: the vector, then the strings. */
static int pick_names(const struct dm_names *first, const char *prefix, char ***ret)
{
	const struct dm_names *n = first;
	size_t count = 0, bytes = 0, at = 0;
	char **names, *text;

	for (bool more = n->dev != 0; more;
	     more = n->next, n = (const void *)((const char *)n + n->next)) {
		if (strncmp(n->name, prefix, strlen(prefix)) != 0)
			continue;
		count++;
		bytes += strlen(n->name) + 1;
	}
	names = malloc((count + 1) * sizeof(*names) + bytes);
	if (!names)
		return -ENOMEM;
	text = (char *)(names + count + 1);
	n = first;
	for (bool more = n->dev != 0; more;
	     more = n->next, n = (const void *)((const char *)n + n->next)) {
		if (strncmp(n->name, prefix, strlen(prefix)) != 0)
			continue;
		names[at++] = text;
		text = stpcpy(text, n->name) + 1;
	}
	names[at] = NULL;
	*ret = names;
	return 0;
}

int dmdev_list(const char *prefix, char ***ret_names, struct err *e)
{
	const struct dm_names *names;
	int r;

	lock();
	AUTO_TASK t = task_new(DM_DEVICE_LIST, NULL);
	r = t ? task_run(t) : -EIO;
	names = r < 0 ? NULL : dm_task_get_names(t);
	if (names)
		r = pick_names(names, prefix, ret_names);
	else if (r == 0)
		r = -EIO;
	if (r < 0)
		r = fail(e, -r, "cannot list devices of", "device-mapper");
	unlock();
	return r;
}
