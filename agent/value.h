/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/value.h - members of requests by the JSON rules of proto3
 *
 * A member is found in lowerCamelCase and in snake_case; null is as good as absent; numbers may come as
 * texts. Texts with a NUL inside are refused: no path, word or variable of a process can hold one.
 */
#ifndef SBXFS_AGENT_VALUE_H
#define SBXFS_AGENT_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct json_object;

/* Member @name (lowerCamelCase); NULL when absent, null, or @o is no object. Borrowed. */
struct json_object *value_at(struct json_object *o, const char *name);

/* The same by type. @ret is left alone when it is absent. Return: 0; -EINVAL when of another type. */
int value_text(struct json_object *o, const char *name, const char **ret, struct err *e);
int value_bool(struct json_object *o, const char *name, bool *ret, struct err *e);
int value_int(struct json_object *o, const char *name, int64_t *ret, struct err *e);

/* The text of a value as a process takes it; NULL when it is no text or holds a NUL. Borrowed. */
const char *value_word(struct json_object *o);

/* Is @o an object of texts under names that environment variables can have? Return: 0; -EINVAL. */
int value_check_env(struct json_object *o, const char *name, struct err *e);

#endif
