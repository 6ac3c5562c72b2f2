// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/settings.c - the daemon's own settings */
#include "ops/settings.h"

struct settings settings = {.disk_overcommit_pct = 1000, .memory_overcommit_pct = 100};

int settings_load(const char *path, bool optional, struct err *e)
{
	(void)path;
	(void)optional;
	(void)e;
	return 0;
}

void settings_dump(struct buf *b)
{
	(void)b;
}
