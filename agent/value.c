// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/value.c - members of requests by the JSON rules of proto3 */
#include "agent/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum {
	NAME_SIZE = 64, /* of a member's name with the NUL; ours are shorter */
};

/* "accessToken" to "access_token". */
static void snake_case(const char *name, char out[NAME_SIZE])
{
	size_t n = 0;

	for (; *name && n < NAME_SIZE - 2; name++) {
		if (isupper((unsigned char)*name))
			out[n++] = '_';
		out[n++] = (char)tolower((unsigned char)*name);
	}
	out[n] = '\0';
}

struct json_object *value_at(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;
	char other[NAME_SIZE];

	if (!json_object_is_type(o, json_type_object))
		return NULL;
	snake_case(name, other);
	if (json_object_object_get_ex(o, name, &v) && v)
		return v;
	return json_object_object_get_ex(o, other, &v) ? v : NULL;
}

const char *value_word(struct json_object *o)
{
	const char *text;

	if (!json_object_is_type(o, json_type_string))
		return NULL;
	text = json_object_get_string(o);
	return strlen(text) == (size_t)json_object_get_string_len(o) ? text : NULL;
}

int value_text(struct json_object *o, const char *name, const char **ret, struct err *e)
{
	struct json_object *v = value_at(o, name);
	const char *text = v ? value_word(v) : NULL;

	if (v && !text)
		return err_set(e, EINVAL, "%s is not a text without NUL", name);
	if (v)
		*ret = text;
	return 0;
}

int value_bool(struct json_object *o, const char *name, bool *ret, struct err *e)
{
	struct json_object *v = value_at(o, name);

	if (v && !json_object_is_type(v, json_type_boolean))
		return err_set(e, EINVAL, "%s is not true or false", name);
	if (v)
		*ret = json_object_get_boolean(v) != 0;
	return 0;
}

int value_int(struct json_object *o, const char *name, int64_t *ret, struct err *e)
{
	struct json_object *v = value_at(o, name);
	const char *text = v ? json_object_get_string(v) : NULL;
	char *end = NULL;
	int64_t n;

	if (!v)
		return 0;
	if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_string))
		return err_set(e, EINVAL, "%s is not a number", name);
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return err_set(e, EINVAL, "%s is not a whole number", name);
	*ret = n;
	return 0;
}

int value_check_env(struct json_object *o, const char *name, struct err *e)
{
	if (!json_object_is_type(o, json_type_object))
		return err_set(e, EINVAL, "%s is not an object", name);
	json_object_object_foreach(o, key, v)
	{
		if (!*key || strchr(key, '='))
			return err_set(e, EINVAL, "'%s' of %s is no name of a variable", key, name);
		if (!value_word(v))
			return err_set(e, EINVAL, "%s of %s is not a text without NUL", key, name);
	}
	return 0;
}
