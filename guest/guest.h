/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest/guest.h - the host's side of the agent in the guest
 *
 * The guest is hostile: every answer is bounded in size and time, and none of it is believed further than
 * it is shown to the guest's own user.
 */
#ifndef SBXFS_GUEST_GUEST_H
#define SBXFS_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"

enum {
	GUEST_TOKEN_SIZE = 65,      /* 64 hexadecimal digits and a NUL */
	GUEST_OUTPUT_MAX = 1 << 20, /* bytes of output that guest_exec() keeps; sbxfs(5) */
};

/* Where an agent is and what it obeys. */
struct guest {
	const char *addr; /* numeric; borrowed */
	uint16_t port;
	const char *token; /* "" before the first guest_init() */
};

struct guest_setup {
	const char *hostname;
	const char *const *env; /* "K=V", NULL-terminated; NULL: none */
	const char *user;       /* default user; NULL: the agent's own default, root */
	const char *cwd;        /* default working directory; NULL: the user's home */
	const char *dns;        /* resolver for /etc/resolv.conf; NULL or "": leave it */
	const char *
		token; /* to be obeyed from now on, the guest's being the present one; NULL: the guest's own */
	bool resumed; /* it stood still until now: step its clock however far it is, and make its random numbers new */
	const char *
		life; /* with resumed: a name of this going on, so that a repeat counts as one; NULL: each call is another */
	const char *machine_id; /* 32 hexadecimal digits for /etc/machine-id; NULL: leave it */
};

struct guest_facts {
	char agent_version[32];
	char kernel_version[64];
};

/* Is an agent there? One try, 250 ms at most. Return: 0; -EHOSTDOWN when not (yet). */
int guest_health(const struct guest *g, const struct deadline *d, struct err *e);

/**
 * guest_init() - Hand over the token, set clock, hostname, resolver, environment
 * @g: its token is the one to set, unless @s has another: then it is the one that the agent obeys until now
 *
 * May be repeated with the same arguments when no answer came: an agent that obeys the token of @s already takes it as well.
 * Return: 0 and @ret_facts; -EIO when the agent already obeys another token; -ETIMEDOUT; -ECANCELED; -EHOSTDOWN.
 */
int guest_init(const struct guest *g, const struct guest_setup *s, const struct deadline *d,
	       struct guest_facts *ret_facts, struct err *e);

/* How a process ended. */
struct guest_exit {
	bool signalled;
	int status;               /* exit status 0..255 */
	char signal[16];          /* "SIGKILL" … when signalled */
	uint64_t truncated_bytes; /* output beyond GUEST_OUTPUT_MAX */
};

struct guest_command {
	const char *text;       /* given to /bin/sh -c as it is */
	const char *user, *cwd; /* NULL: the agent's default */
	const char *const *env; /* "K=V", NULL-terminated; NULL: none */
};

/**
 * guest_exec() - Run a command to its end
 * @output: stdout and stderr as they came, GUEST_OUTPUT_MAX bytes at most, appended
 *
 * When the deadline ends the call the command is killed (SIGKILL), best effort.
 * Return: 0 whatever the command's status; -ENOENT/-EINVAL when the agent could not start it; -EHOSTDOWN when the guest
 *         went away; -ETIMEDOUT; -ECANCELED.
 */
int guest_exec(const struct guest *g, const struct guest_command *c, const struct deadline *d,
	       struct buf *output, struct guest_exit *ret_exit, struct err *e);

/* Flush the guest's dirty pages. Return: 0; -EHOSTDOWN; -ETIMEDOUT; -ECANCELED; -EIO. */
int guest_sync(const struct guest *g, const struct deadline *d, struct err *e);

/**
 * guest_fsfreeze() - Flush the guest's file systems and hold all writes to them
 * @hold_ms: the guest lets go by itself when so much time of its own has passed, whatever becomes of us
 * Return: 0; -ENOTSUP an agent that does not know how, or nothing that can be frozen; -EHOSTDOWN; -ETIMEDOUT; -ECANCELED; -EIO: then
 *         nothing is held.
 */
int guest_fsfreeze(const struct guest *g, int64_t hold_ms, const struct deadline *d, struct err *e);

/* Let writes go on. Return: 0, also when nothing was held; as guest_sync(). */
int guest_fsthaw(const struct guest *g, const struct deadline *d, struct err *e);

/**
 * guest_prepare() - Have the guest make itself small and still before its memory is saved
 *
 * It flushes, drops its caches and tells its disk what is free, each for a bounded time; file systems that cannot do that are
 * passed over.
 * Return: 0; -ENOTSUP an agent that does not know how; -EHOSTDOWN; -ETIMEDOUT; -ECANCELED; -EIO.
 */
int guest_prepare(const struct guest *g, const struct deadline *d, struct err *e);

/* Ask the guest to shut down; it has begun when this returns 0. */
int guest_shutdown(const struct guest *g, const struct deadline *d, struct err *e);

/* Guest memory in use, from /metrics. Return: 0; -EHOSTDOWN. */
int guest_mem_used(const struct guest *g, const struct deadline *d, uint64_t *ret_bytes,
		   struct err *e);

#endif
