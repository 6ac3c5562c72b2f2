/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qmp.h - a client of QEMU's machine protocol: JSON lines on a UNIX socket; private to vm/
 *
 * The other side is not trusted: a guest may have taken QEMU over. What it sends is bounded in length and in
 * time, and what is not understood ends the connection, never the daemon.
 */
#ifndef SBXFS_VM_QMP_H
#define SBXFS_VM_QMP_H

#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"
#include "base/json.h"

enum {
	QMP_LINE_MAX = 1 << 20, /* bytes of one message with its newline */
};

struct qmp {
	int fd;    /* non-blocking stream socket; owned; -1: broken, every call fails */
	int pidfd; /* ends every wait when QEMU has ended; -1: none; borrowed */
	/* Called for each event, in the thread of the call that found it; may not call qmp_* itself. */
	void (*event)(void *arg, const char *name, struct json_object *message);
	void *arg;
	int64_t last_id; /* of the last command */
	int pass;        /* goes along with the next command; -1: nothing; borrowed */
	char *data;      /* bytes [start, end) are not yet used; owned */
	size_t start, end, room;
	size_t scanned; /* no newline in [start, start + scanned) */
};

/* @fd becomes owned, also when it is -1. */
void qmp_init(struct qmp *q, int fd, int pidfd);
void qmp_done(struct qmp *q);

/**
 * qmp_greet() - Wait for the greeting and leave the negotiation mode
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EIO when QEMU ended or talks nonsense.
 */
int qmp_greet(struct qmp *q, const struct deadline *d, struct err *e);

/**
 * qmp_call() - One command and its answer; events in between are handed on
 * @command: such as "query-status"
 * @args:    its arguments or NULL; a reference is taken over in any case
 * @ret:     the whole reply, a new reference; NULL when it is of no interest
 *
 * An answer that came too late for an earlier call is passed over by its id.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EIO with QEMU's own words, or when it ended or talks nonsense.
 */
int qmp_call(struct qmp *q, const char *command, struct json_object *args, const struct deadline *d,
	     struct json_object **ret, struct err *e);

/* Hand an open file over, which commands then know by @name; borrowed. Return: as of qmp_call(). */
int qmp_give_fd(struct qmp *q, const char *name, int fd, const struct deadline *d, struct err *e);

/* Wait until an event was handed on. Return: 0; -ETIMEDOUT; -ECANCELED; -EIO QEMU ended or talks nonsense. */
int qmp_await(struct qmp *q, const struct deadline *d, struct err *e);

/**
 * qmp_drain() - Hand on the events that have already come, without waiting; works after QEMU's end too
 *
 * Takes at most a few messages' length, so that a flood cannot hold the caller.
 */
void qmp_drain(struct qmp *q);

#endif
