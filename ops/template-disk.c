/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-disk.c - a template's record, and the versions that lie on disk */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parse.h"
#include "ops/config-json.h"
#include "ops/template-private.h"

enum {
	TEMPLATE_RECORD_MAX = 1 << 20,
	TEMPLATE_CONF_MAX = 1 << 16,
	PRUNE_MAX = 64, /* versions looked at in one go; the rest waits for the next */
};

int source_add_json(const struct template_source *s, struct json_object *o)
{
	int r = json_add_text(o, "url", s->url);

	r = r ? r : json_add_text(o, "sha256", s->sha256);
	r = r ? r : json_add_text(o, "etag", s->etag);
	r = r ? r : json_add_text(o, "modified", s->modified);
	return r ? r : json_add_int(o, "bytes", (int64_t)s->bytes);
}

void source_from_json(struct json_object *o, struct template_source *ret)
{
	int64_t bytes = json_int_at(o, "bytes", 0);

	*ret = (struct template_source){.bytes = bytes > 0 ? (uint64_t)bytes : 0};
	(void)snprintf(ret->url, sizeof(ret->url), "%s", json_text_at(o, "url", ""));
	(void)snprintf(ret->sha256, sizeof(ret->sha256), "%s", json_text_at(o, "sha256", ""));
	(void)snprintf(ret->etag, sizeof(ret->etag), "%s", json_text_at(o, "etag", ""));
	(void)snprintf(ret->modified, sizeof(ret->modified), "%s", json_text_at(o, "modified", ""));
}

/* Only what was pulled has one. */
static int put_source(struct json_object *o, const struct template *t)
{
	struct json_object *source;
	int r;

	if (!t->source.url[0])
		return 0;
	source = json_object_new_object();
	r = source ? source_add_json(&t->source, source) : -ENOMEM;
	if (r == 0 && json_object_object_add(o, "source", source) == 0)
		return json_add_int(o, "checked_ms", t->checked_ms);
	json_object_put(source);
	return -ENOMEM;
}

static int put_members(struct json_object *o, const struct template *t)
{
	int r = config_add_json(&t->config, o);

	r = r ? r : json_add_int(o, "serial", t->serial);
	r = r ? r : json_add_int(o, "uid", t->uid);
	r = r ? r : json_add_int(o, "gid", t->gid);
	r = r ? r : json_add_int(o, "mode", t->mode);
	r = r ? r : json_add_int(o, "created_ms", t->created_ms);
	r = r ? r : json_add_int(o, "imported_ms", t->imported_ms);
	r = r ? r : json_add_text(o, "digest", t->digest);
	return r ? r : put_source(o, t);
}

static int save_locked(struct template *t, struct err *e)
{
	AUTO_JSON o = json_object_new_object();
	const char *text = NULL;
	int r = -ENOMEM;

	pthread_mutex_lock(&template_lock);
	if (o)
		r = put_members(o, t);
	pthread_mutex_unlock(&template_lock);
	if (r == 0)
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (!text)
		return err_set(e, ENOMEM, "no memory");
	return file_replace(t->dir_fd, "record", 0600, text, strlen(text), e);
}

/* One at a time from taking the members to the end: an older state must never be written over a newer one. */
int template_save(struct template *t, struct err *e)
{
	static pthread_mutex_t save_lock = PTHREAD_MUTEX_INITIALIZER;
	int r;

	pthread_mutex_lock(&save_lock);
	r = save_locked(t, e);
	pthread_mutex_unlock(&save_lock);
	return r;
}

static int load_config(struct template *t, struct json_object *config, struct err *e)
{
	if (!json_object_is_type(config, json_type_object))
		return 0;
	json_object_object_foreach(config, key, value)
	{
		int r = config_set(&t->config, key, json_object_get_string(value), NULL, e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Every version that is there; what an import left half is removed. */
static int load_versions(struct template *t, struct err *e)
{
	AUTO_DIR dir = NULL;
	int r = file_open_list(t->dir_fd, "versions", &dir, e);
	const struct dirent *entry;

	while (r == 0 &&
	       (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		struct err why = {0};
		struct version *v;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (strlen(entry->d_name) != DIGEST_SHORT) {
			r = file_remove_tree(dirfd(dir), entry->d_name, e);
			continue;
		}
		v = version_load(t, entry->d_name, &why);
		if (!v) { /* the others are as good as ever */
			log_error("template %s: %s, ignoring this version", t->name, why.text);
			continue;
		}
		version_check_memory(t, v);
		v->next = t->versions;
		t->versions = v;
	}
	return r;
}

int template_load(struct template *t, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_JSON o = NULL;
	int r = file_read(t->dir_fd, "record", TEMPLATE_RECORD_MAX, &text, e);

	if (r == 0)
		r = json_parse(buf_text(&text), text.len, &o, e);
	if (r < 0)
		return err_wrap(e, "cannot read its record");
	t->serial = (uint32_t)json_int_at(o, "serial", 0);
	t->uid = (uid_t)json_int_at(o, "uid", 0);
	t->gid = (gid_t)json_int_at(o, "gid", 0);
	t->mode = (mode_t)json_int_at(o, "mode", 0755);
	t->created_ms = json_int_at(o, "created_ms", 0);
	t->imported_ms = json_int_at(o, "imported_ms", 0);
	(void)snprintf(t->digest, sizeof(t->digest), "%s", json_text_at(o, "digest", ""));
	if (t->serial == 0)
		return err_set(e, EBADMSG, "its record has no serial");
	source_from_json(json_at(o, "source"), &t->source);
	t->checked_ms = json_int_at(o, "checked_ms", 0);
	template_pull_load(t);
	r = load_config(t, json_at(o, "config"), e);
	return r < 0 ? r : load_versions(t, e);
}

/* One line of template.conf: kernel arguments, the guest's init, or a default setting. */
static int conf_line(struct version *v, char *line, struct err *e)
{
	char *value = strchr(line, '=');

	if (*line == '\0' || *line == '#')
		return 0;
	if (!value)
		return err_set(e, EBADMSG, "template.conf: %s is not KEY=VALUE", line);
	*value++ = '\0';
	if (parse_unescape(value) < 0)
		return err_set(e, EBADMSG, "template.conf: a bad backslash in %s", line);
	if (strcmp(line, "cmdline") == 0) {
		if ((size_t)snprintf(v->cmdline, sizeof(v->cmdline), "%s", value) >=
		    sizeof(v->cmdline))
			return err_set(e, EBADMSG, "template.conf: cmdline is too long");
	} else if (strcmp(line, "init") == 0) {
		(void)snprintf(v->init, sizeof(v->init), "%s", value);
	} else if (config_set(&v->defaults, line, value, NULL, NULL) < 0) {
		log_debug("template.conf: %s is for another version of this program", line);
	}
	return 0;
}

static int load_conf(int dir_fd, struct version *v, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	char *cursor, *line;
	int r = file_read(dir_fd, "template.conf", TEMPLATE_CONF_MAX, &text, e);

	if (r < 0 || text.len == 0)
		return r;
	cursor = text.data;
	while (r == 0 && (line = parse_line(&cursor)))
		r = conf_line(v, line, e);
	return r;
}

struct version *version_load(struct template *t, const char *digest, struct err *e)
{
	struct version *v = calloc(1, sizeof(*v));
	char path[64];
	AUTO_FD fd = -1;
	struct stat st;

	if (!v) {
		(void)err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	(void)snprintf(v->digest, sizeof(v->digest), "%s", digest);
	(void)snprintf(path, sizeof(path), "versions/%.32s", digest);
	if (file_open_dir(t->dir_fd, path, &fd, e) < 0 || load_conf(fd, v, e) < 0)
		goto fail;
	if (fstatat(fd, "rootfs.ext4", &st, AT_SYMLINK_NOFOLLOW) < 0) {
		(void)err_sys(e, errno, "version %s has no rootfs.ext4", digest);
		goto fail;
	}
	v->rootfs_bytes = (uint64_t)st.st_size;
	v->disk_bytes = (uint64_t)st.st_blocks * 512;
	version_load_memory(fd, v);
	return v;
fail:
	version_free(v);
	return NULL;
}

/* Take a version off the list, unless it is the current one. */
static struct version *version_take(struct template *t, const char *digest)
{
	struct version *v = NULL;

	pthread_mutex_lock(&template_lock);
	for (struct version **at = &t->versions; *at; at = &(*at)->next) {
		if (strcmp((*at)->digest, digest) == 0 && strcmp(digest, t->digest) != 0) {
			v = *at;
			*at = v->next;
			break;
		}
	}
	pthread_mutex_unlock(&template_lock);
	return v;
}

static void version_give_back(struct template *t, struct version *v)
{
	pthread_mutex_lock(&template_lock);
	v->next = t->versions;
	t->versions = v;
	pthread_mutex_unlock(&template_lock);
}

/* Its digest must never name a directory of which a crash has left a part: the next import would take that for whole. */
static void version_remove(const struct template *t, const char *digest)
{
	char path[64], aside[64];
	struct err e = {0};

	(void)snprintf(path, sizeof(path), "versions/%.12s", digest);
	(void)snprintf(aside, sizeof(aside), "versions/%.12s-removed", digest);
	AUTO_FD versions = -1;
	if (renameat(t->dir_fd, path, t->dir_fd, aside) < 0)
		(void)err_sys(&e, errno, "cannot remove %s", path);
	else if (file_open_dir(t->dir_fd, "versions", &versions, &e) == 0 &&
		 file_sync_dir(versions, &e) == 0)
		(void)file_remove_tree(t->dir_fd, aside, &e);
	if (e.code)
		log_warning("template %s: %s, ignoring", t->name, e.text);
}

/*
 * A start pins first and looks the version up afterwards; here it is taken off the list first, then pins
 * are looked for: so one of the two always sees the other.
 */
void template_prune(struct template *t)
{
	char digests[PRUNE_MAX][DIGEST_SHORT + 1];
	struct version *taken;
	size_t n = 0;

	pthread_mutex_lock(&template_lock);
	for (const struct version *v = t->versions; v && n < PRUNE_MAX; v = v->next)
		if (strcmp(v->digest, t->digest) != 0)
			memcpy(digests[n++], v->digest, sizeof(digests[0]));
	pthread_mutex_unlock(&template_lock);
	for (size_t i = 0; i < n; i++) {
		taken = version_take(t, digests[i]);
		if (!taken)
			continue;
		if (template_users(t, digests[i]) != 0) {
			version_give_back(t, taken);
			continue;
		}
		version_remove(t, digests[i]);
		version_free(taken);
	}
}
