/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/commit-full.h - a sandbox's memory for a template, with the disk of the same moment; for commit.c only */
#ifndef SBXFS_OPS_COMMIT_FULL_H
#define SBXFS_OPS_COMMIT_FULL_H

#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"
#include "ops/template.h"
#include "storage/volume.h"
#include "vm/vm.h"

/* Can it be? Return: 0; -EINVAL it has no memory, or none that fits its disk. */
int commit_full_check(struct sbx *s, struct err *e);

/* How much memory there may be to write. */
uint64_t commit_full_bytes(const struct sbx *s);

/**
 * commit_full_keep() - Keep its memory in @to/memory, and of one that runs the data in @to
 * @s:    with the turn; one that runs stands still meanwhile, and goes on
 * @spec: of its data
 * @to:   an empty directory
 * @ret:  what goes with it
 * Return: 0, durably; as memory_save() and copy(); -EIO its vCPUs do not go on.
 */
int commit_full_keep(struct sbx *s, const struct volume_spec *spec, const struct vm_saved *to,
		     const struct deadline *d, struct template_memory *ret, struct err *e);

/* Make of that what template_parts has. Return: 0 and @ret_fd, the caller's. */
int commit_full_seal(int dir_fd, const struct template_memory *m, int *ret_fd, struct err *e);

#endif
