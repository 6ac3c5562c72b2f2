/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/record.c - records as JSON */
#include "ops/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "ops/config-json.h"
#include "ops/memory.h"
#include "ops/ports.h"
#include "ops/sampler.h"
#include "storage/volume.h"
#include "vm/vm.h"

enum {
	RECORD_MAX_BYTES = 4 << 20, /* settings of one sandbox */
};

/* Members that this version writes; all others are kept as they were, and within config likewise. */
static const char *const known[] = {
	"name",       "uid",        "gid",      "mode",        "template",
	"created_ms", "started_ms", "state",    "exit_reason", "last_error",
	"token",      "gone",       "storage",  "data",        "snapshot_parent",
	"memory",     "vmm",        "clone",    "config",      "ports",
	"traffic",    "data_mb",    "restarts", "tries",       "restart_due"};

/* What the level in the journal does not tell. */
static const char *lasting_state(const struct sbx *s)
{
	if (s->state == SBX_ERROR || s->state == SBX_FROZEN || s->state == SBX_RUNNING)
		return sbx_state_name(s->state);
	if (s->state == SBX_PAUSING && s->was_frozen)
		return sbx_state_name(SBX_FROZEN);
	return "";
}

static int put_members(struct json_object *o, const struct sbx *s)
{
	int r = json_add_text(o, "name", s->name);

	r = r ? r : json_add_int(o, "uid", s->uid);
	r = r ? r : json_add_int(o, "gid", s->gid);
	r = r ? r : json_add_int(o, "mode", s->mode);
	r = r ? r : json_add_text(o, "template", s->template_pin);
	r = r ? r : json_add_int(o, "created_ms", s->created_ms);
	r = r ? r : json_add_int(o, "started_ms", s->started_ms);
	r = r ? r : json_add_text(o, "state", lasting_state(s));
	r = r ? r : json_add_text(o, "exit_reason", s->exit_reason);
	r = r ? r : json_add_text(o, "last_error", s->last_error);
	r = r ? r : json_add_text(o, "token", s->token);
	r = r ? r : json_add_bool(o, "gone", s->gone);
	r = r ? r : json_add_int(o, "restarts", (int64_t)s->policy.restarts);
	r = r ? r : json_add_int(o, "tries", (int64_t)s->policy.tries);
	r = r ? r : json_add_bool(o, "restart_due", s->policy.restart_at_ms != 0);
	return r ? r : config_add_json(&s->config, o);
}

/* Its data and its memory. */
static int put_data(struct json_object *o, const struct sbx *s)
{
	int r = json_add_text(o, "storage", s->store ? s->store->name : NULL);
	r = r ? r : json_add_text(o, "data", s->data_dir);
	r = r ? r : json_add_int(o, "data_mb", (int64_t)s->data_mib);
	r = r ? r : json_add_text(o, "snapshot_parent", s->snapshot_parent);
	r = r ? r : ports_add_json(s, o);
	r = r ? r : sampler_add_json(s, o);
	r = r ? r : json_add_text(o, "clone", s->cloning[0] ? s->cloning : NULL);
	r = r ? r : json_add_text(o, "vmm", s->vmm ? s->vmm->name : NULL);
	return r || s->warm ? r : memory_add_json(&s->memory, o);
}

static int put_copies(struct json_object *o, struct json_object *from, const char *but)
{
	if (!from)
		return 0;
	json_object_object_foreach(from, key, value)
	{
		if (but && strcmp(key, but) == 0)
			continue;
		if (json_object_object_add(o, key, json_object_get(value)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* "config" is known itself, but not every setting in it. */
static int put_unknown(struct json_object *o, struct json_object *unknown)
{
	int r = put_copies(o, unknown, "config");

	return r ? r : put_copies(json_at(o, "config"), json_at(unknown, "config"), NULL);
}

/* From taking the members to the end: what another saves meanwhile must not be written over. */
static int save_locked(struct sbx *s, struct err *e)
{
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	AUTO_JSON o = json_object_new_object();
	const char *text = NULL;
	int r;

	if (!o)
		return err_set(e, ENOMEM, "no memory");
	pthread_mutex_lock(&s->lock);
	r = put_members(o, s);
	r = r ? r : put_data(o, s);
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		r = put_unknown(o, s->unknown);
	if (r == 0)
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (!text)
		return err_set(e, ENOMEM, "no memory");
	return file_replace(dir, "record", 0600, text, strlen(text), e);
}

int record_save(struct sbx *s, struct err *e)
{
	int r = fault_point("record-save", NULL, e);

	if (r < 0)
		return r;
	if (s->damaged)
		return err_set(e, EIO, "its record cannot be read and is left as it is");
	pthread_mutex_lock(&s->save_lock);
	r = save_locked(s, e);
	pthread_mutex_unlock(&s->save_lock);
	return r < 0 ? err_wrap(e, "cannot save the record") : 0;
}

static void copy_text(char *to, size_t size, struct json_object *o, const char *key)
{
	(void)snprintf(to, size, "%s",
		       json_text_at(o, key, "")); /* longer ones were never written */
}

static int load_config(struct sbx *s, struct json_object *config, struct err *e)
{
	if (!json_object_is_type(config, json_type_object))
		return err_set(e, EBADMSG, "its record has no settings");
	json_object_object_foreach(config, key, value)
	{
		if (config_is_key(key) &&
		    config_set(&s->config, key, json_object_get_string(value), NULL, e) < 0)
			return err_set(e, EBADMSG,
				       "its record has a setting %s that cannot be used", key);
	}
	return 0;
}

static void keep_unknown(struct sbx *s, struct json_object *o)
{
	struct json_object *config = json_at(o, "config");

	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		json_object_object_del(config, config_rows[i].name);
	for (const struct config_pair *p = s->config.pairs; p; p = p->next)
		json_object_object_del(config, p->key);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], "config") != 0 || json_object_object_length(config) == 0)
			json_object_object_del(o, known[i]);
	if (json_object_object_length(o) > 0)
		s->unknown = json_object_get(o);
}

int record_load(struct sbx *s, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_JSON o = NULL;
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	int r = file_read(dir, "record", RECORD_MAX_BYTES, &text, e);

	if (r == 0)
		r = json_parse(buf_text(&text), text.len, &o, e);
	if (r < 0)
		return err_wrap(e, "cannot read the record");
	copy_text(s->name, sizeof(s->name), o, "name");
	if (!name_is_valid(s->name))
		return err_set(e, EBADMSG, "its record has no valid name");
	s->uid = (uid_t)json_int_at(o, "uid", 0);
	s->gid = (gid_t)json_int_at(o, "gid", 0);
	s->mode = (mode_t)json_int_at(o, "mode", 0700) & 0777;
	copy_text(s->template_pin, sizeof(s->template_pin), o, "template");
	s->created_ms = json_int_at(o, "created_ms", 0);
	s->started_ms = json_int_at(o, "started_ms", 0);
	copy_text(s->exit_reason, sizeof(s->exit_reason), o, "exit_reason");
	copy_text(s->last_error, sizeof(s->last_error), o, "last_error");
	copy_text(s->token, sizeof(s->token), o, "token");
	/* One of another version is not known here: then there is nothing that could read its data either. */
	s->store = volume_driver_named(json_text_at(o, "storage", ""));
	copy_text(s->data_dir, sizeof(s->data_dir), o, "data");
	s->data_mib = (uint64_t)json_int_at(o, "data_mb", 0);
	copy_text(s->snapshot_parent, sizeof(s->snapshot_parent), o, "snapshot_parent");
	if (s->data_dir[0] && (strncmp(s->data_dir, "data.", 5) != 0 ||
			       strspn(s->data_dir + 5, "0123456789") != strlen(s->data_dir + 5)))
		return err_set(e, EBADMSG, "its record names a directory that is none of its own");
	copy_text(s->cloning, sizeof(s->cloning), o, "clone");
	memory_from_json(o, &s->memory);
	s->vmm = vm_driver_named(json_text_at(o, "vmm", ""));
	s->gone = json_bool_at(o, "gone", false);
	s->state = strcmp(json_text_at(o, "state", ""), "error") == 0 ? SBX_ERROR : SBX_CREATED;
	s->was_frozen = strcmp(json_text_at(o, "state", ""), "frozen") == 0;
	s->was_up = strcmp(json_text_at(o, "state", ""), "running") == 0;
	s->policy.restarts = (uint64_t)json_int_at(o, "restarts", 0);
	s->policy.tries = (uint64_t)json_int_at(o, "tries", 0);
	if (json_bool_at(o, "restart_due", false)) /* how much of the delay is over nobody knows */
		s->policy.restart_at_ms = clock_ms();
	sampler_from_json(s, o);
	r = ports_from_json(s, o) < 0 ? err_set(e, ENOMEM, "no memory") : 0;
	if (r == 0)
		r = load_config(s, json_at(o, "config"), e);
	if (r == 0)
		keep_unknown(s, o);
	return r;
}

void record_forget(struct sbx *s)
{
	json_object_put(s->unknown);
	s->unknown = NULL;
}
