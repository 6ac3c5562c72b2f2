/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/commit-image.h - a flattened disk made fit for a template; for commit.c only */
#ifndef SBXFS_OPS_COMMIT_IMAGE_H
#define SBXFS_OPS_COMMIT_IMAGE_H

#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"

/**
 * commit_image_finish() - Check and mend an ext2, 3 or 4, shrink it as far as it goes, grow it to @bytes if that is more
 * @fd: the image, open for reading and writing, with a name or without; another file system is left as it is
 * Return: 0; -EIO e2fsck cannot mend it, or resize2fs failed; -ENOENT they are not installed; -ENOSPC; -ECANCELED; -ETIMEDOUT.
 */
int commit_image_finish(int fd, uint64_t bytes, const struct deadline *d, struct err *e);

#endif
