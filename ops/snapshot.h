/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/snapshot.h - snapshots of a sandbox: made, listed, gone back to, taken elsewhere
 *
 * On disk: sandboxes/SERIAL/snapshots/NAME/ with a record, the data's one file, and in a full one the directory memory. A
 * snapshot is whole by itself: it shares blocks, and the files of memory, with others, and needs nothing but its template's
 * version. It comes into being under a name that begins with '.', is made durable, and is then renamed; what a crash leaves
 * under such a name is removed at the next start.
 * Rollback prepares new directories data.N and memory.N and then saves the record that names them (data.h, memory.h): a
 * crash leaves the old or the new.
 */
#ifndef SBXFS_OPS_SNAPSHOT_H
#define SBXFS_OPS_SNAPSHOT_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"
#include "storage/volume.h"

enum snapshot_kind { SNAPSHOT_DISK, SNAPSHOT_FULL };

/* One snapshot, as its record says; constant once listed, but for what says [lock]: the sandbox's. */
struct snapshot {
	struct snapshot *next; /* [lock] the next younger one */
	unsigned uses; /* [lock] who reads its data at this moment: it is not deleted then */
	bool going;    /* [lock] it is being deleted */
	char name[NAME_MAX_LEN + 1];
	enum snapshot_kind kind;
	int64_t created_ms;
	uint64_t size_bytes; /* allocated on the host's disk when it was made */
	uint64_t disk_bytes; /* of the disk that the guest saw; 0: there was no data yet */
	char parent[NAME_MAX_LEN + 1]; /* [lock] the one that it was made after; "" none */
	char template_pin[NAME_MAX_LEN + 1 + 13];
	const struct volume_driver *store; /* of the data; NULL: none */
	struct memory_saved memory;        /* of a full one */
};

/**
 * snapshot_create() - Keep the disk, or disk and memory, as they are at this moment, durably
 * @s: with the turn, in any lasting state, for a full one running, frozen or paused; it goes on as it was
 * @out: a line that says so when the guest could not be asked to hold its writes
 * Return: 0; -EEXIST; -ENOSPC; -ENOTSUP its VMM cannot save; -EBADMSG its data is damaged; -ECANCELED; -ETIMEDOUT; -EIO. A failure
 *         leaves no trace.
 */
int snapshot_create(struct sbx *s, const char *name, enum snapshot_kind kind,
		    const struct deadline *d, struct buf *out, struct err *e);

/**
 * snapshot_rollback() - Put a snapshot's disk, of a full one its memory too, in the place of what there is
 * @s:   with the turn, in any lasting state
 * @out: console lines of a guest that did not go on
 *
 * To a disk: it is stopped afterwards, or created. To a full one: it goes on running if it was, and is paused otherwise.
 * Return: 0; -ENOENT no such snapshot; -EINVAL disk_mb is less than its disk, or one of a disk and the state is not for that; -ENOTSUP its
 *         memory is not for this host; -ENOSPC, -EIO, …: nothing has changed then. But one that ran may be paused, gone back and not gone
 *         on, or in error.
 */
int snapshot_rollback(struct sbx *s, const char *name, const struct deadline *d, struct buf *out,
		      struct err *e);

/* Remove one, durably. Its children get its parent. Return: 0; -ENOENT; -EBUSY it is being read; -EIO. Any thread. */
int snapshot_delete(struct sbx *s, const char *name, struct err *e);

/**
 * snapshot_export() - Write one as a single file, sparse, with a digest
 * @path: made with the writer's own rights, it must not be there
 * Return: 0, durably; -ENOENT; -EEXIST; -EACCES, …; on a failure the file is removed again.
 */
int snapshot_export(struct sbx *s, const char *name, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e);

/**
 * snapshot_import() - Take a snapshot from such a file
 * Return: 0; -EEXIST; -EBADMSG not such a file, or its digest is wrong; -ENOENT its template's version is not here; -ENOTSUP of
 *         another kind of store; -ENOSPC, -EACCES, …. A failure leaves no trace.
 */
int snapshot_import(struct sbx *s, const char *name, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e);

/* snapshots/ of a sandbox. Return: 0 and @ret_fd; -ENOENT it has none, unless @make. */
int snapshot_open_all(struct sbx *s, bool make, int *ret_fd, struct err *e);

/* Read what is on disk into s->snapshots, and remove what a crash left half; at start. One that cannot be read keeps its name. */
int snapshot_load(struct sbx *s, struct err *e);
void snapshot_list_free(struct sbx *s);

/* What reading `snapshot` gives: a header, and a line for each. From memory. */
void snapshot_render(struct sbx *s, struct buf *b);

/* How many of its snapshots need a version: @pin is NAME@DIGEST12, or NAME@ for any version of it. With s->lock. */
unsigned snapshot_pins(struct sbx *s, const char *pin);

#endif
