/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/slots-make.c - making a slot: which index, and what is tried again */
#include <errno.h>

#include "base/log.h"
#include "ops/host.h"
#include "ops/serial.h"
#include "ops/slots-private.h"

enum {
	INDEX_TRIES = 16, /* indexes that may prove to be still in the kernel's hands */
	MAKE_TRIES = 3,   /* of what may pass */
	PAUSE_MS = 50,    /* before the second; then four times as long */
};

static int make_one(const struct deadline *d, struct slot *ret, struct err *e)
{
	uint32_t index = 0, serial = 0;
	int r = serial_take(&serial, e);

	if (r == 0)
		r = slots_take(serial, &index, e);
	if (r < 0)
		return r;
	r = host.net->up(index, serial, d, ret, e);
	if (r < 0)
		slots_put(index); /* a failed up() leaves nothing */
	return r;
}

static int make_anywhere(const struct deadline *d, struct slot *ret, struct err *e)
{
	int r = -EADDRINUSE;

	for (int i = 0; i < INDEX_TRIES && r == -EADDRINUSE; i++)
		r = make_one(d, ret, e);
	return r;
}

static bool may_pass(int r)
{
	switch (r) {
	case -EIO:
	case -EAGAIN:
	case -EBUSY:
	case -EINTR:
	case -ENOBUFS:
	case -ENOMEM:
		return true;
	default:
		return false;
	}
}

int slots_make(const struct deadline *d, struct slot *ret, struct err *e)
{
	struct err why = {0};
	int ms = PAUSE_MS, r = 0;

	for (int i = 1;; i++) {
		struct deadline pause;

		r = make_anywhere(d, ret, &why);
		if (r == 0 || !may_pass(r) || i == MAKE_TRIES)
			break;
		log_info("network slot: %s; it is tried again", why.text);
		pause = deadline_within(d, ms);
		if (deadline_poll(&pause, NULL, 0) != -ETIMEDOUT)
			return err_set(e, ECANCELED, "cancelled before a network slot was made");
		if (deadline_left_ms(d) == 0)
			break;
		ms *= 4;
	}
	if (r < 0 && e)
		*e = why;
	return r;
}
