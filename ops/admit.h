/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/admit.h - what must hold before a VM is built, and what is counted for it: memory, vCPUs and disk promised */
#ifndef SBXFS_OPS_ADMIT_H
#define SBXFS_OPS_ADMIT_H

#include "base/err.h"
#include "ops/sbx.h"

/**
 * admit_start() - May it boot? Takes the promises of disk and memory
 * @s: with the turn
 * Return: 0; -ENOTSUP, -ENOENT, -EINVAL, -ENOSPC, -ENOMEM: admit_drop() gives back what was taken.
 */
int admit_start(struct sbx *s, struct err *e);

/* The same for one that goes on from its saved memory: of the size that it was saved with. Also -EBADMSG, as check_saved(). */
int admit_resume(struct sbx *s, struct err *e);

/*
 * Count the memory and vCPUs of one that an earlier daemon left running: as its settings say until s->vm is open. It may be called
 * twice.
 */
void admit_adopted(struct sbx *s);

/**
 * admit_disk() - Is the disk that it is set to have as large as what is on it?
 * @s:       with the turn and its template's version
 * @ret_mib: how large it is set to be
 * Return: 0; -EINVAL.
 */
int admit_disk(struct sbx *s, uint64_t *ret_mib, struct err *e);

/* Nothing runs any more: its memory and vCPUs are not promised, and no disk if it has none. */
void admit_drop(struct sbx *s);

/* How many vCPUs have been promised, of all sandboxes. Context: any thread. */
unsigned admit_vcpus(void);

#endif
