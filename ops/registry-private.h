/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/registry-private.h - what registry.c shares with registry-load.c; for nobody else */
#ifndef SBXFS_OPS_REGISTRY_PRIVATE_H
#define SBXFS_OPS_REGISTRY_PRIVATE_H

#include "ops/registry.h"

/* A sandbox of which nothing but its serial is filled. One reference, the caller's; NULL with @e. */
struct sbx *sbx_new(uint32_t serial, struct err *e);

/* List it, under its name too unless that is free already. Takes a reference. Return: 0; -ENOMEM. */
int registry_add(struct sbx *s);

#endif
