/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/reload.h - the configuration file is read again while the daemon runs */
#ifndef SBXFS_OPS_RELOAD_H
#define SBXFS_OPS_RELOAD_H

#include "base/buf.h"
#include "base/err.h"

/**
 * reload_now() - Read the file again, tell everybody who has to do something about a change, and leave an event `reload`
 * @changes: gets a line for each setting that is another now
 * Context: blocks for the file, and until ready sandboxes that are too many are gone; a worker.
 * Return: 0; -EINVAL with file and line, -ENOENT, …: all is as before.
 */
int reload_now(struct buf *changes, struct err *e);

/**
 * reload_begin() - The same on a worker; what came of it is logged
 * @done: called once it is over, from any thread; with 0 or a negative errno, then with @e filled
 * Context: does not block.
 * Return: 0; -EMFILE, -ENFILE, -ENOMEM, -EAGAIN: it does not begin, and @done is not called.
 */
int reload_begin(void (*done)(int result, const struct err *e), struct err *e);

#endif
