// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/vmm.c - which VMM a sandbox's guest runs in */
#include "ops/vmm.h"

#include <errno.h>

#include "ops/host.h"

int vmm_choose(struct sbx *s, const struct vm_host **ret, struct err *e)
{
	(void)s;
	if (!host.vm)
		return err_set(e, ENOTSUP, "%s", host.vm_why);
	*ret = &host.vm_host;
	return 0;
}

const struct vm_host *vmm_host(const struct vm_driver *driver)
{
	return driver && driver == host.vm ? &host.vm_host : NULL;
}
