/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-saved.c - what a QEMU's saved state has to fit
 *
 * How it works: QEMU finds by itself that a stream has another size of memory, another number of vCPUs or another
 * order of devices, and ends; what it takes without complaint (another CPU, another build) may still be wrong. So a
 * manifest goes with each saved state, and everything in it that matters is compared first. The list of devices is
 * what the command line says: its order is part of the stream's format.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/qemu-private.h"

/* The -device options of a command line, their names with blanks between. */
static int devices_of(const struct qemu_argv *a, char *ret, size_t size, struct err *e)
{
	size_t len = 0;

	ret[0] = '\0';
	for (unsigned i = 0; i + 1 < a->count; i++) {
		const char *device = a->args[i + 1];
		int n;

		if (strcmp(a->args[i], "-device") != 0)
			continue;
		n = snprintf(ret + len, size - len, "%s%.*s", len ? " " : "",
			     (int)strcspn(device, ","), device);
		if (n < 0 || (size_t)n >= size - len)
			return err_set(e, EINVAL, "too many devices for a manifest");
		len += (size_t)n;
	}
	return 0;
}

int qemu_manifest(const struct vm_spec *spec, struct manifest *ret, struct err *e)
{
	const struct qemu_fds fds = {.disk = spec->disk ? 0 : -1, .base = -1, .initrd = -1};
	const struct qemu_image image = {.direct = false};
	struct qemu_argv argv;
	int r = qemu_argv_build(spec, &fds, &image, &image, &argv, e);

	manifest_fill(ret, spec);
	(void)snprintf(ret->machine, sizeof(ret->machine), QEMU_MACHINE);
	(void)snprintf(ret->memory, sizeof(ret->memory), QEMU_MEMORY_FILE);
	if (r == 0)
		r = devices_of(&argv, ret->devices, sizeof(ret->devices), e);
	qemu_argv_done(&argv);
	return r;
}

/* The files that this driver needs are among those that were noted. */
static int check_names(const struct manifest *m, struct err *e)
{
	bool state = false, memory = strcmp(m->memory, QEMU_MEMORY_STREAM) == 0;

	if (!memory && strcmp(m->memory, QEMU_MEMORY_FILE) != 0)
		return err_set(e, EBADMSG,
			       "the manifest of the saved memory is damaged: memory is \"%s\"",
			       m->memory);
	for (unsigned i = 0; i < m->file_count; i++) {
		state |= strcmp(m->files[i].name, QEMU_SAVED_STATE) == 0;
		memory |= strcmp(m->files[i].name, QEMU_SAVED_MEMORY) == 0 &&
			  m->files[i].bytes == m->memory_mib << 20;
	}
	if (!state || !memory)
		return err_set(
			e, EBADMSG,
			"the manifest of the saved memory is damaged: it does not name its files");
	return 0;
}

int qemu_read_saved(const struct vm_spec *spec, const struct manifest *here, struct manifest *ret,
		    struct err *e)
{
	int r = manifest_read(spec->saved->dir_fd, MANIFEST_NAME, ret, e);

	if (r == 0)
		r = manifest_compare(ret, here, e);
	if (r == 0)
		r = check_names(ret, e);
	if (r == 0)
		r = manifest_check_files(ret, spec->saved->dir_fd, e);
	return r;
}

int qemu_check_saved(const struct vm_spec *spec, struct err *e)
{
	struct manifest here, saved;
	struct vm_spec full = *spec;
	int r;

	if (!full.name) { /* nothing of what it will be connected to is there yet: it is as ever */
		full.name = full.disk = full.host_addr = full.run_dir = "-";
		full.mac = "02:00:00:00:00:00";
	}
	r = qemu_manifest(&full, &here, e);
	return r < 0 ? r : qemu_read_saved(spec, &here, &saved, e);
}
