/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-view.c - what readers see of a template, and who needs it */
#include <string.h>

#include "ops/registry.h"
#include "ops/template-private.h"

static bool pin_matches(const char *pin, const char *name, const char *digest)
{
	size_t len = strlen(name);

	return strncmp(pin, name, len) == 0 && pin[len] == '@' &&
	       (!digest || strcmp(pin + len + 1, digest) == 0);
}

unsigned template_users(const struct template *t, const char *digest)
{
	unsigned users = 0;
	uint32_t after = 0;
	struct sbx *s;

	while ((s = registry_next_any(after))) {
		after = s->serial;
		pthread_mutex_lock(&s->lock);
		users += pin_matches(s->template_pin, t->name, digest);
		pthread_mutex_unlock(&s->lock);
		sbx_put(s);
	}
	return users;
}

void template_view(struct template *t, struct template_view *ret)
{
	*ret = (struct template_view){.used_by = template_users(t, NULL)};
	pthread_mutex_lock(&template_lock);
	ret->serial = t->serial;
	memcpy(ret->name, t->name, sizeof(ret->name));
	memcpy(ret->digest, t->digest, sizeof(ret->digest));
	memcpy(ret->last_error, t->last_error, sizeof(ret->last_error));
	ret->state = t->importing ? "importing" : t->digest[0] ? "ready" : "empty";
	ret->uid = t->uid;
	ret->gid = t->gid;
	ret->mode = t->mode;
	ret->created_ms = t->created_ms;
	ret->imported_ms = t->imported_ms;
	for (const struct version *v = t->versions; v; v = v->next) {
		ret->disk_bytes += v->disk_bytes;
		if (strcmp(v->digest, t->digest) == 0)
			ret->rootfs_bytes = v->rootfs_bytes;
	}
	pthread_mutex_unlock(&template_lock);
}

struct template_owner template_owner(struct template *t)
{
	struct template_owner owner;

	pthread_mutex_lock(&template_lock);
	owner = (struct template_owner){t->uid, t->gid, t->mode, t->created_ms};
	pthread_mutex_unlock(&template_lock);
	return owner;
}
