// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/commit-full.c - a sandbox's memory for a template
 *
 * How it works: its guest is not asked to do anything: what is kept goes on as if nothing had been. One that runs stands for as long as its
 * changes are copied and its memory is saved. One that is frozen stands anyway, so only its memory is written; one
 * that is paused has it saved already, and shares it.
 */
#include "ops/commit-full.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "ops/memory.h"
#include "ops/quiesce.h"
#include "ops/steps.h"
#include "vm/vm.h"

int commit_full_check(struct sbx *s, struct err *e)
{
	enum sbx_state state = sbx_state(s);

	if (state == SBX_RUNNING || state == SBX_FROZEN)
		return 0;
	if (state == SBX_PAUSED)
		return memory_check(s, e);
	return err_set(e, EINVAL, "it is %s and has no memory to keep; say image",
		       sbx_state_name(state));
}

uint64_t commit_full_bytes(const struct sbx *s)
{
	return s->vm ? vm_common(s->vm)->memory_mib << 20 : 0;
}

/* Where it goes. */
struct keep {
	struct sbx *s;
	int dir_fd, fd; /* the directory, and `memory` in it */
	const char *dir;
	const struct deadline *d;
};

static int save(const struct keep *k, struct memory_saved *ret, struct err *e)
{
	char path[400];
	int r = fault_point("commit-memory", k->d, e);

	(void)snprintf(path, sizeof(path), "%s/" MEMORY_DIR, k->dir); /* fits: see STATE_DIR_MAX */
	return r < 0 ? r : memory_save(k->s, path, k->fd, k->d, ret, e);
}

/* Data and memory of one moment. */
static int save_running(const struct keep *k, const struct volume_spec *spec,
			struct memory_saved *ret, struct err *e)
{
	struct quiesce q;
	int r = quiesce_stand(k->s, k->d, &q, e), end;

	if (r < 0)
		return r;
	r = sbx_store(k->s)->copy(spec, k->dir_fd, k->d, e);
	if (r == 0)
		r = save(k, ret, e);
	end = quiesce_end(k->s, &q, r < 0 ? NULL : e);
	return r < 0 ? r : end;
}

static int share(const struct keep *k, struct memory_saved *ret, struct err *e)
{
	AUTO_FD from = sbx_open(k->s, k->s->memory.dir, O_RDONLY | O_DIRECTORY);
	int r = fault_point("commit-memory", k->d, e);

	if (r < 0)
		return r;
	if (from < 0)
		return err_sys(e, errno, "cannot open its saved memory");
	*ret = k->s->memory;
	return memory_link(from, k->fd, e);
}

int commit_full_keep(struct sbx *s, const struct volume_spec *spec, const struct vm_saved *to,
		     const struct deadline *d, struct template_memory *ret, struct err *e)
{
	struct keep k = {.s = s, .dir_fd = to->dir_fd, .dir = to->dir, .d = d};
	enum sbx_state state = sbx_state(s);
	AUTO_FD fd = -1;
	int r;

	*ret = (struct template_memory){.full = true, .disk_mib = spec->size_bytes >> 20};
	if (mkdirat(to->dir_fd, MEMORY_DIR, 0700) < 0)
		return err_sys(e, errno, "cannot make a directory for its memory");
	r = file_open_dir(to->dir_fd, MEMORY_DIR, &fd, e);
	if (r < 0)
		return r;
	k.fd = fd;
	if (state == SBX_RUNNING)
		return save_running(&k, spec, &ret->saved, e);
	return state == SBX_FROZEN ? save(&k, &ret->saved, e) : share(&k, &ret->saved, e);
}

int commit_full_seal(int dir_fd, const struct template_memory *m, int *ret_fd, struct err *e)
{
	AUTO_FD fd = -1;
	AUTO_FD start = -1;
	int r = file_open_dir(dir_fd, MEMORY_DIR, &fd, e);

	if (r == 0)
		r = template_memory_start_dir(fd, &start, e);
	if (r == 0)
		r = template_memory_seal(fd, start, m, e);
	if (r == 0)
		*ret_fd = steal_fd(&fd);
	return r;
}
