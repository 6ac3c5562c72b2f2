// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot.c - snapshots of a sandbox */
#include "ops/snapshot.h"

#include <errno.h>
#include <stdlib.h>

int snapshot_create(struct sbx *s, const char *name, const struct deadline *d, struct buf *out,
		    struct err *e)
{
	(void)s;
	(void)name;
	(void)d;
	(void)out;
	return err_set(e, ENOTSUP, "not yet");
}

int snapshot_rollback(struct sbx *s, const char *name, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)name;
	(void)d;
	return err_set(e, ENOTSUP, "not yet");
}

int snapshot_delete(struct sbx *s, const char *name, struct err *e)
{
	(void)s;
	(void)name;
	return err_set(e, ENOTSUP, "not yet");
}

int snapshot_export(struct sbx *s, const char *name, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e)
{
	(void)s;
	(void)name;
	(void)path;
	(void)w;
	(void)d;
	return err_set(e, ENOTSUP, "not yet");
}

int snapshot_import(struct sbx *s, const char *name, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e)
{
	return snapshot_export(s, name, path, w, d, e);
}

int snapshot_load(struct sbx *s, struct err *e)
{
	(void)s;
	(void)e;
	return 0;
}

void snapshot_list_free(struct sbx *s)
{
	(void)s;
}

void snapshot_render(struct sbx *s, struct buf *b)
{
	(void)s;
	buf_adds(b, "name kind created size_bytes parent\n");
}

unsigned snapshot_pins(struct sbx *s, const char *pin)
{
	(void)s;
	(void)pin;
	return 0;
}
