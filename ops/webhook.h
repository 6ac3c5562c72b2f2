/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/webhook.h - events are sent to a control plane as they happen */
#ifndef SBXFS_OPS_WEBHOOK_H
#define SBXFS_OPS_WEBHOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/**
 * webhook_load() - Read the secret that the settings name
 *
 * Before there are threads, and before another daemon is asked for its mount.
 * Return: 0, also when there is no webhook; -EINVAL a URL without a file, or an empty or too long one; -EPERM others may read or
 *         write it; -ENOENT, -EACCES, ….
 */
int webhook_load(struct err *e);

/* Begin to deliver behind what was acknowledged to earlier daemons. After event_start(). Return: 0; -EMFILE, -EAGAIN, ….  */
int webhook_start(struct err *e);

/* The daemon goes down: it still delivers, but nothing is paused any more because of a lost control plane. */
void webhook_go_down(void);

/* End what is being delivered; the next daemon goes on with it. Before lane_done() and event_done(). */
void webhook_stop(void);

struct webhook_view {
	const char *state;     /* "none", "ok" or "failing" */
	char error[512];       /* why the last delivery failed; "" after one that did not */
	uint64_t acknowledged; /* all up to this number have been; 0: none */
};

/* For .status. */
void webhook_view(struct webhook_view *ret);

#endif
