/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/json.h - json-c with the few helpers that all readers and writers of JSON here share */
#ifndef SBXFS_BASE_JSON_H
#define SBXFS_BASE_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

static inline void cleanup_json(struct json_object **o)
{
	json_object_put(*o); /* takes NULL */
}
#define AUTO_JSON __attribute__((cleanup(cleanup_json))) struct json_object *

/**
 * json_parse() - Parse exactly one value
 * @text: @len bytes; trailing white space is allowed, anything else after the value is not
 * @ret:  a new reference, on success only
 * Return: 0; -EBADMSG with the position in @e.
 */
int json_parse(const char *text, size_t len, struct json_object **ret, struct err *e);

/* Member by a path such as "return/status"; NULL when it is not there or a step is no object. Borrowed. */
struct json_object *json_at(struct json_object *o, const char *path);

/* The same as text, number, boolean; the fallback when absent or of another type. Text is borrowed. */
const char *json_text_at(struct json_object *o, const char *path, const char *fallback);
int64_t json_int_at(struct json_object *o, const char *path, int64_t fallback);
bool json_bool_at(struct json_object *o, const char *path, bool fallback);

/* Add a member; the object takes the value. Text NULL adds nothing. Return: 0; -ENOMEM. */
int json_add_text(struct json_object *o, const char *key, const char *text);
int json_add_int(struct json_object *o, const char *key, int64_t value);
int json_add_bool(struct json_object *o, const char *key, bool value);

#endif
