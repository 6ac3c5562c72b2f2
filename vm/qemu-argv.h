/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-argv.h - QEMU's command line as a pure function; private to vm/ */
#ifndef SBXFS_VM_QEMU_ARGV_H
#define SBXFS_VM_QEMU_ARGV_H

#include <stdbool.h>

#include "base/err.h"
#include "vm/vm.h"

#define QEMU_MACHINE "microvm,rtc=on"

/* What a QEMU is handed, as numbers in the new process; -1: none. */
struct qemu_fds {
	int qmp;          /* listening socket */
	int console;      /* the file that the serial line is logged to */
	int ram;          /* memfd, or a file of saved memory */
	bool ram_private; /* what the guest writes does not go into it */
	int kernel, initrd;
	int disk; /* the disk's image or block device */
	int base; /* a qcow2 disk's backing file, always raw */
	int tap;
};

/* A file's or a device's way into QEMU. */
struct qemu_image {
	bool is_device; /* a block device */
	bool direct;    /* O_DIRECT works on it */
};

enum {
	QEMU_ARGS_MAX = 96,
};

struct qemu_argv {
	char *args[QEMU_ARGS_MAX]; /* owned; NULL-terminated */
	unsigned count;
	bool failed; /* no memory, or too many */
};

/**
 * qemu_argv_build() - The whole command line
 * @spec: as given to start(); no descriptor in it is used
 * @fds:  see there
 * @disk, @base: how to open them; not looked at where there is none
 * @ret:  to be released with qemu_argv_done(), on failure too
 *
 * The order of devices is part of a saved state's format: add at the end only.
 * Return: 0; -EINVAL for a spec that cannot be said; -ENOMEM.
 */
int qemu_argv_build(const struct vm_spec *spec, const struct qemu_fds *fds,
		    const struct qemu_image *disk, const struct qemu_image *base,
		    struct qemu_argv *ret, struct err *e);
void qemu_argv_done(struct qemu_argv *a);

#endif
