/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/event.h - the messages that say what happens to a process */
#ifndef SBXFS_AGENT_EVENT_H
#define SBXFS_AGENT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"

/* It runs. @kill_on_close: our own member, says that the agent heeds Sbxfs-Kill-On-Close. */
void event_start(struct buf *b, pid_t pid, bool kill_on_close);

/* It has written to @output, "stdout" or "stderr". */
void event_data(struct buf *b, const char *output, const void *data, size_t len);

/* It has ended. @status: of waitpid(). Our own member "signal" is the number of the signal that ended it. */
void event_end(struct buf *b, int status);

#endif
