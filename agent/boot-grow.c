// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/boot-grow.c - a root file system as large as its disk
 *
 * How it works: the size is read off the superblock before mounting, because growing wants another mount option: with
 * noinit_itable the kernel would zero the inode tables of every new group at once, tens of MiB in the sandbox's own copy.
 * Without it that is left to a kernel thread that begins seconds later, and that the remount ends before.
 * The tables need no zeroes: a group says itself how much of its table was ever used, as after mke2fs.
 * A thread grows it beside the rest of the boot, because half of the time it only waits for the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "agent/boot-parts.h"
#include "agent/boot.h"
#include "base/cleanup.h"
#include "base/ext.h"

/* Not in any header of the C library; fs/ext4/ext4.h. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

uint64_t boot_grow_wanted(const char *device)
{
	AUTO_FD fd = open(device, O_RDONLY | O_CLOEXEC);
	unsigned char super[EXT_SUPER_SIZE];
	uint64_t bytes, blocks;
	unsigned log;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) != 0 ||
	    pread(fd, super, sizeof(super), EXT_SUPER_AT) != (ssize_t)sizeof(super))
		return 0; /* mount() says what is wrong with it */
	log = ext_size(super, &blocks);
	return log && bytes >> log > blocks ? bytes >> log : 0;
}

static void *grow_main(void *arg)
{
	const struct boot_grow *g = arg;

	if (ioctl(g->fd, EXT4_IOC_RESIZE_FS, &g->blocks) != 0)
		boot_say("cannot grow the root file system to its disk: %s, ignoring",
			 strerrordesc_np(errno));
	return NULL;
}

void boot_grow_begin(struct boot_grow *g, const char *path)
{
	g->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g->threaded = pthread_create(&g->thread, NULL, grow_main, g) == 0;
	if (!g->threaded)
		(void)grow_main(g);
}

void boot_grow_end(const struct boot_grow *g)
{
	if (g->threaded)
		(void)pthread_join(g->thread, NULL); /* ours, and joined once */
	fd_close(g->fd);
	if (mount(NULL, "/", NULL, MS_REMOUNT, BOOT_ROOT_OPTIONS) != 0)
		boot_say("cannot mount the root file system with " BOOT_ROOT_OPTIONS
			 ": %s, ignoring",
			 strerrordesc_np(errno));
}
