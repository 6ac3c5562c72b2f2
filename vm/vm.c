/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/vm.c - what all VMM drivers share */
#include "vm/vm.h"

#include <stddef.h>
#include <string.h>

#include "vm/ch.h"
#include "vm/qemu.h"

/* QEMU first: its guests run with and without KVM, survive a full disk, and share saved memory. */
const struct vm_driver *const vm_drivers[] = {&qemu_driver, &ch_driver, NULL};

_Static_assert(sizeof(vm_drivers) <= ((size_t)VM_DRIVERS_MAX + 1) * sizeof(void *),
	       "room for each");

static const char *programs[VM_DRIVERS_MAX]; /* as vm_drivers[]; NULL: look in PATH */

void vm_set_program(const char *driver, const char *path)
{
	for (size_t i = 0; vm_drivers[i]; i++)
		if (strcmp(vm_drivers[i]->name, driver) == 0)
			programs[i] = path;
}

const char *vm_program(const char *driver)
{
	for (size_t i = 0; vm_drivers[i]; i++)
		if (strcmp(vm_drivers[i]->name, driver) == 0)
			return programs[i];
	return NULL;
}

const char *vm_accel_name(enum vm_accel accel)
{
	static const char *const names[] = {
		[VM_ACCEL_AUTO] = "auto",
		[VM_ACCEL_KVM] = "kvm",
		[VM_ACCEL_TCG] = "tcg",
	};
	_Static_assert(sizeof(names) / sizeof(*names) == VM_ACCEL_COUNT, "a name for each");

	return names[accel];
}

const struct vm_common *vm_common(const struct vm *vm)
{
	return (const struct vm_common *)vm;
}

const struct vm_driver *vm_driver_of(const struct vm *vm)
{
	return vm_common(vm)->driver;
}

const struct vm_driver *vm_driver_named(const char *name)
{
	for (int i = 0; vm_drivers[i]; i++)
		if (strcmp(vm_drivers[i]->name, name) == 0)
			return vm_drivers[i];
	return NULL;
}

enum vm_end vm_ended(struct vm *vm)
{
	return vm_driver_of(vm)->ended(vm);
}
