/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-view.c - what readers see of a template, and who needs it */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ops/registry.h"
#include "ops/snapshot.h"
#include "ops/template-private.h"
#include "ops/warm.h"

static bool pin_matches(const char *pin, const char *name, const char *digest)
{
	size_t len = strlen(name);

	return strncmp(pin, name, len) == 0 && pin[len] == '@' &&
	       (!digest || strcmp(pin + len + 1, digest) == 0);
}

unsigned template_users(const struct template *t, const char *digest)
{
	char pin[NAME_MAX_LEN + 1 + 13];
	unsigned users = 0;
	uint32_t after = 0;
	struct sbx *s;

	(void)snprintf(pin, sizeof(pin), "%s@%s", t->name, digest ? digest : "");
	while ((s = registry_next_any(after))) {
		after = s->serial;
		if (s->hidden && !digest) { /* it goes before its template does */
			sbx_put(s);
			continue;
		}
		pthread_mutex_lock(&s->lock); /* for both: a rollback makes the one the other */
		users += pin_matches(s->template_pin, t->name, digest) || snapshot_pins(s, pin) > 0;
		pthread_mutex_unlock(&s->lock);
		sbx_put(s);
	}
	return users;
}

void template_view(struct template *t, struct template_view *ret)
{
	*ret = (struct template_view){.used_by = template_users(t, NULL), .warm = "none"};
	pthread_mutex_lock(&template_lock);
	ret->serial = t->serial;
	memcpy(ret->name, t->name, sizeof(ret->name));
	memcpy(ret->digest, t->digest, sizeof(ret->digest));
	memcpy(ret->last_error, t->last_error, sizeof(ret->last_error));
	ret->state = t->doing ? t->doing : t->digest[0] ? "ready" : "empty";
	ret->uid = t->uid;
	ret->gid = t->gid;
	ret->mode = t->mode;
	ret->created_ms = t->created_ms;
	ret->imported_ms = t->imported_ms;
	ret->source = t->source;
	ret->pull_bytes = t->pull_bytes;
	ret->pull_total = t->pull_total;
	ret->checked_ms = t->checked_ms;
	for (const struct version *v = t->versions; v; v = v->next) {
		ret->disk_bytes += v->disk_bytes + v->memory_bytes;
		if (strcmp(v->digest, t->digest) != 0)
			continue;
		ret->rootfs_bytes = v->rootfs_bytes;
		ret->warm_bytes = v->memory_bytes;
		if (v->memory.saved.dir[0] && !v->memory_bad)
			ret->warm = v->memory.full ? "full" : "ready";
	}
	pthread_mutex_unlock(&template_lock);
	if (warm_is_making(ret->name))
		ret->warm = "making";
}

struct template_owner template_owner(struct template *t)
{
	struct template_owner owner;

	pthread_mutex_lock(&template_lock);
	owner = (struct template_owner){t->uid, t->gid, t->mode, t->created_ms};
	pthread_mutex_unlock(&template_lock);
	return owner;
}

int template_version_like(const char *pin, struct template_version *ret, struct err *e)
{
	const char *digest = strchr(pin, '@');
	char like[NAME_MAX_LEN + 1 + 13];
	struct template *t;
	uint32_t after = 0;
	int r;

	if (!digest)
		return err_set(e, EINVAL, "%s names no version", pin);
	r = template_version_find(pin, ret, NULL);
	while (r == -ENOENT && (t = template_next(after))) {
		after = t->serial;
		(void)snprintf(like, sizeof(like), "%s%s", t->name, digest);
		template_put(t);
		r = template_version_find(like, ret, NULL);
	}
	if (r == -ENOENT)
		return err_set(
			e, ENOENT,
			"the template version %s is not here: import the same files as on the host that it comes from",
			pin);
	return r < 0 ? err_set(e, -r, "no memory") : 0;
}
