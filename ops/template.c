/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template.c - the list of templates, and what sandboxes and readers see of them
 *
 * How it works: one lock for all of them, held for memory work only. A sandbox that starts first writes
 * its pin and then looks the version up again; a removal first marks the template and then looks for
 * pins: so one of the two always sees the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/memory.h"
#include "ops/registry.h"
#include "ops/serial.h"
#include "ops/template-private.h"
#include "ops/warm.h"

/* Of a template's directory that is being removed; no name begins so. */
#define REMOVED_PREFIX ".removed-"

pthread_mutex_t template_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t define_lock =
	PTHREAD_MUTEX_INITIALIZER; /* mkdir and rmdir, before the template lock */
static struct template *list;      /* in order of serials; one reference each */

struct template *template_get(struct template *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void version_free(struct version *v)
{
	if (v)
		config_done(&v->defaults);
	free(v);
}

void template_put(struct template *t)
{
	struct version *next;

	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	for (struct version *v = t->versions; v; v = next) {
		next = v->next;
		version_free(v);
	}
	config_done(&t->config);
	fd_close(t->dir_fd);
	free(t);
}

/* With the template lock. */
static struct template *find(const char *name, size_t len)
{
	struct template *t = list;

	while (t && (strlen(t->name) != len || strncmp(t->name, name, len) != 0))
		t = t->next;
	return t;
}

struct template *template_find(const char *name)
{
	struct template *t;

	pthread_mutex_lock(&template_lock);
	t = find(name, strlen(name));
	if (t)
		template_get(t);
	pthread_mutex_unlock(&template_lock);
	return t;
}

struct template *template_find_serial(uint32_t serial)
{
	struct template *t = serial ? template_next(serial - 1) : NULL;

	if (t && t->serial == serial)
		return t;
	template_put(t);
	return NULL;
}

struct template *template_next(uint32_t after)
{
	struct template *t;

	pthread_mutex_lock(&template_lock);
	for (t = list; t && t->serial <= after; t = t->next)
		;
	if (t)
		template_get(t);
	pthread_mutex_unlock(&template_lock);
	return t;
}

struct lane *template_lane(struct template *t)
{
	return &t->lane;
}

static void list_insert(struct template *t)
{
	struct template **at = &list;

	while (*at && (*at)->serial < t->serial)
		at = &(*at)->next;
	t->next = *at;
	*at = template_get(t);
}

static struct template *template_new(const char *name, struct err *e)
{
	struct template *t = calloc(1, sizeof(*t));

	if (!t) {
		(void)err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	atomic_init(&t->refs, 1);
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	t->mode = 0755;
	t->dir_fd = -1;
	if (file_open_dir(host.templates_fd, name, &t->dir_fd, e) == 0)
		return t;
	template_put(t);
	return NULL;
}

static int create_on_disk(const char *name, const struct writer *w, struct template **ret,
			  struct err *e)
{
	bool made = mkdirat(host.templates_fd, name, 0700) == 0;
	struct template *t;
	int r;

	if (!made && errno != EEXIST)
		return err_sys(e, errno, "cannot make its directory");
	t = template_new(name, e);
	r = t ? serial_take(&t->serial, e) : e ? -e->code : -EIO;
	if (r == 0) {
		t->uid = w->uid;
		t->gid = w->gid;
		t->created_ms = wall_ms();
		r = mkdirat(t->dir_fd, "versions", 0700) < 0 && errno != EEXIST
			    ? err_sys(e, errno, "cannot make its directory")
			    : template_save(t, e);
	}
	if (r == 0)
		r = file_sync_dir(host.templates_fd, e);
	if (r == 0) {
		*ret = t;
		return 0;
	}
	template_put(t);
	if (made) /* else it was left here, perhaps with versions that sandboxes need */
		(void)file_remove_tree(host.templates_fd, name, NULL); /* the next mkdir takes it */
	return r;
}

int template_create(const char *name, const struct writer *w, struct template **ret, struct err *e)
{
	struct template *t = NULL;
	bool taken;
	int r;

	if (!name_is_valid(name))
		return err_set(e, EINVAL, "%s is not a name", name);
	pthread_mutex_lock(&define_lock);
	pthread_mutex_lock(&template_lock);
	taken = find(name, strlen(name)) != NULL;
	pthread_mutex_unlock(&template_lock);
	r = taken ? err_set(e, EEXIST, "there is a template %s", name)
		  : create_on_disk(name, w, &t, e);
	if (r == 0) {
		pthread_mutex_lock(&template_lock);
		list_insert(t);
		pthread_mutex_unlock(&template_lock);
		*ret = t;
	}
	pthread_mutex_unlock(&define_lock);
	return r;
}

static void list_remove(struct template *t)
{
	struct template **at = &list;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at) {
		*at = t->next;
		template_put(t);
	}
}

static void set_removing(struct template *t, bool removing)
{
	pthread_mutex_lock(&template_lock);
	t->removing = removing;
	pthread_mutex_unlock(&template_lock);
}

/* Take its name away, durably and at once: what a crash leaves of the rest is removed at the next start. */
static int set_aside(const struct template *t, char *aside, size_t size, struct err *e)
{
	int r = fault_point("template-aside", NULL, e);

	(void)snprintf(aside, size, REMOVED_PREFIX "%" PRIu32, t->serial);
	if (r == 0 && renameat(host.templates_fd, t->name, host.templates_fd, aside) < 0)
		r = err_sys(e, errno, "cannot remove its directory");
	return r < 0 ? r : file_sync_dir(host.templates_fd, e);
}

static bool has_versions(const struct template *t)
{
	bool has;

	pthread_mutex_lock(&template_lock);
	has = t->versions != NULL;
	pthread_mutex_unlock(&template_lock);
	return has;
}

static int remove_it(struct template *t, bool only_empty, struct err *e)
{
	char aside[sizeof(REMOVED_PREFIX) + 10];
	struct err left = {0};
	bool closed = false;
	unsigned users;
	int r = 0;

	pthread_mutex_lock(&define_lock);
	set_removing(t, true);
	users = template_users(t, NULL);
	if (!users && warm_forget(t->name) < 0)
		r = err_set(e, EBUSY, "an image of its memory is being made and does not end");
	else if (!users)
		closed = lane_close_idle(&t->lane);
	if (r < 0)
		;
	else if (users)
		r = err_set(e, EBUSY, "%u sandboxes need it; destroy them first", users);
	else if (!closed)
		r = err_set(e, EBUSY, "an import is under way");
	else if (only_empty && has_versions(t))
		r = err_set(e, EBUSY, "it has a version");
	else
		r = set_aside(t, aside, sizeof(aside), e);
	if (r == 0) {
		pthread_mutex_lock(&template_lock);
		list_remove(t);
		pthread_mutex_unlock(&template_lock);
		if (file_remove_tree(host.templates_fd, aside, &left) < 0)
			log_warning("%s, ignoring: the next start tries again", left.text);
	} else {
		if (closed)
			lane_reopen(&t->lane);
		set_removing(t, false);
	}
	pthread_mutex_unlock(&define_lock);
	return r;
}

int template_remove(struct template *t, struct err *e)
{
	return remove_it(t, false, e);
}

int template_remove_empty(struct template *t, struct err *e)
{
	return remove_it(t, true, e);
}

int template_set_owner(struct template *t, uid_t uid, gid_t gid, mode_t mode, struct err *e)
{
	uid_t old_uid;
	gid_t old_gid;
	mode_t old_mode;
	int r;

	pthread_mutex_lock(&define_lock);
	pthread_mutex_lock(&template_lock);
	old_uid = t->uid;
	old_gid = t->gid;
	old_mode = t->mode;
	t->uid = uid == (uid_t)-1 ? old_uid : uid;
	t->gid = gid == (gid_t)-1 ? old_gid : gid;
	t->mode = mode == (mode_t)-1 ? old_mode : mode & 0777;
	pthread_mutex_unlock(&template_lock);
	r = template_save(t, e);
	if (r < 0) {
		pthread_mutex_lock(&template_lock);
		t->uid = old_uid;
		t->gid = old_gid;
		t->mode = old_mode;
		pthread_mutex_unlock(&template_lock);
	}
	pthread_mutex_unlock(&define_lock);
	return r;
}

/* A version's defaults with what was set for the template over them. */
static int defaults_merge(const struct version *v, const struct config *over, struct config *ret)
{
	int r = config_copy(&v->defaults, ret);

	for (int i = 0; i < CONFIG_KEY_COUNT && r == 0; i++)
		if (over->value[i])
			r = config_set(ret, config_rows[i].name, over->value[i], NULL, NULL);
	for (const struct config_pair *p = over->pairs; p && r == 0; p = p->next)
		r = config_set(ret, p->key, p->value, NULL, NULL);
	return r;
}

int template_config(struct template *t, struct config *ret)
{
	static const struct version none;
	const struct version *v;
	int r;

	pthread_mutex_lock(&template_lock);
	for (v = t->versions; v && strcmp(v->digest, t->digest) != 0; v = v->next)
		;
	r = defaults_merge(v ? v : &none, &t->config, ret);
	pthread_mutex_unlock(&template_lock);
	return r;
}

int template_own_config(struct template *t, struct config *ret)
{
	int r;

	pthread_mutex_lock(&template_lock);
	r = config_copy(&t->config, ret);
	pthread_mutex_unlock(&template_lock);
	return r;
}

static void swap_config(struct template *t, struct config *c)
{
	struct config old;

	pthread_mutex_lock(&template_lock);
	old = t->config;
	t->config = *c;
	*c = old;
	pthread_mutex_unlock(&template_lock);
}

int template_set_config(struct template *t, struct config *c, struct err *e)
{
	int r;

	swap_config(t, c);
	r = template_save(t, e);
	if (r < 0)
		swap_config(t, c);
	return r;
}

/* A disk is as large as its template at least. */
static int disk_default(const struct version *v, struct config *defaults)
{
	static const struct config none;
	uint64_t own = (v->rootfs_bytes + (1 << 20) - 1) >> 20;
	char text[24];

	if (defaults->value[CONFIG_DISK_MB] || own <= config_number(&none, NULL, CONFIG_DISK_MB))
		return 0;
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)own);
	return config_set(defaults, config_rows[CONFIG_DISK_MB].name, text, NULL, NULL);
}

void version_path(const struct template *t, const struct version *v, const char *name, char *path,
		  size_t size)
{
	(void)snprintf(path, size, "%s/templates/%s/versions/%s%s%s", host.state_dir, t->name,
		       v->digest, name[0] ? "/" : "", name); /* fits: see STATE_DIR_MAX */
}

static int version_fill(const struct template *t, const struct version *v,
			struct template_version *ret)
{
	int r;

	(void)snprintf(ret->pin, sizeof(ret->pin), "%s@%s", t->name, v->digest);
	ret->rootfs_bytes = v->rootfs_bytes;
	memcpy(ret->cmdline, v->cmdline, sizeof(ret->cmdline));
	memcpy(ret->init, v->init, sizeof(ret->init));
	version_path(t, v, "rootfs.ext4", ret->rootfs, sizeof(ret->rootfs));
	version_path(t, v, "kernel", ret->kernel, sizeof(ret->kernel));
	version_path(t, v, "initrd", ret->initrd, sizeof(ret->initrd));
	version_path(t, v, MEMORY_DIR, ret->memory_dir, sizeof(ret->memory_dir));
	if (!v->memory_bad)
		ret->memory = v->memory;
	r = defaults_merge(v, &t->config, &ret->defaults);
	return r < 0 ? r : disk_default(v, &ret->defaults);
}

struct version *version_of_pin(const char *pin, struct template **ret)
{
	const char *at = strchr(pin, '@');
	struct version *v;

	*ret = find(pin, at ? (size_t)(at - pin) : strlen(pin));
	if (!*ret || (*ret)->removing)
		return NULL;
	for (v = (*ret)->versions; v; v = v->next)
		if (strcmp(v->digest, at ? at + 1 : (*ret)->digest) == 0)
			break;
	return v;
}

int template_version_find(const char *pin, struct template_version *ret, struct err *e)
{
	const struct version *v;
	struct template *t;
	int r = -ENOENT;

	*ret = (struct template_version){0};
	pthread_mutex_lock(&template_lock);
	v = version_of_pin(pin, &t);
	if (v)
		r = version_fill(t, v, ret);
	pthread_mutex_unlock(&template_lock);
	if (r == -ENOENT)
		return err_set(
			e, ENOENT,
			"there is no template %s: make one with sbx-mktemplate DIR, then mkdir "
			"%s/.templates/%.*s and write \"import DIR\" to its ctl",
			pin, host.mountpoint, (int)strcspn(pin, "@"), pin);
	return r < 0 ? err_set(e, -r, "no memory") : 0;
}

void template_version_done(struct template_version *v)
{
	config_done(&v->defaults);
}

uint64_t template_disk_mb(const struct config *c, const struct template_version *v)
{
	return config_number(c, v ? &v->defaults : NULL, CONFIG_DISK_MB);
}

static int load_one(const char *name, struct err *e)
{
	struct template *t = template_new(name, e);
	struct err why = {0};

	if (!t)
		return -e->code;
	if (template_load(t, &why) < 0)
		log_error("template %s: %s, ignoring", name, why.text);
	else
		list_insert(t);
	template_put(t);
	return 0;
}

int template_init(struct err *e)
{
	AUTO_DIR dir = NULL;
	int r = file_open_list(host.templates_fd, ".", &dir, e);
	const struct dirent *entry;

	while (r == 0 &&
	       (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (name_is_valid(entry->d_name))
			r = load_one(entry->d_name, e);
		else if (strncmp(entry->d_name, REMOVED_PREFIX, strlen(REMOVED_PREFIX)) == 0)
			r = file_remove_tree(host.templates_fd, entry->d_name, e);
	}
	return r;
}

void template_done(void)
{
	struct template *t;

	pthread_mutex_lock(&template_lock);
	while ((t = list)) {
		list = t->next;
		template_put(t);
	}
	pthread_mutex_unlock(&template_lock);
}
