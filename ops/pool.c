// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/pool.c - making, handing over and giving up sandboxes that are ready before anybody asks */
#include "ops/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/admit.h"
#include "ops/data.h"
#include "ops/journal.h"
#include "ops/lifecycle.h"
#include "ops/nested.h"
#include "ops/record.h"
#include "ops/registry.h"
#include "ops/sampler.h"
#include "ops/settings.h"
#include "ops/slots.h"
#include "ops/steps-private.h"
#include "ops/warm-private.h"
#include "vm/vm.h"

/* The files that go with it, beside its data. The VMM has them open. */
static const char *const logs[] = {"console.log", "vmm.log"};

struct ready {
	struct ready *next;
	struct sbx *s; /* a reference */
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER; /* memory only; taken last */
static struct ready *pool;

/* ---- the list -------------------------------------------------------------------------------------------- */

static bool is_of_template(const struct sbx *s, const char *name)
{
	size_t len = strlen(name);

	return strncmp(s->template_pin, name, len) == 0 && s->template_pin[len] == '@';
}

/* The first that @fits says yes to is the caller's; NULL. */
static struct sbx *unlist(bool (*fits)(const struct sbx *s, const void *arg), const void *arg)
{
	struct ready **at = &pool, *found;
	struct sbx *s = NULL;

	pthread_mutex_lock(&pool_lock);
	while (*at && !fits((*at)->s, arg))
		at = &(*at)->next;
	found = *at;
	if (found) {
		*at = found->next;
		s = found->s;
	}
	pthread_mutex_unlock(&pool_lock);
	free(found);
	return s;
}

unsigned pool_count(void)
{
	unsigned n = 0;

	pthread_mutex_lock(&pool_lock);
	for (const struct ready *r = pool; r; r = r->next)
		n++;
	pthread_mutex_unlock(&pool_lock);
	return n;
}

static unsigned count_of(const char *pin)
{
	unsigned n = 0;

	pthread_mutex_lock(&pool_lock);
	for (const struct ready *r = pool; r; r = r->next)
		n += strcmp(r->s->template_pin, pin) == 0;
	pthread_mutex_unlock(&pool_lock);
	return n;
}

/* How many there should be. */
static unsigned pool_wanted(void)
{
	return settings.warm == SETTING_NO ? 0 : (unsigned)settings.pool;
}

bool pool_lacks(const struct template_version *v)
{
	const struct vm_driver *vmm = vm_driver_named(v->memory.saved.vmm);

	return warm_is_usual(v) && vmm && !vmm->keeps_dirs && count_of(v->pin) < pool_wanted();
}

static int list_add(struct sbx *s, struct err *e)
{
	struct ready *r = calloc(1, sizeof(*r)), **at;

	if (!r)
		return err_set(e, ENOMEM, "no memory");
	r->s = s;
	pthread_mutex_lock(&pool_lock);
	for (at = &pool; *at; at = &(*at)->next)
		;
	*at = r;
	pthread_mutex_unlock(&pool_lock);
	return 0;
}

/* ---- giving up ------------------------------------------------------------------------------------------- */

static int destroy_run(void *arg, const struct deadline *d, struct err *e)
{
	(void)d;
	return lifecycle_destroy(arg, e);
}

/* It holds what it holds until this returns; takes the reference. */
static void destroy(struct sbx *s)
{
	const struct deadline never = {INT64_MAX, -1};
	struct err e = {0};

	if (nested_turn(&s->lane, destroy_run, s, &never, &e) < 0)
		log_warning("a ready sandbox cannot be removed: %s", e.text);
	sbx_put(s);
}

static bool of_template(const struct sbx *s, const void *name)
{
	return !name || is_of_template(s, name);
}

bool pool_clear(const char *template_name)
{
	bool any = false;
	struct sbx *s;

	while ((s = unlist(of_template, template_name))) {
		any = true;
		destroy(s);
	}
	return any;
}

static bool of_any(const struct sbx *s, const void *arg)
{
	(void)s;
	(void)arg;
	return true;
}

void pool_trim(void)
{
	struct sbx *s;

	while (pool_count() > pool_wanted() && (s = unlist(of_any, NULL)))
		destroy(s);
}

static bool of_another(const struct sbx *s, const void *pin)
{
	return strcmp(s->template_pin, pin) != 0;
}

/* ---- making ---------------------------------------------------------------------------------------------- */

/* With the hidden sandbox's turn. */
static int make_run(void *arg, const struct deadline *d, struct err *e)
{
	struct sbx *s = arg;
	int r = fault_point("pool-make", d, e);

	if (r == 0)
		r = admit_start(s, e);
	if (r == 0)
		r = warm_give(s, d, e);
	if (r == 0)
		r = steps_up(s, LEVEL_VM, d, e);
	if (r < 0)
		admit_drop(s);
	return r;
}

int pool_add(const struct template_version *v, const struct deadline *d, struct err *e)
{
	struct sbx *s, *other;
	int r;

	while (pool_count() >= pool_wanted() && (other = unlist(of_another, v->pin)))
		destroy(other);
	r = warm_hidden_new(v->pin, &s, e);
	if (r < 0)
		return r;
	r = nested_turn(&s->lane, make_run, s, d, e);
	if (r == 0)
		r = list_add(s, e);
	if (r < 0)
		destroy(s);
	else
		pool_trim(); /* fewer may be wanted meanwhile */
	return r;
}

/* ---- handing over ---------------------------------------------------------------------------------------- */

static bool has_ended(const struct sbx *s)
{
	struct pollfd fd = {.fd = vm_common(s->vm)->pidfd, .events = POLLIN};

	return poll(&fd, 1, 0) != 0;
}

static bool of_version(const struct sbx *s, const void *pin)
{
	return strcmp(s->template_pin, pin) == 0;
}

/* A log of its own from before is kept: then it does without a ready one. */
static bool has_logs(const struct sbx *s)
{
	AUTO_FD fd = sbx_open(s, logs[0], O_RDONLY);

	return fd >= 0;
}

/* Data and logs go where the sandbox's own are. */
static int move_files(struct sbx *s, struct sbx *from, struct err *e)
{
	AUTO_FD to_dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	AUTO_FD from_dir = sbx_open(from, ".", O_RDONLY | O_DIRECTORY);
	AUTO_FD data_dir = sbx_open(s, s->data_dir[0] ? s->data_dir : ".", O_RDONLY | O_DIRECTORY);
	const char *data = from_dir < 0 ? NULL : from->store->data_name(from_dir);

	if (to_dir < 0 || data_dir < 0 || !data)
		return err_set(e, EIO, "what is ready has no data");
	for (size_t i = 0; i < sizeof(logs) / sizeof(*logs); i++)
		if (renameat(from_dir, logs[i], to_dir, logs[i]) < 0)
			return err_sys(e, errno, "cannot take its %s", logs[i]);
	if (renameat(from_dir, data, data_dir, data) < 0)
		return err_sys(e, errno, "cannot take its data");
	return file_sync_dir(data_dir, e);
}

/* What its steps hold, from one to the other, in memory. */
static void swap_over(struct sbx *s, struct sbx *from)
{
	s->level = from->level;
	s->made_as = from->made_as;
	s->volume = steal_ptr(&from->volume);
	s->slot = from->slot;
	s->vm = steal_ptr(&from->vm);
	s->vm_id = from->vm_id;
	s->console_start = 0;
	s->warm = true;
	pthread_mutex_lock(&s->lock);
	s->vmm = from->vmm;
	s->memory = from->memory;
	pthread_mutex_unlock(&s->lock);
	from->level = LEVEL_DEFINED;
	from->vm_id = (struct proc_id){0};
	slots_none(&from->slot);
	step_show_slot(s);
	step_show_vm(s);
}

static void data_take(struct sbx *s, const struct sbx *from)
{
	pthread_mutex_lock(&s->lock);
	s->store = from->store;
	s->data_mib = from->data_mib;
	pthread_mutex_unlock(&s->lock);
}

static int hand_over(struct sbx *s, struct sbx *from, const struct deadline *d, struct err *e)
{
	int r = fault_point("pool-take", NULL, e);

	if (r < 0)
		return r;
	/* From here on it is not clear without the journal whose the data is: a step down removes it. */
	s->level = LEVEL_DATA;
	r = journal_write(s, e);
	data_take(s, from);
	if (r == 0)
		r = move_files(s, from, e);
	if (r == 0)
		r = record_save(s, e);
	if (r == 0)
		r = fault_point("pool-commit", NULL, e);
	if (r < 0)
		return r;
	swap_over(s, from);
	r = journal_write(s, e);
	if (journal_write(from, NULL) < 0)
		log_info(
			"the journal of what was ready cannot be written, ignoring: it is removed");
	admit_drop(from);
	sampler_add(s, false);
	return r < 0 ? r : step_apply_network(s, d, e);
}

int pool_take(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct sbx *from = NULL;
	struct err why = {0};
	int r;

	while (!from && !has_logs(s)) {
		from = unlist(of_version, s->template_pin);
		if (!from)
			break;
		if (has_ended(from)) {
			destroy(from);
			from = NULL;
		}
	}
	if (!from)
		return -ENOENT;
	r = hand_over(s, from, d, e);
	if (lifecycle_destroy_later(from, &why) < 0)
		log_warning("%s, ignoring: the next start removes what is left", why.text);
	sbx_put(from);
	return r;
}
