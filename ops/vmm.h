/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/vmm.h - which VMM a sandbox's guest runs in */
#ifndef SBXFS_OPS_VMM_H
#define SBXFS_OPS_VMM_H

#include "ops/sbx.h"
#include "vm/vm.h"

/**
 * vmm_choose() - The VMM that a start, or the going on of saved memory, takes
 * @s: with the turn; saved memory goes on in the VMM that wrote it, else the setting vmm decides
 * Return: 0 and @ret, constant; -ENOTSUP this host has it not: how to get it.
 */
int vmm_choose(struct sbx *s, const struct vm_host **ret, struct err *e);

/* The same for a guest that boots, whatever memory is saved: the setting decides. */
int vmm_of_setting(struct sbx *s, const struct vm_host **ret, struct err *e);

/* What the probe found of it; NULL: it does not work here. */
const struct vm_host *vmm_host(const struct vm_driver *driver);

/**
 * vmm_shown() - The VMM of a sandbox as its status has it: the one that runs, else the one that a start would take
 * @s: with its lock
 * Return: NULL when there is none that works here.
 */
const struct vm_host *vmm_shown(const struct sbx *s, const struct config *defaults);

/**
 * vmm_find() - Look for a VMM that was started but not written down
 * @name: that it was given
 * Return: 0 with the driver and its process; -ESRCH there is none.
 */
int vmm_find(const char *name, const struct vm_driver **ret, struct proc_id *ret_id);

/* The same for the first of whose arguments @is says that it is looked for. */
int vmm_find_by(bool (*is)(const char *word, const void *arg), const void *arg,
		struct proc_id *ret_id);

#endif
