// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/vmm.c - which VMM a sandbox's guest runs in
 *
 * How it works: all drivers are probed when the daemon starts (drivers.c), and what works is constant from then on. The
 * daemon's default is what vmm=auto means; a sandbox may name another one of those that work.
 */
#include "ops/vmm.h"

#include <errno.h>
#include <string.h>

#include "ops/config.h"
#include "ops/host.h"
#include "ops/memory.h"
#include "ops/template.h"

const struct vm_host *vmm_host(const struct vm_driver *driver)
{
	if (!driver)
		return NULL;
	if (driver == host.vm)
		return &host.vm_host;
	for (int i = 0; vm_drivers[i]; i++)
		if (vm_drivers[i] == driver)
			return host.vms[i].driver ? &host.vms[i] : NULL;
	return NULL;
}

/* "auto", or a driver's name. */
static const char *setting(const struct sbx *s, const struct config *defaults)
{
	return config_effective(&s->config, defaults, CONFIG_VMM);
}

static const char *wanted(const struct sbx *s, const struct config *defaults)
{
	return memory_goes_on(s) ? s->memory.vmm : setting(s, defaults);
}

static const struct vm_driver *driver_of(const char *name)
{
	return strcmp(name, "auto") == 0 ? host.vm : vm_driver_named(name);
}

/* Why the driver of that name does not work here. */
static const char *refusal(const char *name)
{
	for (int i = 0; vm_drivers[i]; i++)
		if (strcmp(vm_drivers[i]->name, name) == 0 && host.vm_refusals[i][0])
			return host.vm_refusals[i];
	return host.vm_why;
}

static int find(const char *name, const struct vm_host **ret, struct err *e)
{
	*ret = vmm_host(driver_of(name));
	if (*ret)
		return 0;
	if (strcmp(name, "auto") == 0)
		return err_set(e, ENOTSUP, "%s", host.vm_why);
	return err_set(e, ENOTSUP, "%s cannot run here: %s", name, refusal(name));
}

int vmm_of_setting(struct sbx *s, const struct vm_host **ret, struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = find(setting(s, s->version ? &s->version->defaults : NULL), ret, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int vmm_choose(struct sbx *s, const struct vm_host **ret, struct err *e)
{
	int r;

	if (!memory_goes_on(s))
		return vmm_of_setting(s, ret, e);
	pthread_mutex_lock(&s->lock);
	r = find(s->memory.vmm, ret, e);
	pthread_mutex_unlock(&s->lock);
	return r < 0 ? err_wrap(e, "its memory was saved by another VMM; start boots it") : 0;
}

const struct vm_host *vmm_shown(const struct sbx *s, const struct config *defaults)
{
	const struct vm_driver *driver =
		s->shown_vm.pid != 0 && s->vmm ? s->vmm : driver_of(wanted(s, defaults));

	return vmm_host(driver);
}

int vmm_find(const char *name, const struct vm_driver **ret, struct proc_id *ret_id)
{
	for (int i = 0; vm_drivers[i]; i++) {
		const struct vm_host *h = vmm_host(vm_drivers[i]);

		if (h && proc_find(h->program, name, ret_id) == 0) {
			*ret = vm_drivers[i];
			return 0;
		}
	}
	return -ESRCH;
}

int vmm_find_by(bool (*is)(const char *word, const void *arg), const void *arg,
		struct proc_id *ret_id)
{
	for (int i = 0; vm_drivers[i]; i++) {
		const struct vm_host *h = vmm_host(vm_drivers[i]);

		if (h && proc_find_by(h->program, is, arg, ret_id) == 0)
			return 0;
	}
	return -ESRCH;
}
