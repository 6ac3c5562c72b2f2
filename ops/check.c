/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/check.c - what this host can do, driver by driver: sbxfs --check */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ops/host.h"

static int check_vmms(struct buf *b)
{
	int found = -ENOTSUP;

	for (const struct vm_driver *const *d = vm_drivers; *d; d++) {
		struct vm_host h = {.accel = VM_ACCEL_AUTO};
		struct err e = {0};

		if ((*d)->probe(VM_ACCEL_AUTO, &h, &e) < 0) {
			buf_addf(b, "vmm %s: no: %s\n", (*d)->name, e.text);
			continue;
		}
		found = 0;
		buf_addf(b, "vmm %s: yes: %s %s\n", (*d)->name, h.program, h.version);
		buf_addf(b, "accel %s: yes: %s\n", vm_accel_name(h.accel), h.accel_why);
	}
	return found;
}

static void check_stores(const char *dir, struct buf *b)
{
	for (const struct volume_driver *const *d = volume_drivers; *d; d++) {
		char why[256] = "";
		struct err e = {0};

		if ((*d)->probe(dir, why, sizeof(why), &e) < 0)
			buf_addf(b, "storage %s: no: %s\n", (*d)->name, e.text);
		else
			buf_addf(b, "storage %s: yes: %s\n", (*d)->name, why);
	}
}

static void check_networks(struct buf *b)
{
	for (const struct slot_driver *const *d = slot_drivers; *d; d++) {
		char why[256] = "";
		struct err e = {0};

		if ((*d)->probe(why, sizeof(why), &e) < 0)
			buf_addf(b, "net %s: no: %s\n", (*d)->name, e.text);
		else
			buf_addf(b, "net %s: yes: %s\n", (*d)->name, why);
	}
}

/* Cut @path back to a directory that exists. */
static void existing_parent(char *path)
{
	char *slash;

	while (access(path, F_OK) < 0 && (slash = strrchr(path, '/'))) {
		if (slash == path) {
			path[1] = '\0';
			return;
		}
		*slash = '\0';
	}
}

int host_check(const struct host_options *o, struct buf *b)
{
	AUTO_FREE char *dir = strdup(o->state_dir);
	int r = check_vmms(b);

	if (!dir)
		return -ENOMEM;
	existing_parent(dir);
	check_stores(dir, b);
	check_networks(b);
	return r;
}
