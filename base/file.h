/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/file.h - whole files, read and replaced so that a crash leaves the old or the new */
#ifndef SBXFS_BASE_FILE_H
#define SBXFS_BASE_FILE_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/**
 * file_replace() - Write @name in @dirfd so that a crash at any instant leaves the old or the new one
 * @dirfd: directory, borrowed
 * @name:  a name without '/'; "@name.new" is used on the way
 * @mode:  permission bits of the new file
 * @data:  @len bytes
 *
 * Context: blocks for fsync of the file and the directory.
 * Return: 0; -ENOSPC, -EDQUOT, -EIO, … with the old file untouched and no "@name.new" left.
 */
int file_replace(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
		 struct err *e);

/**
 * file_read() - Append a whole file to @b
 * @dirfd: directory or AT_FDCWD
 * @max:   more bytes than this are -EFBIG
 * Return: 0; -ENOENT, … ; @e filled on failure.
 */
int file_read(int dirfd, const char *name, size_t max, struct buf *b, struct err *e);

/* Make @path and its parents, @mode each, durably where the directory above can be opened; existing ones are fine. */
int file_mkdirs(const char *path, mode_t mode, struct err *e);

/* Open a directory with O_CLOEXEC, for use as dirfd; @ret_fd on success only. */
int file_open_dir(int dirfd, const char *name, int *ret_fd, struct err *e);

/* Open a directory to list what is in it; closedir() is the caller's. @ret on success only. */
int file_open_list(int dirfd, const char *name, DIR **ret, struct err *e);

/* fsync a directory. */
int file_sync_dir(int dirfd, struct err *e);

/**
 * file_remove_tree() - Remove @name in @dirfd and all below it, never following a link or crossing a mount
 * Return: 0, also when it was not there; the first failure otherwise.
 */
int file_remove_tree(int dirfd, const char *name, struct err *e);

/**
 * file_copy() - Copy @from to @to from offset 0: FICLONE where the file system can, else only the data extents
 * @from, @to: open descriptors, borrowed; @to empty
 * @cancel_fd: checked between pieces, -1 for none
 *
 * Return: 0, with the same length and the holes kept, not yet fsynced; -ENOSPC, -ECANCELED, -EIO, …
 */
int file_copy(int from, int to, int cancel_fd, struct err *e);

/**
 * file_copy_part() - Copy what lies in @from from @from_at to its end to @to_at of @to, as file_copy()
 * @from_at, @to_at: multiples of 4096; @to has nothing from @to_at on
 */
int file_copy_part(int from, off_t from_at, int to, off_t to_at, int cancel_fd, struct err *e);

/**
 * file_write_sparse() - Write @len bytes at @at but for blocks of 4 KiB that are nothing but zeroes
 * @fd: a file that has nothing there yet
 * Return: 0, the length is the caller's to set; negative errno.
 */
int file_write_sparse(int fd, const char *p, size_t len, off_t at);

/* write() all of it, whatever the pieces. */
int file_write_all(int fd, const void *data, size_t len);

#endif
