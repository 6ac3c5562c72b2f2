/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/health.h - is a running guest well? Its agent is asked, and then the command that its settings name */
#ifndef SBXFS_OPS_HEALTH_H
#define SBXFS_OPS_HEALTH_H

#include <stdint.h>

#include "base/err.h"
#include "ops/sbx.h"

/* Milliseconds until it is to be asked next; 0: now; -1: it is not running, or not to be asked. */
int64_t health_left(struct sbx *s);

/**
 * health_act() - Ask it, once
 *
 * After health_retries failures in a row it is unhealthy, after one success healthy; either is an event and shows in status.
 * Context: a job beside others; takes at most as long as the interval between two.
 * Return: 0, whatever the answer.
 */
int health_act(struct sbx *s, struct err *e);

#endif
