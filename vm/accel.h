/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/accel.h - what this host's processor does for guests; private to vm/ */
#ifndef SBXFS_VM_ACCEL_H
#define SBXFS_VM_ACCEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/vm.h"

/**
 * accel_choose() - KVM where it truly runs guests, else TCG
 * @want: AUTO, or the one that the operator insists on
 * @ret_accel: KVM or TCG
 * @why:  one line that says why
 *
 * Context: up to five seconds the first time; forks a child that holds the guest; before there are threads.
 * Return: 0; -ENOTSUP when KVM is insisted on and does not work.
 */
int accel_choose(enum vm_accel want, enum vm_accel *ret_accel, char *why, size_t why_size,
		 struct err *e);

/* Frequency of this host's time stamp counter, measured for some milliseconds; 0: cannot be told. */
uint32_t accel_tsc_khz(void);

#endif
