/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch-argv.h - cloud-hypervisor's command line; private to vm/ */
#ifndef SBXFS_VM_CH_ARGV_H
#define SBXFS_VM_CH_ARGV_H

#include <stdbool.h>

#include "base/err.h"
#include "vm/vm.h"

enum {
	CH_ARGS_MAX = 48,
};

/* Descriptors as the new process has them; -1: none. */
struct ch_fds {
	int api;    /* listening socket */
	int events; /* FIFO */
	int kernel, initrd, disk, tap;
	int save; /* directory that it may write to */
};

struct ch_argv {
	char *args[CH_ARGS_MAX]; /* NULL-terminated; owned */
	unsigned count;
	bool failed; /* no memory */
};

/**
 * ch_argv_build() - The command line for @spec
 * @direct:   the disk takes O_DIRECT
 * @landlock: confine it to its files
 * @ret:      to be released with ch_argv_done(), on failure too
 * Return: 0; -EINVAL, -ENOTSUP the spec asks for what it cannot; -ENOMEM.
 */
int ch_argv_build(const struct vm_spec *spec, const struct ch_fds *fds, bool direct, bool landlock,
		  struct ch_argv *ret, struct err *e);
void ch_argv_done(struct ch_argv *a);

#endif
