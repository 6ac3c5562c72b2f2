// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/warm-make.c - one image of memory: a hidden sandbox, from its beginning to its end
 *
 * How it works: what is saved is the guest of an ordinary start, with a token that is known to nobody and not used again. Its
 * balloon is blown up once and let go: the pages that it had are holes in the image, and the guest has all of its memory. Disk
 * and memory are copied while its vCPUs stand, and it ends there: nothing of it was ever in use.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "ops/data.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/lifecycle.h"
#include "ops/memory.h"
#include "ops/nested.h"
#include "ops/pool.h"
#include "ops/registry.h"
#include "ops/room.h"
#include "ops/settings.h"
#include "ops/steps.h"
#include "ops/warm-private.h"

enum {
	PREPARE_MS =
		60000, /* for the guest to write what it holds and drop what it need not have */
	BALLOON_MS = 20000,
	SPARE_MIB = 48, /* that a guest keeps beyond what it uses while its balloon is blown up */
	VMM_MS = 10000, /* for the VMM to stop its vCPUs */
	NICE = 19,
	PRUNE_MS = 10000, /* for an import to end */
};

struct making {
	struct sbx *s;
	const struct template_version *v;
};

/* Its threads are there by now; they give way to everybody else's. Best effort. */
void warm_be_nice(pid_t pid)
{
	AUTO_DIR dir = NULL;
	const struct dirent *entry;
	char path[40];
	uint64_t tid;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid); /* fits */
	if (file_open_list(AT_FDCWD, path, &dir, NULL) < 0)
		return;
	while (dir &&
	       (entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (parse_u64(entry->d_name, 1, INT32_MAX, &tid) == 0)
			(void)setpriority(PRIO_PROCESS, (id_t)tid, NICE);
}

/* Everything that it has taken once is zeroes again, as far as it gives it back; whatever fails only makes the image larger. */
static void make_small(struct sbx *s, const struct deadline *d)
{
	const struct vm_common *vm = vm_common(s->vm);
	struct deadline soon = deadline_within(d, BALLOON_MS);
	struct guest g = sbx_agent(s);
	uint64_t used = 0, keep;
	struct err e = {0};
	int r = guest_mem_used(&g, &soon, &used, &e);

	keep = (used >> 20) * 5 / 4 + SPARE_MIB;
	if (r == 0 && keep < vm->memory_mib) {
		r = vm->driver->balloon(s->vm, keep, &soon, NULL, &e);
		soon = deadline_within(d, BALLOON_MS);
		if (vm->driver->balloon(s->vm, vm->memory_mib, &soon, NULL, &e) < 0)
			r = -EIO;
	}
	if (r < 0)
		log_info("its memory was not made small: %s, ignoring", e.text);
}

/* Beside its memory: the disk's data at the same instant. */
static int copy_data(struct sbx *s, int memory_fd, const struct template_memory *m,
		     const struct deadline *d, struct err *e)
{
	AUTO_DATA_SPEC spec;
	AUTO_FD start = -1;
	int r = template_memory_start_dir(memory_fd, &start, e);

	data_spec(s, &spec);
	if (r == 0)
		r = sbx_store(s)->copy(&spec.volume, start, d, e);
	return r < 0 ? r : template_memory_seal(memory_fd, start, m, e);
}

/* What is saved takes at most all that the guest has used. */
static int check_room(struct sbx *s, struct err *e)
{
	struct volume_usage usage = {0};
	AUTO_DATA_SPEC spec;

	data_spec(s, &spec);
	(void)sbx_store(s)->usage(&spec.volume, &usage);
	return room_check((vm_common(s->vm)->memory_mib << 20) + usage.used_bytes, e);
}

static int save(struct sbx *s, const struct template_version *v, const struct deadline *d,
		struct err *e)
{
	struct template_memory m = {.disk_mib = s->data_mib};
	struct template_memory_fresh fresh;
	struct deadline soon = deadline_within(d, VMM_MS);
	int r = template_memory_begin(v, &fresh, e);

	(void)snprintf(m.store, sizeof(m.store), "%s", sbx_store(s)->name);
	if (r == 0)
		r = vm_driver_of(s->vm)->freeze(s->vm, &soon, e);
	if (r == 0)
		r = fault_point("warm-save", d, e);
	if (r == 0)
		r = memory_save(s, fresh.path, fresh.fd, d, &m.saved, e);
	if (r == 0)
		r = copy_data(s, fresh.fd, &m, d, e);
	if (r == 0)
		r = template_memory_finish(&fresh, v, &m, d, e);
	template_memory_fresh_done(&fresh);
	return r;
}

/* With the hidden sandbox's turn. */
static int make_run(void *arg, const struct deadline *d, struct err *e)
{
	const struct making *m = arg;
	struct deadline soon;
	struct err why = {0};
	struct guest g;
	int r = lifecycle_start(m->s, d, NULL, e);

	if (r == 0)
		r = check_room(m->s, e);
	if (r < 0)
		return r;
	g = sbx_agent(m->s);
	soon = deadline_within(d, PREPARE_MS);
	if (guest_prepare(&g, &soon, &why) < 0)
		log_info("the guest did not make itself small: %s, ignoring", why.text);
	make_small(m->s, d);
	if (deadline_cancelled(d))
		return err_set(e, ECANCELED, "cancelled");
	return save(m->s, m->v, d, e);
}

static int destroy_run(void *arg, const struct deadline *d, struct err *e)
{
	(void)d;
	return lifecycle_destroy(arg, e);
}

int warm_hidden_new(const char *pin, struct sbx **ret, struct err *e)
{
	char name[NAME_MAX_LEN + 1];

	(void)snprintf(name, sizeof(name), "warm-%.*s",
		       (int)(strcspn(pin, "@") < 40 ? strcspn(pin, "@") : 40), pin);
	return registry_create_hidden(name, pin, ret, e);
}

static int make_with(const struct template_version *v, const struct deadline *d, struct err *e)
{
	const struct deadline never = {INT64_MAX, -1};
	struct making m = {.v = v};
	struct err why = {0};
	int r = warm_hidden_new(v->pin, &m.s, e);

	if (r < 0 || !m.s)
		return r;
	r = nested_turn(&m.s->lane, make_run, &m, d, e);
	if (nested_turn(&m.s->lane, destroy_run, m.s, &never, &why) < 0)
		log_warning("the sandbox that it was made with cannot be removed: %s", why.text);
	sbx_put(m.s);
	return r;
}

static int prune_run(void *arg, const struct deadline *d, struct err *e)
{
	(void)d;
	(void)e;
	template_prune(arg);
	return 0;
}

/* The hidden sandbox may have been the last one that needed its version. */
static void prune(const char *pin)
{
	const struct deadline d = deadline_in(PRUNE_MS, -1);
	char name[NAME_MAX_LEN + 1];
	struct template_view view;
	struct template *t;
	struct err e = {0};

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(pin, "@"), pin);
	t = template_find(name);
	if (!t)
		return;
	template_view(t, &view);
	if (strcmp(view.digest, pin + strlen(name) + 1) != 0)
		(void)nested_turn(template_lane(t), prune_run, t, &d,
				  &e); /* else the next import does */
	template_put(t);
}

/* Fill what is ready before anybody asks. */
static int fill(const struct template_version *v, const struct deadline *d, struct err *e)
{
	int r = 0;

	while (r == 0 && pool_lacks(v))
		r = pool_add(v, d, e);
	return r;
}

static int make(const struct template_version *v, const struct deadline *d, struct err *e)
{
	int r = fault_point("warm-make", d, e);

	return r < 0 || warm_is_ready(v) ? r : make_with(v, d, e);
}

/* Do @fn with the version as it is now: what has been made since is in it. */
static int with_version(const char *pin,
			int (*fn)(const struct template_version *v, const struct deadline *d,
				  struct err *e),
			const struct deadline *d, struct err *e)
{
	AUTO_FREE struct template_version *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return err_set(e, ENOMEM, "no memory");
	r = template_version_find(pin, v, e);
	if (r < 0)
		return r;
	r = fn(v, d, e);
	template_version_done(v);
	return r;
}

int warm_make(const char *pin, const struct deadline *d, struct err *e)
{
	int r = with_version(pin, make, d, e);

	if (r == 0 && settings.pool > 0)
		r = with_version(pin, fill, d, e);
	prune(pin);
	return r;
}
