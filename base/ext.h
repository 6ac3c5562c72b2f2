/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/ext.h - how large an ext2, ext3 or ext4 says that it is
 *
 * Documentation/filesystems/ext4/super.rst in the kernel's source; all numbers are little-endian.
 */
#ifndef SBXFS_BASE_EXT_H
#define SBXFS_BASE_EXT_H

#include <stdint.h>

enum {
	EXT_SUPER_AT = 1024,   /* where a disk's superblock begins */
	EXT_SUPER_SIZE = 1024, /* bytes of it */
	EXT_BLOCKS_LO_AT = 0x04,
	EXT_LOG_BLOCK_AT = 0x18,
	EXT_MAGIC_AT = 0x38,
	EXT_INCOMPAT_AT = 0x60,
	EXT_BLOCKS_HI_AT = 0x150,
	EXT_MAGIC = 0xef53,
	EXT_INCOMPAT_64BIT = 0x80,
	EXT_BLOCK_MIN_LOG = 10, /* 1 KiB */
	EXT_BLOCK_MAX_LOG = 16,
};

static inline uint32_t ext_number(const unsigned char *p, unsigned bytes)
{
	uint32_t n = 0;

	while (bytes-- > 0)
		n = n << 8 | p[bytes];
	return n;
}

/**
 * ext_size() - How many blocks it has
 * @super: EXT_SUPER_SIZE bytes from EXT_SUPER_AT
 * Return: the size of a block as a power of two; 0: it is no such file system.
 */
static inline unsigned ext_size(const unsigned char *super, uint64_t *ret_blocks)
{
	uint32_t log = ext_number(super + EXT_LOG_BLOCK_AT, 4);

	if (ext_number(super + EXT_MAGIC_AT, 2) != EXT_MAGIC ||
	    log > EXT_BLOCK_MAX_LOG - EXT_BLOCK_MIN_LOG)
		return 0;
	*ret_blocks = ext_number(super + EXT_BLOCKS_LO_AT, 4);
	if (ext_number(super + EXT_INCOMPAT_AT, 4) & EXT_INCOMPAT_64BIT)
		*ret_blocks |= (uint64_t)ext_number(super + EXT_BLOCKS_HI_AT, 4) << 32;
	return log + EXT_BLOCK_MIN_LOG;
}

#endif
