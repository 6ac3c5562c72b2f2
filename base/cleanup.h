/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/cleanup.h - memory and descriptors that go with their scope
 *
 * Only for what lives inside this process. What lives in the kernel or on disk is made and removed by
 * the steps of ops/ alone.
 */
#ifndef SBXFS_BASE_CLEANUP_H
#define SBXFS_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"

/* Close a descriptor if there is one, keeping errno. */
static inline void fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		(void)close(
			fd); /* Linux always frees the descriptor; nothing durable hangs on it here */
	errno = saved;
}

static inline void cleanup_fd(const int *fd)
{
	fd_close(*fd);
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_file(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void cleanup_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

#define AUTO_FD   __attribute__((cleanup(cleanup_fd))) int
#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
#define AUTO_FILE __attribute__((cleanup(cleanup_file))) FILE *
#define AUTO_DIR  __attribute__((cleanup(cleanup_dir))) DIR *
#define AUTO_BUF  __attribute__((cleanup(buf_done))) struct buf

/* Hand a descriptor over: the variable no longer owns it. */
static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Hand a pointer over: the variable no longer owns it. */
static inline void *steal_mem(void *p)
{
	void *taken = *(void **)p;

	*(void **)p = NULL;
	return taken;
}
#define steal_ptr(p) ((__typeof__(*(p)))steal_mem(p))

#endif
