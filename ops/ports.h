/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/ports.h - the ports of the host that lead to a sandbox's guest: kept in its record, given to its slot while it has one
 *
 * They are the sandbox's own: neither clones nor templates take them along. No two sandboxes have the same.
 */
#ifndef SBXFS_OPS_PORTS_H
#define SBXFS_OPS_PORTS_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "net/forward.h"
#include "ops/sbx.h"

struct json_object;

/**
 * ports_add() - One more, or another port of the guest for one that there is; durable, and it holds at once where a guest runs
 * @s: with the turn
 * @w: who asks: not everybody may have every port
 * Return: 0; -EADDRINUSE another sandbox or program has it, or one of its own is in the way, named in @e; -EACCES; -EDQUOT it has FORWARDS_MAX;
 *         what the driver says. Nothing has changed then.
 */
int ports_add(struct sbx *s, const struct forward *f, const struct writer *w,
	      const struct deadline *d, struct err *e);

/**
 * ports_remove() - One less; connections through it end
 * @spec: all of it, or its end on the host; then whatever the address unless it says one
 * Return: 0; -ENOENT; -EINVAL; as above.
 */
int ports_remove(struct sbx *s, const char *spec, const struct deadline *d, struct err *e);
int ports_reset(struct sbx *s, const struct deadline *d, struct err *e); /* none */

/* A line each, as forward_render() writes it. */
void ports_render(struct sbx *s, struct buf *b);

/* A copy of the list. Return: 0 and @ret, to be given to free(), with @ret_count; -ENOMEM. */
int ports_copy(struct sbx *s, struct forward **ret, size_t *ret_count, struct err *e);

/* The member `ports` of a record. Context: with s->lock, or before anybody knows @s. Return: 0; -ENOMEM. */
int ports_add_json(const struct sbx *s, struct json_object *o);
int ports_from_json(struct sbx *s, struct json_object *o);

#endif
