/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/record.h - a sandbox's record on disk: what is known of it when nothing runs
 *
 * sandboxes/SERIAL/record is one JSON object, replaced whole. Members that this version does not know are
 * kept. What the steps hold at this moment is in the journal instead (journal.h).
 */
#ifndef SBXFS_OPS_RECORD_H
#define SBXFS_OPS_RECORD_H

#include "base/err.h"
#include "ops/sbx.h"

enum {
	RECORD_FORMAT = 1, /* of the whole state directory; a newer one is refused */
};

/**
 * record_save() - Write the record, durably
 * Context: with the turn, or before the sandbox is in the registry; without sbx->lock. Saves of one sandbox are serialised.
 * Return: 0; -ENOSPC, -EIO, … with the old record untouched.
 */
int record_save(struct sbx *s, struct err *e);

/**
 * record_load() - Fill a sandbox from its directory 
 * Return: 0; -ENOENT there is none; -EBADMSG it cannot be read.
 */
int record_load(struct sbx *s, struct err *e);

/* Release what record_load() kept of unknown members. */
void record_forget(struct sbx *s);

#endif
