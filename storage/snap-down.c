// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/snap-down.c - the "dm" store: taking devices away, one sandbox's or all that nobody wants
 *
 * How it works
 * Devices are marked for removal, which happens in a kernel worker, and uevents are waited for until names,
 * block devices and the lock on the data are gone. If a VMM still holds the device it goes when that ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/parse.h"
#include "storage/snap.h"
#include "storage/uevent.h"

/*
 * Is the block device of a removed name still there? Its number may be another's by now; while it is being taken
 * down its name cannot be read.
 */
static bool block_device_exists(dev_t dev, const char *name)
{
	char path[64], text[DMDEV_NAME_SIZE];
	ssize_t n;

	if (!dev)
		return false;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (access(path, F_OK) < 0)
		return false;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/name", major(dev), minor(dev));
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return true;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, name);
}

/* Wait for the end of a removed device, known by its name and by its number before. */
static int wait_gone(const char *name, dev_t dev, int uevents, const struct deadline *d,
		     struct err *e)
{
	struct dmdev_state state;
	int r;

	for (;;) {
		r = dmdev_state(name, &state, e);
		if (r < 0)
			return r;
		if (!state.exists && !block_device_exists(dev, name))
			return 0;
		r = uevent_wait(uevents, d);
		if (r == -ETIMEDOUT)
			return err_set(e, EBUSY,
				       "the device %s is in use (opened %d times); end what "
				       "has it open, it goes by itself then",
				       name, state.open_count);
		if (r < 0)
			return err_sys(e, -r, "waiting for the end of device %s", name);
	}
}

int snap_devices_down(const struct snap_names *n, const struct deadline *d, struct err *e)
{
	struct deadline limit = deadline_within(d, STORE_WAIT_MS);
	struct dmdev_state disk, origin;
	AUTO_FD uevents = uevent_open(); /* before the removal: no event may be missed */
	int r;

	r = dmdev_state(n->disk, &disk, e);
	if (r == 0)
		r = dmdev_state(n->origin, &origin, e);
	if (r == 0)
		r = dmdev_remove(n->disk, e);
	if (r == 0)
		r = fault_point("dm-removed", d, e);
	if (r == 0)
		r = dmdev_remove(n->origin, e); /* goes with the disk above it */
	if (r == 0)
		r = wait_gone(n->disk, disk.dev, uevents, &limit, e);
	if (r == 0)
		r = wait_gone(n->origin, origin.dev, uevents, &limit, e);
	return r;
}

/* The lock on the data goes with its loop device: once it can be had, all is gone. */
int snap_wait_unlocked(const struct volume_spec *s, const struct deadline *d, int *ret_fd,
		       struct err *e)
{
	struct deadline limit = deadline_within(d, STORE_WAIT_MS);
	AUTO_FD uevents = uevent_open();
	AUTO_FD fd = openat(s->dir_fd, SNAP_DATA_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	int r;

	*ret_fd = -1;
	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : err_sys(e, errno, "cannot open %s/%s", s->dir, SNAP_DATA_NAME);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_sys(e, errno, "cannot lock %s/%s", s->dir, SNAP_DATA_NAME);
		r = uevent_wait(uevents, &limit);
		if (r == -ETIMEDOUT)
			return err_set(e, EBUSY, "%s/%s is in use by a loop device (losetup -a)",
				       s->dir, SNAP_DATA_NAME);
		if (r < 0)
			return err_sys(e, -r, "waiting for the end of the loop device of %s/%s",
				       s->dir, SNAP_DATA_NAME);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Is this one of our devices, and whose? */
static bool device_is_ours(const char *name, const char *instance, uint32_t *ret_serial)
{
	char prefix[SNAP_LABEL_SIZE], digits[16];
	struct dmdev_state state;
	struct snap_names n;
	uint64_t serial;
	size_t len;

	(void)snprintf(prefix, sizeof(prefix), "sbxfs-%s-", instance); /* cannot be cut */
	name += strlen(prefix);
	len = strspn(name, "0123456789");
	if (len >= sizeof(digits))
		return false;
	memcpy(digits, name, len);
	digits[len] = '\0';
	if (parse_u64(digits, 0, UINT32_MAX, &serial) < 0)
		return false;
	n = snap_names_of(instance, (uint32_t)serial);
	name -= strlen(prefix);
	if (dmdev_state(name, &state, NULL) < 0 || !state.exists)
		return false;
	*ret_serial = (uint32_t)serial;
	return (!strcmp(name, n.disk) && !strcmp(state.uuid, n.disk_uuid)) ||
	       (!strcmp(name, n.origin) && !strcmp(state.uuid, n.origin_uuid));
}

int snap_sweep(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
	       struct err *e)
{
	AUTO_FREE char **names = NULL;
	int removed = 0, first = 0, r;
	char prefix[SNAP_LABEL_SIZE];
	uint32_t serial;

	(void)snprintf(prefix, sizeof(prefix), "sbxfs-%s-", instance); /* cannot be cut */
	r = dmdev_list(prefix, &names, e);
	if (r < 0)
		return r;
	for (char **name = names; *name; name++) {
		struct deadline limit = deadline_in(STORE_WAIT_MS, -1);
		struct snap_names n;

		/* A disk and its origin go together; the second name is gone by then. */
		if (!device_is_ours(*name, instance, &serial) || wanted(serial, arg))
			continue;
		n = snap_names_of(instance, serial);
		r = snap_devices_down(&n, &limit, first ? NULL : e);
		if (r < 0 && !first)
			first = r;
		removed += r == 0;
	}
	return first ? first : removed;
}
