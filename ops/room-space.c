// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/room-space.c - the host's file system: what is free, what stays free, what has been promised, the ballast */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/room-private.h"
#include "ops/settings.h"

#define MIB (UINT64_C(1) << 20)

enum {
	RESERVE_SHARE = 20, /* 1/20 of the file system stays free, … */
	RESERVE_MIN_MIB = 64,
	RESERVE_MAX_MIB = 2048,
	RESERVE_MOST = 8,      /* … but never more than 1/8 of a small one */
	OVERCOMMIT_PCT = 1000, /* of the file system may be promised, … */
	OVERCOMMIT_MIN_MIB =
		1 << 20,     /* and this at least: what matters on a small one is the reserve */
	START_MIB = 32,      /* beyond the reserve, for a disk to be begun or go on */
	BALLAST_SHARE = 4,   /* 1/4 of the reserve, */
	BALLAST_MAX_MIB = 64 /* this at most: it is for records, which are small */
};

static const char ballast_name[] = "ballast";

/* Guards the sum, and what each sandbox counts in it. */
static pthread_mutex_t promise_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t promised;

/* Guards the file of that name. */
static pthread_mutex_t ballast_lock = PTHREAD_MUTEX_INITIALIZER;
static enum { BALLAST_NONE, BALLAST_THERE, BALLAST_NEVER } ballast; /* NEVER: cannot be had here */

static uint64_t at_most(uint64_t value, uint64_t most)
{
	return value < most ? value : most;
}

static uint64_t reserve_of(uint64_t total)
{
	uint64_t reserve = total / RESERVE_SHARE;

	if (settings.disk_reserve_mb)
		return settings.disk_reserve_mb * MIB;
	if (reserve < RESERVE_MIN_MIB * MIB)
		reserve = RESERVE_MIN_MIB * MIB;
	return at_most(at_most(reserve, RESERVE_MAX_MIB * MIB), total / RESERVE_MOST);
}

int room_space(struct room_space *ret)
{
	struct statvfs vfs;

	*ret = (struct room_space){0};
	if (fstatvfs(host.state_fd, &vfs) < 0)
		return -errno;
	ret->total = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	ret->free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	ret->reserve = reserve_of(ret->total);
	return 0;
}

bool room_is_low(const struct room_space *space)
{
	return space->free < space->reserve;
}

uint64_t room_reserve_bytes(void)
{
	struct room_space space;

	(void)room_space(&space); /* 0 when it cannot be told */
	return space.reserve;
}

static uint64_t mib_up(uint64_t bytes)
{
	return (bytes + MIB - 1) / MIB;
}

static int check_free(const struct room_space *space, uint64_t bytes, struct err *e)
{
	uint64_t wanted = space->reserve + bytes;

	if (space->free >= wanted)
		return 0;
	return err_set(e, ENOSPC,
		       "of the file system of %s %" PRIu64 " MiB are free, and it takes %" PRIu64
		       " (%" PRIu64 " stay free: disk_reserve_mb); free %" PRIu64 " MiB there",
		       host.state_dir, space->free / MIB, mib_up(wanted), mib_up(space->reserve),
		       mib_up(wanted - space->free));
}

int room_check(uint64_t bytes, struct err *e)
{
	struct room_space space;
	int r = room_space(&space);

	return r < 0 ? err_sys(e, -r, "cannot tell what is free in %s", host.state_dir)
		     : check_free(&space, bytes, e);
}

static uint64_t promise_limit(uint64_t total)
{
	uint64_t pct = settings.disk_overcommit_pct;
	uint64_t limit = total / 100 * (pct ? pct : OVERCOMMIT_PCT);

	return pct || limit > OVERCOMMIT_MIN_MIB * MIB ? limit : OVERCOMMIT_MIN_MIB * MIB;
}

/* Others have @others bytes already. */
static int check_promise(const struct room_space *space, uint64_t others, uint64_t bytes,
			 struct err *e)
{
	uint64_t limit = promise_limit(space->total);

	if (others + bytes <= limit)
		return 0;
	return err_set(e, ENOSPC,
		       "its disk may grow to %" PRIu64 " MiB, and of the %" PRIu64
		       " MiB that may be promised (disk_overcommit=%" PRIu64 ") %" PRIu64
		       " are left; destroy another, set disk_mb, or raise disk_overcommit",
		       bytes / MIB, limit / MIB, settings.disk_overcommit_pct,
		       (limit > others ? limit - others : 0) / MIB);
}

int room_promise(struct sbx *s, uint64_t bytes, struct err *e)
{
	struct room_space space;
	int r = bytes ? room_space(&space) : 0;

	if (r < 0)
		return err_sys(e, -r, "cannot tell what is free in %s", host.state_dir);
	if (bytes)
		r = check_free(&space, START_MIB * MIB, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&promise_lock);
	/* What was promised stays promised, whatever the limit is now. */
	if (bytes > s->promised_bytes)
		r = check_promise(&space, promised - s->promised_bytes, bytes, e);
	if (r == 0) {
		promised += bytes - s->promised_bytes;
		s->promised_bytes = bytes;
	}
	pthread_mutex_unlock(&promise_lock);
	return r;
}

void room_promise_loaded(struct sbx *s, uint64_t bytes)
{
	pthread_mutex_lock(&promise_lock);
	promised += bytes - s->promised_bytes;
	s->promised_bytes = bytes;
	pthread_mutex_unlock(&promise_lock);
}

uint64_t room_promised_bytes(void)
{
	uint64_t bytes;

	pthread_mutex_lock(&promise_lock);
	bytes = promised;
	pthread_mutex_unlock(&promise_lock);
	return bytes;
}

/* ---- the ballast ----------------------------------------------------------------------------------------- */

static void ballast_drop(void)
{
	if (unlinkat(host.state_fd, ballast_name, 0) < 0 && errno != ENOENT)
		log_warning("cannot remove %s/%s, ignoring", host.state_dir, ballast_name);
	ballast = BALLAST_NONE;
}

static void ballast_make(uint64_t bytes)
{
	AUTO_FD fd = openat(host.state_fd, ballast_name,
			    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int code = fd >= 0 && fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;

	if (code)
		ballast_drop();
	ballast = BALLAST_THERE;
	if (code == EOPNOTSUPP) {
		log_info("the file system of %s cannot allocate ahead: there is no ballast",
			 host.state_dir);
		ballast = BALLAST_NEVER;
	} else if (code) { /* somebody else was quicker: when there is room again */
		ballast = BALLAST_NONE;
	}
}

/* One that an earlier daemon left is as good. */
void room_ballast_init(void)
{
	pthread_mutex_lock(&ballast_lock);
	ballast = faccessat(host.state_fd, ballast_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0
			  ? BALLAST_THERE
			  : BALLAST_NONE;
	pthread_mutex_unlock(&ballast_lock);
}

void room_ballast_tend(void)
{
	struct room_space space;
	uint64_t bytes;

	if (room_space(&space) < 0)
		return;
	bytes = at_most(space.reserve / BALLAST_SHARE, BALLAST_MAX_MIB * MIB) & ~(MIB - 1);
	pthread_mutex_lock(&ballast_lock);
	if (ballast == BALLAST_THERE && space.free < space.reserve / BALLAST_SHARE) {
		log_warning("next to nothing is free in %s: giving up the ballast", host.state_dir);
		ballast_drop();
	} else if (ballast == BALLAST_NONE && bytes && space.free >= space.reserve + bytes) {
		ballast_make(bytes);
	}
	pthread_mutex_unlock(&ballast_lock);
}

void room_ballast_done(void)
{
	pthread_mutex_lock(&ballast_lock);
	if (ballast == BALLAST_THERE)
		ballast_drop();
	pthread_mutex_unlock(&ballast_lock);
}
