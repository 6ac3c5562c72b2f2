/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/config-json.h - settings as a member of a record, of a sandbox's or a template's */
#ifndef SBXFS_OPS_CONFIG_JSON_H
#define SBXFS_OPS_CONFIG_JSON_H

#include "base/json.h"
#include "ops/config.h"

/* Add what is set as the object "config" to @record. Return: 0; -ENOMEM. */
int config_add_json(const struct config *c, struct json_object *record);

#endif
