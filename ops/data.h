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

#endif
