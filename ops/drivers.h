/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/drivers.h - which drivers this host can use */
#ifndef SBXFS_OPS_DRIVERS_H
#define SBXFS_OPS_DRIVERS_H

#include "base/err.h"
#include "ops/host.h"

/**
 * drivers_choose() - Fill host.vm, host.volume, host.net and why each
 * @o: names, or "auto" for the best that works
 *
 * A host without a VMM can still define sandboxes: host.vm is NULL then, and vm_why says what to install.
 * Return: 0; -ENOTSUP a driver asked for by name cannot work here; -EINVAL there is none of that name.
 */
int drivers_choose(const struct host_options *o, struct err *e);
void drivers_done(void);

#endif
