/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/cgroup.c - directories below OWN-CGROUP/sbxfs-INSTANCE
 *
 * How it works: with cgroup v2 a process that ended leaves its cgroup when it is reaped or reparented, so
 * rmdir may answer EBUSY for a moment after a VMM's death was seen; cgroup.events tells when it is empty, and that file
 * can be waited for.
 */
#include "ops/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"

enum {
	MOUNTS_MAX_BYTES = 1 << 22,
	EMPTY_WAIT_MS = 2000, /* for the kernel to take a dead process out of its cgroup */
};

static char base[CGROUP_PATH_SIZE - 32]; /* "" : none */

/* Where cgroup2 is mounted: the second field of a line of /proc/self/mounts whose third is cgroup2. */
static int find_mount(char *path, size_t size)
{
	AUTO_BUF text = BUF_INIT;
	char *cursor, *line, where[256], type[64];

	if (file_read(AT_FDCWD, "/proc/self/mounts", MOUNTS_MAX_BYTES, &text, NULL) < 0 ||
	    !text.data)
		return -ENOENT;
	cursor = text.data;
	while ((line = parse_line(&cursor))) {
		if (sscanf(line, "%*s %255s %63s", where, type) != 2 ||
		    strcmp(type, "cgroup2") != 0)
			continue;
		(void)snprintf(path, size, "%s", where);
		return 0;
	}
	return -ENOENT;
}

/* Our own place in it: the line "0::/PATH". */
static int find_own(char *path, size_t size)
{
	AUTO_BUF text = BUF_INIT;
	char *cursor, *line;

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &text, NULL) < 0 || !text.data)
		return -ENOENT;
	cursor = text.data;
	while ((line = parse_line(&cursor))) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		(void)snprintf(path, size, "%s", line[4] ? line + 3 : "");
		return 0;
	}
	return -ENOENT;
}

/* Empty ones are nobody's; in others an earlier daemon's VMM still runs, and its sandbox's own teardown removes it. */
int cgroup_sweep(bool (*wanted)(uint32_t serial, void *arg))
{
	AUTO_DIR dir = base[0] ? opendir(base) : NULL;
	const struct dirent *entry;
	uint64_t serial;
	int removed = 0;

	while (dir &&
	       (entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (parse_u64(entry->d_name, 0, UINT32_MAX, &serial) == 0 &&
		    !wanted((uint32_t)serial, NULL))
			/* EBUSY: in use */
			removed += unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0;
	return removed;
}

static bool none_wanted(uint32_t serial, void *arg)
{
	(void)serial;
	(void)arg;
	return false;
}

void cgroup_init(const char *instance)
{
	char mount[256], own[200];

	base[0] = '\0';
	if (find_mount(mount, sizeof(mount)) < 0 || find_own(own, sizeof(own)) < 0)
		return;
	(void)snprintf(base, sizeof(base), "%s%s/sbxfs-%s", mount, own, instance);
	if (mkdir(base, 0755) < 0 && errno != EEXIST) {
		log_debug("no cgroups for virtual machines: cannot make %s", base);
		base[0] = '\0';
		return;
	}
	(void)cgroup_sweep(none_wanted);
}

void cgroup_done(void)
{
	if (base[0] && rmdir(base) < 0 && errno != ENOENT)
		log_debug("%s stays: something runs in it", base);
	base[0] = '\0';
}

void cgroup_add(uint32_t serial, char path[CGROUP_PATH_SIZE])
{
	path[0] = '\0';
	if (!base[0])
		return;
	(void)snprintf(path, CGROUP_PATH_SIZE, "%s/%" PRIu32, base, serial);
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		log_warning("cannot make the cgroup %s, ignoring", path);
		path[0] = '\0';
	}
}

static void wait_empty(const char *path)
{
	struct deadline d = deadline_in(EMPTY_WAIT_MS, -1);
	char events[CGROUP_PATH_SIZE + 16];
	AUTO_FD fd = -1;

	(void)snprintf(events, sizeof(events), "%s/cgroup.events", path);
	fd = open(events, O_RDONLY | O_CLOEXEC);
	while (fd >= 0) {
		struct pollfd pfd = {.fd = fd, .events = POLLPRI};
		char text[128];
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

		if (n <= 0)
			return;
		text[n] = '\0';
		if (strstr(text, "populated 0") || deadline_poll(&d, &pfd, 1) < 0)
			return;
	}
}

int cgroup_remove(uint32_t serial, struct err *e)
{
	char path[CGROUP_PATH_SIZE];

	if (!base[0])
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%" PRIu32, base, serial);
	if (rmdir(path) == 0 || errno == ENOENT)
		return 0;
	wait_empty(path);
	if (rmdir(path) == 0 || errno == ENOENT)
		return 0;
	return err_sys(e, errno, "cannot remove the cgroup %s", path);
}
