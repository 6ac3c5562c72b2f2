// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/room.c - room on the host's disk */
#include "ops/room.h"

int room_init(struct err *e)
{
	(void)e;
	return 0;
}

void room_stop(void)
{
}

void room_done(void)
{
}

void room_watch(struct sbx *s)
{
	(void)s;
}

void room_unwatch(struct sbx *s)
{
	(void)s;
}

int room_promise(struct sbx *s, uint64_t bytes, struct err *e)
{
	(void)s;
	(void)bytes;
	(void)e;
	return 0;
}

void room_promise_loaded(struct sbx *s, uint64_t bytes)
{
	(void)s;
	(void)bytes;
}

uint64_t room_promised_bytes(void)
{
	return 0;
}

int room_check(uint64_t bytes, struct err *e)
{
	(void)bytes;
	(void)e;
	return 0;
}

uint64_t room_reserve_bytes(void)
{
	return 0;
}
