/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/config-json.c - settings as JSON */
#include "ops/config-json.h"

#include <errno.h>

int config_add_json(const struct config *c, struct json_object *record)
{
	struct json_object *config = json_object_new_object();
	int r = 0;

	if (!config)
		return -ENOMEM;
	for (int i = 0; i < CONFIG_KEY_COUNT && r == 0; i++)
		r = json_add_text(config, config_rows[i].name, c->value[i]);
	for (const struct config_pair *p = c->pairs; p && r == 0; p = p->next)
		r = json_add_text(config, p->key, p->value);
	if (r < 0 || json_object_object_add(record, "config", config) < 0) {
		json_object_put(config);
		return -ENOMEM;
	}
	return 0;
}
