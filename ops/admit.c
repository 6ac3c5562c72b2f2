// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/admit.c - what must hold before a VM is built, and what is counted for it */
#include "ops/admit.h"

#include <errno.h>
#include <string.h>

#include "ops/host.h"
#include "ops/memory.h"
#include "ops/room.h"
#include "ops/steps.h"
#include "ops/template.h"
#include "ops/vmm.h"
#include "ops/warm.h"
#include "vm/vm.h"

static int promise_memory(struct sbx *s, uint64_t mib, struct err *e)
{
	int r = host_promise(mib, e);

	if (r == 0)
		s->promised_mib = mib;
	return r;
}

static uint64_t memory_set_mib(struct sbx *s)
{
	uint64_t mib;

	pthread_mutex_lock(&s->lock);
	mib = config_number(&s->config, &s->version->defaults, CONFIG_MEMORY_MB);
	pthread_mutex_unlock(&s->lock);
	return mib;
}

/* The drivers are there, and what it starts from. */
static int check_host(struct sbx *s, bool boots, struct err *e)
{
	const struct vm_host *vmm;
	int r;

	if (!sbx_store(s))
		return err_set(e, ENOTSUP, "%s", host.volume_why);
	if (!host.net)
		return err_set(e, ENOTSUP, "%s", host.net_why);
	sbx_drop_version(s);
	r = sbx_load_version(s, e);
	if (r < 0)
		return r;
	return boots ? vmm_of_setting(s, &vmm, e) : vmm_choose(s, &vmm, e);
}

static int start(struct sbx *s, struct err *e)
{
	uint64_t disk, had;
	int r = check_host(s, true, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	disk = template_disk_mb(&s->config, s->version);
	had = s->data_mib;
	pthread_mutex_unlock(&s->lock);
	if (disk < had)
		return err_set(e, EINVAL,
			       "disk_mb=%llu is less than the %llu that its disk has; set disk_mb",
			       (unsigned long long)disk, (unsigned long long)had);
	if (disk << 20 < s->version->rootfs_bytes)
		return err_set(
			e, EINVAL, "disk_mb=%llu is less than the template's %llu; set disk_mb",
			(unsigned long long)disk,
			(unsigned long long)((s->version->rootfs_bytes + (1 << 20) - 1) >> 20));
	r = room_promise(s, disk << 20, e);
	return r < 0 ? r : promise_memory(s, memory_set_mib(s), e);
}

static int resume(struct sbx *s, struct err *e)
{
	int r = check_host(s, false, e);

	if (r == 0 && strcmp(s->memory.net, host.net->name) != 0)
		r = err_set(
			e, ENOTSUP,
			"its memory was saved with the network %s, and this daemon has %s: one with --net %s "
			"can go on with it",
			s->memory.net, host.net->name, s->memory.net);
	if (r == 0)
		r = steps_check_saved(s, e);
	if (r == 0 && s->data_mib)
		r = room_promise(s, s->data_mib << 20, e);
	return r < 0 ? r : promise_memory(s, s->memory.mib, e);
}

/* What the daemon makes for itself gives way to whoever lacks what it has. */
static int take(struct sbx *s, int (*promise)(struct sbx *s, struct err *e), struct err *e)
{
	int r = promise(s, e);

	if ((r != -ENOMEM && r != -ENOSPC) || s->hidden || !warm_yield())
		return r;
	admit_drop(s);
	return promise(s, e);
}

int admit_start(struct sbx *s, struct err *e)
{
	return take(s, start, e);
}

int admit_resume(struct sbx *s, struct err *e)
{
	return take(s, resume, e);
}

void admit_adopted(struct sbx *s)
{
	uint64_t mib = s->vm ? vm_common(s->vm)->memory_mib : 0;

	s->promised_mib = mib ? mib : memory_set_mib(s);
	host_promise_running(s->promised_mib);
}

void admit_drop(struct sbx *s)
{
	host_promise_drop(s->promised_mib);
	s->promised_mib = 0;
	if (s->level < LEVEL_DATA)
		(void)room_promise(s, 0, NULL); /* nothing always can be promised */
}
