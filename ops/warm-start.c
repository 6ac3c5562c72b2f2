// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/warm-start.c - a first start that goes on from its template's memory
 *
 * How it works: the memory is given to the sandbox for this start alone (s->warm): its record never names it, so that what a crash
 * leaves is as of a start that boots. The steps do the rest as in a resume. If they cannot, they are undone to where
 * they began, and the start boots within the time that it has left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/memory.h"
#include "ops/pool.h"
#include "ops/room.h"
#include "ops/settings.h"
#include "ops/steps.h"
#include "ops/vmm.h"
#include "ops/warm-private.h"

enum {
	SHARE_OF_TIME =
		3, /* a guest that does not answer after so much of a start's time is booted in the rest */
};

struct warm_shape warm_shape(const struct config *own, const struct template_version *v)
{
	static const struct config none;
	const struct config *c = own ? own : &none;

	return (struct warm_shape){
		.vcpus = config_number(c, &v->defaults, CONFIG_VCPUS),
		.memory_mib = config_number(c, &v->defaults, CONFIG_MEMORY_MB),
		.disk_mib = template_disk_mb(c, v),
	};
}

bool warm_same_shape(const struct warm_shape *a, const struct warm_shape *b)
{
	return a->vcpus == b->vcpus && a->memory_mib == b->memory_mib && a->disk_mib == b->disk_mib;
}

static struct warm_shape memory_shape(const struct template_memory *m)
{
	return (struct warm_shape){m->saved.vcpus, m->saved.mib, m->disk_mib};
}

bool warm_is_usual(const struct template_version *v)
{
	struct warm_shape now = warm_shape(NULL, v), has = memory_shape(&v->memory);

	return v->memory.saved.dir[0] && warm_same_shape(&now, &has);
}

bool warm_is_ready(const struct template_version *v)
{
	return warm_is_usual(v) || (v->memory.saved.dir[0] && v->memory.full);
}

/* Do its settings and this host's drivers allow it? */
static bool fits(struct sbx *s, const struct template_memory *m)
{
	const struct template_version *v = s->version;
	struct warm_shape own, has = memory_shape(m);
	const struct vm_host *vmm;
	bool is_off;

	if (!m->saved.dir[0] || (settings.warm == SETTING_NO && !m->full))
		return false;
	pthread_mutex_lock(&s->lock);
	own = warm_shape(&s->config, v);
	is_off = strcmp(config_effective(&s->config, &v->defaults, CONFIG_WARM), "no") == 0;
	pthread_mutex_unlock(&s->lock);
	if (is_off || !warm_same_shape(&own, &has))
		return false;
	if (m->store[0] && strcmp(sbx_store(s)->name, m->store) != 0)
		return false;
	return vmm_choose(s, &vmm, NULL) == 0 && strcmp(vmm->driver->name, m->saved.vmm) == 0;
}

int warm_give(struct sbx *s, const struct deadline *d, struct err *e)
{
	const struct template_version *v = s->version;
	struct memory_saved m = v->memory.saved;
	AUTO_FD fd = -1;
	int r = fault_point("warm-start", d, e);

	if (r == 0)
		r = template_memory_check(&v->memory, v->memory_dir, e);
	if (r == 0)
		r = file_open_dir(AT_FDCWD, v->memory_dir, &fd, e);
	if (r < 0)
		return r;
	m.foreign = true;
	m.shared = false;
	s->warm = true;
	r = memory_give(s, fd, &m, e);
	if (r < 0)
		s->warm = false;
	return r;
}

/* Its memory is not needed any more, however it went. */
static void take_back(struct sbx *s)
{
	struct memory_saved own = s->memory;

	pthread_mutex_lock(&s->lock);
	s->memory = (struct memory_saved){0};
	pthread_mutex_unlock(&s->lock);
	memory_remove(s, own.dir);
	s->resumed = false; /* what the journal says of it is of no memory that the record names */
	s->warm = false;
}

/* What says nothing about the memory itself. */
static bool is_circumstance(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -ENOMEM || r == -ECANCELED || r == -EMFILE;
}

/* The undoing has dropped what was promised for its data. */
static int promise_again(struct sbx *s, struct err *e)
{
	struct warm_shape own;

	pthread_mutex_lock(&s->lock);
	own = warm_shape(&s->config, s->version);
	pthread_mutex_unlock(&s->lock);
	return room_promise(s, own.disk_mib << 20, e);
}

static int boot_instead(struct sbx *s, int r, const struct deadline *d, struct err *why,
			struct err *e)
{
	if (s->level > LEVEL_DEFINED || deadline_cancelled(d) || deadline_left_ms(d) == 0) {
		if (e)
			*e = *why;
		return r;
	}
	log_warning("it does not go on from its template's memory: %s; it boots", why->text);
	if (!is_circumstance(r))
		template_memory_bad(s->version);
	r = promise_again(s, e);
	return r < 0 ? r : WARM_BOOT;
}

static int go_loaded(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = warm_give(s, d, e);

	if (r < 0)
		return r;
	r = steps_up(s, LEVEL_RUNNING, d, e);
	take_back(s);
	return r;
}

/* Return: 0; -ENOENT: there is none that goes on, and all is as before; else the undoing failed, or there is no time left. */
static int go_ready(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct err undo = {0};
	int r = pool_take(s, d, e);

	if (r == -ENOENT)
		return r;
	if (r == 0)
		r = steps_up(s, LEVEL_RUNNING, d, e);
	take_back(s);
	if (r == 0)
		return 0;
	if (steps_down(s, LEVEL_DEFINED, &undo) < 0)
		return err_set(e, EIO, "%s", undo.text);
	if (deadline_cancelled(d) || deadline_left_ms(d) == 0)
		return r;
	log_info("what was ready does not go on: %s, ignoring", e->text);
	r = promise_again(s, e);
	return r < 0 ? r : -ENOENT;
}

int warm_start(struct sbx *s, const struct deadline *d, struct err *e)
{
	int left = deadline_left_ms(d), r;
	struct deadline soon = left < 0 ? *d : deadline_within(d, left / SHARE_OF_TIME);
	char name[sizeof(s->name)];
	struct err why = {0};

	if (s->hidden || s->level != LEVEL_DEFINED || !fits(s, &s->version->memory))
		return WARM_BOOT;
	r = go_ready(s, &soon, &why);
	if (r == -ENOENT)
		r = go_loaded(s, &soon, &why);
	if (r < 0)
		return boot_instead(s, r, d, &why, e);
	sbx_name(s, name);
	event_add(s->serial, name, "restored", ",\"template\":\"%s\"", s->version->pin);
	return 0;
}

int warm_data(struct sbx *s, const struct volume_spec *spec, const struct deadline *d,
	      struct err *e)
{
	const struct template_version *v = s->version;
	struct volume_spec from = *spec;
	char dir[sizeof(v->memory_dir) + sizeof(TEMPLATE_MEMORY_START)];
	AUTO_FD fd = -1;
	int r;

	if (!v->memory.store[0]) /* its disk is the template's image */
		return s->store->create(spec, d, e);
	(void)snprintf(dir, sizeof(dir), "%s/" TEMPLATE_MEMORY_START, v->memory_dir);
	r = file_open_dir(AT_FDCWD, dir, &fd, e);
	if (r == 0)
		r = s->store->destroy(spec, e); /* of a start that a crash cut short */
	if (r < 0)
		return r;
	from.dir = dir;
	from.dir_fd = fd;
	return s->store->copy(&from, spec->dir_fd, d, e);
}
