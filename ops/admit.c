// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/admit.c - what must hold before a VM is built, and what is counted for it */
#include "ops/admit.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "ops/host.h"
#include "ops/memory.h"
#include "ops/room.h"
#include "ops/steps.h"
#include "ops/template.h"
#include "ops/vmm.h"
#include "ops/warm.h"
#include "vm/vm.h"

/* What a VM takes of the host beside its disk. */
struct size {
	uint64_t mib;
	unsigned vcpus;
};

static atomic_uint vcpus_promised;

unsigned admit_vcpus(void)
{
	return atomic_load(&vcpus_promised);
}

/* Its memory has been counted; what it had before is not any more. */
static void counted(struct sbx *s, const struct size *size)
{
	host_promise_drop(s->promised_mib);
	atomic_fetch_add(&vcpus_promised, size->vcpus);
	atomic_fetch_sub(&vcpus_promised, s->promised_vcpus);
	s->promised_mib = size->mib;
	s->promised_vcpus = size->vcpus;
}

static int promise(struct sbx *s, const struct size *size, struct err *e)
{
	int r = host_promise(size->mib, e);

	if (r == 0)
		counted(s, size);
	return r;
}

static struct size size_set(struct sbx *s)
{
	const struct config *base = s->version ? &s->version->defaults : NULL;
	struct size size;

	pthread_mutex_lock(&s->lock);
	size.mib = config_number(&s->config, base, CONFIG_MEMORY_MB);
	size.vcpus = (unsigned)config_number(&s->config, base, CONFIG_VCPUS);
	pthread_mutex_unlock(&s->lock);
	return size;
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

int admit_disk(struct sbx *s, uint64_t *ret_mib, struct err *e)
{
	uint64_t disk, had;

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
	*ret_mib = disk;
	return 0;
}

static int start(struct sbx *s, struct err *e)
{
	uint64_t disk = 0;
	struct size size;
	int r = check_host(s, true, e);

	if (r == 0)
		r = admit_disk(s, &disk, e);
	if (r == 0)
		r = room_promise(s, disk << 20, e);
	size = size_set(s);
	return r < 0 ? r : promise(s, &size, e);
}

static int resume(struct sbx *s, struct err *e)
{
	const struct size size = {.mib = s->memory.mib, .vcpus = s->memory.vcpus};
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
	return r < 0 ? r : promise(s, &size, e);
}

/* What the daemon makes for itself gives way to whoever lacks what it has. */
static int take(struct sbx *s, int (*all)(struct sbx *s, struct err *e), struct err *e)
{
	int r = all(s, e);

	if ((r != -ENOMEM && r != -ENOSPC) || s->hidden || !warm_yield())
		return r;
	admit_drop(s);
	return all(s, e);
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
	struct size size = size_set(s);

	if (s->vm) {
		const struct vm_common *vm = vm_common(s->vm);

		size.mib = vm->memory_mib ? vm->memory_mib : size.mib;
		size.vcpus = vm->vcpus ? vm->vcpus : size.vcpus;
	}
	host_promise_running(size.mib);
	counted(s, &size);
}

void admit_drop(struct sbx *s)
{
	const struct size none = {0};

	counted(s, &none);
	if (s->level < LEVEL_DATA)
		(void)room_promise(s, 0, NULL); /* nothing always can be promised */
}
