/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/commit.h - a template from a sandbox's disk */
#ifndef SBXFS_OPS_COMMIT_H
#define SBXFS_OPS_COMMIT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

struct commit_wish {
	const char *
		name; /* of the template; made for the writer when it is not there, else he must be allowed to write its ctl */
	const struct writer *writer;
	bool full; /* the disk as it is, and the memory of the same moment: its sandboxes go on from there */
};

/**
 * commit_template() - Make the sandbox's disk a version of a template: flattened; unless full also checked, as small as it can be and
 *                     then of the default size
 * @s: with the turn; it stands still only while its changes are copied, and its memory when full, and goes on as it was
 *
 * Kernel, initramfs, kernel arguments and default settings are those of the version it was begun from.
 * Return: 0, durably; -EACCES; -EINVAL the name, or it has no memory; -ENOENT its own template's files are gone; -ENOSPC; -EIO e2fsck finds a damaged file
 *         system; -ECANCELED. A failure leaves no template that was not there and no version.
 */
int commit_template(struct sbx *s, const struct commit_wish *wish, const struct deadline *d,
		    struct buf *out, struct err *e);

#endif
