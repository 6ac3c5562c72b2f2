/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/sweep.c - removing what bears our names and belongs to no sandbox
 *
 * How it works: a record goes last and is there first, so what has a serial that no sandbox has is nobody's. Each list of names is
 * read before the sandboxes are asked: what is made meanwhile is not in it. Slots have a table of their own.
 */
#include "ops/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/proc.h"
#include "ops/cgroup.h"
#include "ops/host.h"
#include "ops/registry.h"
#include "ops/slots.h"
#include "ops/vmm.h"

enum {
	PROCESSES_MS = 2000, /* for the kernel to let go of those that were killed */
};

static bool is_wanted(uint32_t serial, void *arg)
{
	struct sbx *s = registry_find_made_as(serial);

	(void)arg;
	sbx_put(s);
	return s != NULL;
}

/* What a VMM was told to be called: sbxfs-INSTANCE-SERIAL. */
static bool is_orphan(const char *word, const void *arg)
{
	char prefix[32];
	uint64_t serial;
	size_t len = (size_t)snprintf(prefix, sizeof(prefix), "sbxfs-%s-", host.instance);

	(void)arg;
	return strncmp(word, prefix, len) == 0 && word[len] != '0' &&
	       parse_u64(word + len, 1, UINT32_MAX, &serial) == 0 &&
	       !is_wanted((uint32_t)serial, NULL);
}

/* A process is looked for before the sandboxes are asked, and one that is on its way up has a record. */
static int sweep_processes(struct err *e)
{
	struct deadline d = deadline_in(PROCESSES_MS, -1);
	struct proc_id id;
	int removed = 0, r;

	while (vmm_find_by(is_orphan, NULL, &id) == 0) {
		AUTO_FD pidfd = -1;

		r = proc_open(&id, &pidfd);
		if (r == 0)
			r = proc_kill(pidfd, SIGKILL);
		if (r == 0)
			r = proc_wait(pidfd, &d);
		if (r < 0 && r != -ESRCH)
			return err_sys(e, -r, "process %d does not end", (int)id.pid);
		removed += r == 0;
	}
	return removed;
}

static int sweep_network(struct err *e)
{
	slots_retry();
	return slots_sweep(e);
}

static int sweep_disks(struct err *e)
{
	return host.volume ? host.volume->sweep(host.instance, is_wanted, NULL, e) : 0;
}

/* The directories that VMMs have their sockets in, named by serials in hexadecimal digits. */
static bool run_dir_serial(const char *name, uint32_t *ret)
{
	char back[16], *end;
	unsigned long serial = strtoul(name, &end, 16);

	if (serial == 0 || serial > UINT32_MAX || *end)
		return false;
	*ret = (uint32_t)serial;
	(void)snprintf(back, sizeof(back), "%" PRIx32, *ret);
	return strcmp(back, name) == 0;
}

/* One that does not go keeps nobody from removing the rest. */
static int sweep_files(struct err *e)
{
	AUTO_DIR dir = NULL;
	int r = file_open_list(AT_FDCWD, host.run_dir, &dir, e), removed = 0;
	int first = r == -ENOENT ? 0 : r;
	const struct dirent *entry;

	while (r == 0 &&
	       (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		uint32_t serial;
		int one;

		if (!run_dir_serial(entry->d_name, &serial) || is_wanted(serial, NULL))
			continue;
		one = file_remove_tree(dirfd(dir), entry->d_name, first ? NULL : e);
		removed += one == 0;
		if (!first)
			first = one;
	}
	removed += cgroup_sweep(is_wanted);
	return first ? first : removed;
}

static const struct kind {
	const char *name;
	int (*sweep)(struct err *e); /* Return: number removed; negative errno */
} kinds[] = {
	{"processes", sweep_processes}, /* first: they hold the rest */
	{"network", sweep_network},
	{"disks", sweep_disks},
	{"files", sweep_files},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

void sweep_at_start(void)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct err e = {0};
		int n = kinds[i].sweep(&e);

		if (n < 0)
			log_warning("%s left without an owner: %s", kinds[i].name, e.text);
		else if (n > 0)
			log_warning("%s left without an owner: removed %d", kinds[i].name, n);
	}
}

int sweep_now(struct buf *out, struct err *e)
{
	int first = 0;

	for (size_t i = 0; i < KINDS; i++) {
		struct err why = {0};
		int n = kinds[i].sweep(&why);

		if (n >= 0) {
			buf_addf(out, "%s %d\n", kinds[i].name, n);
			continue;
		}
		log_warning("%s left without an owner: %s", kinds[i].name, why.text);
		if (!first)
			first = err_set(e, why.code, "%s: %s", kinds[i].name, why.text);
	}
	return first;
}
