/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/quiesce.h - a sandbox's disk at rest for as long as it is read, and the sandbox as it was afterwards
 *
 * A running guest is asked to flush and hold its file systems (bounded), then its vCPUs are stopped, which drains and flushes its
 * VMM's disk as well. A guest that does not answer or lies only harms its own image: what counts is that
 * nothing is written. A crash of the daemon meanwhile leaves a guest that the next one lets go on.
 */
#ifndef SBXFS_OPS_QUIESCE_H
#define SBXFS_OPS_QUIESCE_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"
#include "storage/volume.h"

struct quiesce {
	bool stopped;     /* we stopped its vCPUs */
	bool held;        /* its file systems are frozen */
	int64_t began_ms; /* when its vCPUs were to stop */
};

/**
 * quiesce_begin() - Bring the disk to rest
 * @s:   with the turn, in any lasting state
 * @out: a line when the guest did not flush; NULL: nobody wants to know
 * Return: 0: quiesce_end() must follow; -EIO, -ETIMEDOUT, -ECANCELED: it goes on as it was.
 */
int quiesce_begin(struct sbx *s, const struct deadline *d, struct quiesce *ret, struct buf *out,
		  struct err *e);

/* As quiesce_begin(), but for its vCPUs alone: what its memory is saved with must not wake with file systems held. */
int quiesce_stand(struct sbx *s, const struct deadline *d, struct quiesce *ret, struct err *e);

/**
 * quiesce_end() - Go on; not cancelled by anything, bounded in time
 * Return: 0; -EIO the vCPUs do not go on: state frozen, with the reason in status.
 */
int quiesce_end(struct sbx *s, const struct quiesce *q, struct err *e);

/* Its vCPUs go on after all: tell a guest to let go that could not be told then. With the turn; bounded in time. */
void quiesce_let_go(struct sbx *s);

/**
 * quiesce_copy() - Copy the data of what stands still meanwhile; then it goes on, however that went
 * @spec:  of its data
 * @to_fd: as of volume_driver.copy()
 * Return: 0; as quiesce_begin(), copy() and quiesce_end(), the first that failed.
 */
int quiesce_copy(struct sbx *s, const struct volume_spec *spec, int to_fd, const struct deadline *d,
		 struct buf *out, struct err *e);

#endif
