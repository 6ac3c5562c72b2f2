/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-save.c - a guest's memory and devices, saved and checked before they go on */
#include <errno.h>

#include "vm/qemu.h"

int qemu_save(struct vm *vm, const struct vm_saved *to, const struct deadline *d, struct err *e)
{
	(void)vm;
	(void)to;
	(void)d;
	return err_set(e, ENOTSUP, "memory cannot be saved yet");
}

int qemu_check_saved(const struct vm_spec *spec, struct err *e)
{
	(void)spec;
	return err_set(e, ENOTSUP, "memory cannot be saved yet");
}

int qemu_balloon(struct vm *vm, uint64_t keep_mib, const struct deadline *d, uint64_t *ret_mib,
		 struct err *e)
{
	(void)vm;
	(void)keep_mib;
	(void)d;
	(void)ret_mib;
	return err_set(e, ENOTSUP, "the balloon cannot be set yet");
}
