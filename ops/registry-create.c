// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/registry-create.c - defining sandboxes: a user's, a clone, one of the daemon's own */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/timefmt.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/registry-private.h"
#include "ops/serial.h"
#include "ops/steps.h"

/* What is not a user's plain new one. */
struct birth {
	const char *pin;  /* not NULL: it is hidden and of that version */
	const char *mark; /* of a clone; NULL: none */
};

/*
 * Make the directory and the first record. What is left of a failed one has no record and is swept.
 */
static int define_on_disk(const char *name, const struct birth *birth, const struct writer *w,
			  struct sbx **ret, struct err *e)
{
	char serial_name[16];
	uint32_t serial;
	struct sbx *s;
	int r = serial_take(&serial, e);

	if (r < 0)
		return r;
	(void)snprintf(serial_name, sizeof(serial_name), "%" PRIu32, serial);
	if (mkdirat(host.sandboxes_fd, serial_name, 0700) < 0)
		return err_sys(e, errno, "cannot make its directory");
	s = fault_point("sandbox-make", NULL, e) < 0 ? NULL : sbx_new(serial, e);
	if (s) {
		(void)snprintf(s->name, sizeof(s->name), "%s", name);
		s->uid = w->uid;
		s->gid = w->gid;
		s->mode = 0700;
		s->created_ms = wall_ms();
		s->level = LEVEL_NONE;
		s->hidden = s->gone = birth->pin != NULL;
		(void)snprintf(s->template_pin, sizeof(s->template_pin), "%s",
			       birth->pin ? birth->pin : "");
		(void)snprintf(s->cloning, sizeof(s->cloning), "%s",
			       birth->mark ? birth->mark : "");
	}
	if (s && steps_up(s, LEVEL_DEFINED, &(struct deadline){INT64_MAX, -1}, e) == 0 &&
	    file_sync_dir(host.sandboxes_fd, e) == 0) {
		*ret = s;
		return 0;
	}
	sbx_put(s);
	(void)file_remove_tree(host.sandboxes_fd, serial_name,
			       NULL); /* else the next start sweeps it */
	return e ? -e->code : -EIO;
}

int registry_create_clone(const char *name, const char *mark, const struct writer *w,
			  struct sbx **ret, struct err *e)
{
	const struct birth birth = {.mark = mark};
	struct sbx *s = NULL;
	int r = 0;

	if (!name_is_valid(name))
		return err_set(
			e, EINVAL,
			"%s is not a name: 1 to 63 of a-z A-Z 0-9 . _ -, a letter or digit first",
			name);
	pthread_mutex_lock(&registry_define_lock);
	if (registry_name_taken(name))
		r = err_set(e, EEXIST, "there is a sandbox %s", name);
	if (r == 0)
		r = define_on_disk(name, &birth, w, &s, e);
	if (r == 0 && s && registry_add(s) < 0) {
		(void)steps_down(s, LEVEL_NONE, NULL); /* else it is there after the next start */
		r = err_set(e, ENOMEM, "no memory");
	}
	pthread_mutex_unlock(&registry_define_lock);
	if (r < 0 || !s) {
		sbx_put(s);
		return r;
	}
	event_add(s->serial, name, "created", "%s", "");
	*ret = s;
	return 0;
}

int registry_create(const char *name, const struct writer *w, struct sbx **ret, struct err *e)
{
	return registry_create_clone(name, NULL, w, ret, e);
}

int registry_create_hidden(const char *name, const char *pin, struct sbx **ret, struct err *e)
{
	const struct writer own = {.uid = geteuid(), .gid = getegid()};
	const struct birth birth = {.pin = pin};
	struct sbx *s = NULL;
	int r = define_on_disk(name, &birth, &own, &s, e);

	if (r == 0 && s && registry_add(s) < 0) {
		(void)steps_down(s, LEVEL_NONE, NULL); /* else the next start does */
		r = err_set(e, ENOMEM, "no memory");
	}
	if (r < 0) {
		sbx_put(s);
		return r;
	}
	*ret = s;
	return 0;
}
