/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/steps-private.h - what the files of steps share; for steps*.c only */
#ifndef SBXFS_OPS_STEPS_PRIVATE_H
#define SBXFS_OPS_STEPS_PRIVATE_H

#include "ops/steps.h"

/* What an earlier daemon made with a driver that this one lacks stays until the driver is there again. */
int step_check_driver(const void *driver, const char *why, struct err *e);

/* What status shows of its network slot, and of its VM, is what it has now. */
void step_show_slot(struct sbx *s);
void step_show_vm(struct sbx *s);

/* steps-disk.c */
int data_up(struct sbx *s, const struct deadline *d, struct err *e);
int data_down(struct sbx *s, const struct deadline *d, struct err *e);
int data_adopt(struct sbx *s, const struct deadline *d, struct err *e);
int disk_up(struct sbx *s, const struct deadline *d, struct err *e);
int disk_down(struct sbx *s, const struct deadline *d, struct err *e);
int disk_adopt(struct sbx *s, const struct deadline *d, struct err *e);

/* steps-network.c */
int network_up(struct sbx *s, const struct deadline *d, struct err *e);
int network_down(struct sbx *s, const struct deadline *d, struct err *e);
int network_adopt(struct sbx *s, const struct deadline *d, struct err *e);

/* Have its slot do what its settings say, unless it is hidden. Return: as net_apply(). */
int step_apply_network(struct sbx *s, const struct deadline *d, struct err *e);

#endif
