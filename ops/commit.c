// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/commit.c - a template from a sandbox's disk */
#include "ops/commit.h"

#include <errno.h>

int commit_image(struct sbx *s, const char *name, const struct writer *w, const struct deadline *d,
		 struct buf *out, struct err *e)
{
	(void)s;
	(void)name;
	(void)w;
	(void)d;
	(void)out;
	return err_set(e, ENOTSUP, "not yet");
}
