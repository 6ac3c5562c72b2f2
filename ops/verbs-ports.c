// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/verbs-ports.c - what may be written to net/ports */
#include "ops/ports.h"
#include "ops/verbs-private.h"

enum {
	PORTS_MS = 10000, /* for the kernel or the VMM to take a list */
};

int run_ports_add(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, PORTS_MS);
	struct forward f;
	int r = forward_parse(c->argv[0], &f, e);

	return r < 0 ? r : ports_add(c->sbx, &f, c->writer, &d, e);
}

int run_ports_remove(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, PORTS_MS);

	return ports_remove(c->sbx, c->argv[0], &d, e);
}

int run_ports_reset(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, PORTS_MS);

	return ports_reset(c->sbx, &d, e);
}
