// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/pause.c - memory saved and gone on with: pause and resume */
#include "ops/pause.h"

#include <errno.h>

int pause_down(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	(void)s;
	(void)d;
	(void)out;
	return err_set(e, ENOTSUP, "not yet");
}

int pause_up(struct sbx *s, const struct deadline *d, struct buf *out, struct err *e)
{
	(void)s;
	(void)d;
	(void)out;
	return err_set(e, ENOTSUP, "not yet");
}

int pause_forget(struct sbx *s, struct err *e)
{
	(void)s;
	return err_set(e, ENOTSUP, "not yet");
}
