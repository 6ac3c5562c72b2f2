/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/seccomp.h - system calls that a VMM is kept from, whatever it thinks; private to vm/ */
#ifndef SBXFS_VM_SECCOMP_H
#define SBXFS_VM_SECCOMP_H

/**
 * seccomp_no_punch() - From now on fallocate() cannot punch holes in this process and all that it starts
 * @arg: not used; the form is that of proc_spec.child
 *
 * Context: a child between fork and exec; only system calls. Sets no_new_privs.
 * Return: 0; negative errno.
 */
int seccomp_no_punch(void *arg);

#endif
