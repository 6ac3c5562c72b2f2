/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/net.h - what a sandbox's settings say about its network, given to the slot that it has */
#ifndef SBXFS_OPS_NET_H
#define SBXFS_OPS_NET_H

#include "base/deadline.h"
#include "base/err.h"
#include "ops/sbx.h"

/**
 * net_apply() - Have the slot do what the settings say: egress rules, limit, forwards
 * @s: with the turn, with a slot; its guest must not have run in it yet, or runs by the settings of before
 * Return: 0; a negative errno of the driver, with what it could not do in @e: some of it may hold then.
 */
int net_apply(struct sbx *s, const struct deadline *d, struct err *e);

#endif
