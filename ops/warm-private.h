/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/warm-private.h - what the files of warm starts share; for warm*.c only */
#ifndef SBXFS_OPS_WARM_PRIVATE_H
#define SBXFS_OPS_WARM_PRIVATE_H

#include "ops/template.h"
#include "ops/warm.h"

/* What has to be the same for saved memory to fit. */
struct warm_shape {
	uint64_t vcpus, memory_mib, disk_mib;
};

/* That a sandbox with these settings of its own has; @own NULL: the version's. */
struct warm_shape warm_shape(const struct config *own, const struct template_version *v);
bool warm_same_shape(const struct warm_shape *a, const struct warm_shape *b);

/* The version has memory, and of the shape that a sandbox without settings of its own has. */
bool warm_is_usual(const struct template_version *v);

/* The version's memory is of the shape that it would be made with now. */
bool warm_is_ready(const struct template_version *v);

/* Make its version's memory its own for a first start, if that is whole: s->memory, s->warm. Return: 0; negative errno. */
int warm_give(struct sbx *s, const struct deadline *d, struct err *e);

/* A hidden sandbox of a version; a reference. Its name is shown only if its teardown fails. */
int warm_hidden_new(const char *pin, struct sbx **ret, struct err *e);

/**
 * warm_make() - Make a version's image of memory
 * @pin: NAME@DIGEST12
 * Context: minutes; whatever becomes of it, the hidden sandbox is destroyed when this returns, unless that failed.
 * Return: 0, also when it has one meanwhile; negative errno.
 */
int warm_make(const char *pin, const struct deadline *d, struct err *e);

#endif
