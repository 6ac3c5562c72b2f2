/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/data.h - where a sandbox's disk data is, for its store
 *
 * The data lies in the sandbox's directory, or in data.N below it once a rollback has put other data in its place: the
 * record names the directory, so one save of the record changes data and template version together.
 */
#ifndef SBXFS_OPS_DATA_H
#define SBXFS_OPS_DATA_H

#include "ops/sbx.h"
#include "storage/volume.h"

enum {
	DATA_DIR_SIZE = sizeof(((struct sbx *)0)->data_dir),
};

struct data_spec {
	struct volume_spec volume; /* borrows dir */
	char dir[256];
};

/**
 * data_spec() - What the store has to know of a sandbox
 * Context: with the turn. Going down works without a version (base NULL, size 0): all is found by its names.
 * Owner:  a descriptor, for data_spec_done().
 */
void data_spec(struct sbx *s, struct data_spec *ret);
void data_spec_done(struct data_spec *d);
#define AUTO_DATA_SPEC __attribute__((cleanup(data_spec_done))) struct data_spec

/* What tells later whether its data has been written to. Context: with the turn. */
void data_stamp(struct sbx *s, struct data_stamp *ret);

/**
 * data_make_dir() - Make an empty directory for other data of a sandbox, durably
 * @ret_name: what goes into s->data_dir
 * Context: with the turn.
 */
int data_make_dir(struct sbx *s, char ret_name[DATA_DIR_SIZE], int *ret_fd, struct err *e);

/**
 * data_drop() - Remove data that is not the sandbox's any more, with its directory
 * @dir:   "" or data.N, not the one that the record names
 * @store: of the data
 * Context: with the turn, nothing attached, or at start.
 */
int data_drop(struct sbx *s, const char *dir, const struct volume_driver *store, struct err *e);

/**
 * data_settle() - At start, after journal and record: see that level and data agree, and remove what a rollback left
 *
 * A crash in a first start leaves a level above what there is; one in a rollback leaves a record that names more, or less, than the level.
 */
void data_settle(struct sbx *s);

#endif
