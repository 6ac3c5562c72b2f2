// SPDX-License-Identifier: GPL-2.0-or-later
/* guest/env.c - environments as agents take them */
#include "guest/env.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

static int add_variable(struct json_object *o, const char *text)
{
	const char *equals = strchr(text, '=');
	AUTO_FREE char *name = NULL;

	if (!equals || equals == text)
		return 0;
	name = strndup(text, (size_t)(equals - text));
	return name ? json_add_text(o, name, equals + 1) : -ENOMEM;
}

int env_add(struct json_object *o, const char *key, const char *const *env)
{
	struct json_object *vars;

	if (!env)
		return 0;
	vars = json_object_new_object();
	if (!vars || json_object_object_add(o, key, vars)) {
		json_object_put(vars);
		return -ENOMEM;
	}
	for (; *env; env++)
		if (add_variable(vars, *env))
			return -ENOMEM;
	return 0;
}
