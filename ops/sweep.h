/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/sweep.h - removing what bears our names and belongs to no sandbox: what a crash, or a teardown that failed, has left */
#ifndef SBXFS_OPS_SWEEP_H
#define SBXFS_OPS_SWEEP_H

#include "base/buf.h"
#include "base/err.h"

/* At the start, once all records are loaded: what there is is logged, and so is what fails. */
void sweep_at_start(void);

/**
 * sweep_now() - The same at any time, beside whatever sandboxes do; what is dirty (slots.h) is tried again as well
 * @out: a line for each kind, `network N`, `disks N`, `files N`: how many were removed
 * Return: 0; the first failure, after all kinds were tried.
 */
int sweep_now(struct buf *out, struct err *e);

#endif
