/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/json.c - json-c with the few helpers that all readers and writers of JSON here share */
#include "base/json.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
	JSON_DEPTH = 64,     /* levels; what we read has under ten */
	JSON_KEY_SIZE = 128, /* bytes with the NUL of one step of a path */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int json_parse(const char *text, size_t len, struct json_object **ret, struct err *e)
{
	struct json_tokener *tok;
	struct json_object *o;
	enum json_tokener_error why;
	size_t end;

	if (len > INT_MAX)
		return err_set(e, EBADMSG, "JSON text of %zu bytes is too long", len);
	tok = json_tokener_new_ex(JSON_DEPTH);
	if (!tok)
		return err_set(e, ENOMEM, "no memory to parse JSON");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	o = json_tokener_parse_ex(tok, text, (int)len);
	why = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	if (why == json_tokener_continue) {
		/* A bare number may go on; the NUL says that it does not. */
		o = json_tokener_parse_ex(tok, "", 1);
		why = json_tokener_get_error(tok);
	}
	json_tokener_free(tok);
	if (why == json_tokener_continue)
		return err_set(e, EBADMSG, "JSON text ends too early, after %zu bytes", len);
	if (why != json_tokener_success)
		return err_set(e, EBADMSG, "bad JSON at byte %zu: %s", end,
			       json_tokener_error_desc(why));
	while (end < len && is_space(text[end]))
		end++;
	if (end < len) {
		json_object_put(o);
		return err_set(e, EBADMSG, "text after the JSON value at byte %zu", end);
	}
	*ret = o;
	return 0;
}

struct json_object *json_at(struct json_object *o, const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");
		char key[JSON_KEY_SIZE];

		if (len >= sizeof(key) || !json_object_is_type(o, json_type_object))
			return NULL;
		memcpy(key, path, len);
		key[len] = '\0';
		if (!json_object_object_get_ex(o, key, &o))
			return NULL;
		path += len;
		if (*path == '/')
			path++;
	}
	return o;
}

const char *json_text_at(struct json_object *o, const char *path, const char *fallback)
{
	struct json_object *v = json_at(o, path);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : fallback;
}

int64_t json_int_at(struct json_object *o, const char *path, int64_t fallback)
{
	struct json_object *v = json_at(o, path);

	return json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : fallback;
}

bool json_bool_at(struct json_object *o, const char *path, bool fallback)
{
	struct json_object *v = json_at(o, path);

	return json_object_is_type(v, json_type_boolean) ? json_object_get_boolean(v) != 0
							 : fallback;
}

/* Hand @value over to @o, also when that fails. */
static int add_value(struct json_object *o, const char *key, struct json_object *value)
{
	if (!value)
		return -ENOMEM;
	if (json_object_object_add(o, key, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

int json_add_text(struct json_object *o, const char *key, const char *text)
{
	return text ? add_value(o, key, json_object_new_string(text)) : 0;
}

int json_add_int(struct json_object *o, const char *key, int64_t value)
{
	return add_value(o, key, json_object_new_int64(value));
}

int json_add_bool(struct json_object *o, const char *key, bool value)
{
	return add_value(o, key, json_object_new_boolean(value));
}
