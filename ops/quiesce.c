// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/quiesce.c - a sandbox's disk at rest */
#include "ops/quiesce.h"

#include <errno.h>

int quiesce_begin(struct sbx *s, const struct deadline *d, struct quiesce *ret, struct buf *out,
		  struct err *e)
{
	(void)s;
	(void)d;
	(void)ret;
	(void)out;
	return err_set(e, ENOTSUP, "not yet");
}

int quiesce_end(struct sbx *s, const struct quiesce *q, struct err *e)
{
	(void)s;
	(void)q;
	(void)e;
	return 0;
}
