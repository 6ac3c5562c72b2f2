/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/targets.h - which sandboxes a line of .ctl means */
#ifndef SBXFS_OPS_TARGETS_H
#define SBXFS_OPS_TARGETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "ops/call.h"
#include "ops/command.h"

struct target_list {
	struct sbx **sbx; /* references, NULL for what is no sandbox's command; owned */
	size_t count;
};

/**
 * targets_find() - The objects of a line, and its arguments checked
 * @l: with names still in front of its arguments for a sandbox's verb in .ctl; they are cut off
 * @ret_fan_out: true when a reply line for each is wanted; a label that matches nothing gives no target and no error
 * Return: 0; -ENOENT a name that is not there; -EINVAL number of arguments. Free with targets_done() in every case.
 */
int targets_find(struct command *c, struct line *l, struct target_list *ret, bool *ret_fan_out,
		 struct err *e);
void targets_done(struct target_list *t);

#endif
