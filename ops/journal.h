/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/journal.h - what the steps of one sandbox may hold at this moment, written before they do
 *
 * sandboxes/SERIAL/journal is one sector, overwritten in place and synced: a crash leaves the old or the
 * new line. Level L means exactly: steps [0, L) may hold something outside this process.
 */
#ifndef SBXFS_OPS_JOURNAL_H
#define SBXFS_OPS_JOURNAL_H

#include "base/err.h"
#include "base/proc.h"
#include "ops/memory.h"
#include "ops/sbx.h"

struct journal {
	unsigned level;
	uint32_t slot; /* index; UINT32_MAX: none */
	uint32_t
		net; /* serial of the slot; 0: made_as, or the sandbox's own, as journals of old have it */
	uint32_t made_as;  /* serial in the names of what is held; 0: its own */
	struct proc_id vm; /* pid 0: none, or not known yet */
	bool resumed; /* the saved memory that the record names has gone on: until the record names none its disk may have changed */
	char resumed_dir
		[MEMORY_DIR_SIZE];      /* which memory that was; "": whatever the record names */
	struct data_stamp resumed_data; /* its data just before */
	bool pausing;                   /* a pause had begun, and had not saved its memory */
	bool same_boot; /* on reading: written since the host booted; processes, devices and links can exist only then */
};

/**
 * journal_write() - Make the sandbox's level, slot and VM durable
 * Return: 0; -EIO, -ENOSPC.
 */
int journal_write(const struct sbx *s, struct err *e);

/**
 * journal_read() - What may be held
 * Return: 0, level 1 when there is no journal yet (only the record); -EBADMSG damaged: everything may be held.
 */
int journal_read(const struct sbx *s, struct journal *ret, struct err *e);

#endif
