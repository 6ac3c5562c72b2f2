/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/registry-private.h - what the files of the registry share; for nobody else */
#ifndef SBXFS_OPS_REGISTRY_PRIVATE_H
#define SBXFS_OPS_REGISTRY_PRIVATE_H

#include "ops/registry.h"

/* A sandbox of which nothing but its serial is filled. One reference, the caller's; NULL with @e. */
struct sbx *sbx_new(uint32_t serial, struct err *e);

/* Held while sandboxes are defined and renamed; taken before the registry lock. */
extern pthread_mutex_t registry_define_lock;

/* Is there one of that name? With registry_define_lock the answer holds. */
bool registry_name_taken(const char *name);

/* List it, under its name too unless that is free already. Takes a reference. Return: 0; -ENOMEM. */
int registry_add(struct sbx *s);

#endif
