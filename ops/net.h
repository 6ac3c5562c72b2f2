/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/net.h - what a sandbox's settings say about its network, given to the slot that it has */
#ifndef SBXFS_OPS_NET_H
#define SBXFS_OPS_NET_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"
#include "net/egress.h"
#include "ops/sbx.h"

/**
 * net_apply() - Have the slot do what the settings say: egress rules, limit, forwards
 * @s: with the turn, with a slot; its guest must not have run in it yet, or runs by the settings of before
 * Return: 0; a negative errno of the driver, with what it could not do in @e: some of it may hold then.
 */
int net_apply(struct sbx *s, const struct deadline *d, struct err *e);

/* The text of the setting egress that holds, its template's if it has none of its own; appended. Without the turn too. */
void net_egress_setting(struct sbx *s, struct buf *b);

/**
 * egress_refresh() - Read from the kernel what its egress rules have counted, for files to show
 * Context: any thread, without the turn and locks; does not wait for others that change slots. Nothing happens when it has no slot.
 */
void egress_refresh(struct sbx *s);

/* Fill in what was counted last by the rules that hold; they stay as they are when it has no slot, or has others. Does not wait. */
void egress_counted(struct sbx *s, struct egress *rules);
/* Of these what its VMM does itself; nothing where the slot has done all. Return: as above, and of the VMM's driver. */
int net_apply_vm(struct sbx *s, const struct deadline *d, struct err *e);

/* Its slot is one of an earlier daemon: what it was told is not known. */
void net_adopt(struct sbx *s);

/* Before its slot is released: what others may want at once is free. */
void net_release(struct sbx *s);

#endif
