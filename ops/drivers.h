/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/drivers.h - which drivers this host can use */
#ifndef SBXFS_OPS_DRIVERS_H
#define SBXFS_OPS_DRIVERS_H

#include "base/err.h"
#include "ops/host.h"

/**
 * drivers_probe() - Fill host.vm, host.volume and why each, and find a network driver that may work
 * @o: names, or "auto" for the best that works
 *
 * A host without a VMM can still define sandboxes: host.vm is NULL then, and vm_why says what to install. Changes
 * nothing, so another daemon may have the state directory.
 * Return: 0; -ENOTSUP a driver asked for by name cannot work here; -EINVAL there is none of that name.
 */
int drivers_probe(const struct host_options *o, struct err *e);

/* The network driver that drivers_probe() found; NULL none. */
const struct slot_driver *drivers_net(void);

/* After that, with the state directory: fill host.net, and begin with it. Return: 0; as drivers_probe(). */
int drivers_begin(const struct host_options *o, struct err *e);
void drivers_done(void);

#endif
