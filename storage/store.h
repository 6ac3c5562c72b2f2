/* SPDX-License-Identifier: GPL-2.0-or-later */
/* storage/store.h - what the drivers share; for storage/ only */
#ifndef SBXFS_STORAGE_STORE_H
#define SBXFS_STORAGE_STORE_H

#include <limits.h>
#include <sys/types.h>

#include "storage/loop.h"
#include "storage/volume.h"

struct volume {
	enum volume_format format;
	int data_fd;            /* file driver: holds the lock on the data; owned; -1: none */
	int loop_fd;            /* dm driver: the loop device of the changes; owned; -1: none */
	struct loop_base *base; /* dm driver: the image's device, a counted reference; NULL: none */
	struct loop_base *zero; /* dm driver: of zeroes behind the image, likewise */
	char path[PATH_MAX];    /* what a VMM opens */
};

extern const struct volume_driver store_dm, store_file;

struct volume *store_volume_new(enum volume_format format);
void store_volume_free(struct volume *v); /* closes what it owns; takes NULL */

/* The longest wait for the kernel when the caller allows more; milliseconds. */
enum { STORE_WAIT_MS = 10000 };

/**
 * store_begin() - Open the temporary file that becomes the data, removing one that a crash left
 * @temp:   its name in the sandbox's directory
 * Return: 0; -ENOSPC, … with no file made.
 */
int store_begin(const struct volume_spec *s, const char *temp, int *ret_fd, struct err *e);

/**
 * store_commit() - Make the temporary durable under its final name
 * Return: 0; on failure neither name is left, unless the final one was there before: -EEXIST.
 */
int store_commit(const struct volume_spec *s, int fd, const char *temp, const char *name,
		 struct err *e);

/* Remove the temporary. */
void store_abort(const struct volume_spec *s, const char *temp);

/**
 * store_lock() - Open the data for reading and writing and take the lock that says "attached"
 * Return: 0 with a locked descriptor; -ENOENT no such data; -EBUSY attached already; -EIO, ….
 */
int store_lock(const struct volume_spec *s, const char *name, int *ret_fd, struct err *e);

/*
 * Give such a lock up and close its descriptor (-1: none). Closing alone would not do: a child that is between
 * fork and exec has a copy of the descriptor, and the lock would stay until that is gone too.
 */
void store_unlock(const int *fd);
#define AUTO_LOCK __attribute__((cleanup(store_unlock))) int

/* Remove a file of the data, durably. Return: 0, also when it was not there. */
int store_unlink(const struct volume_spec *s, const char *name, struct err *e);

/* Open the template's image for reading and check it against the spec. Return: 0; -ENOENT, -EINVAL. */
int store_open_base(const struct volume_spec *s, int *ret_fd, uint64_t *ret_bytes, struct err *e);

/* Allocated bytes and length of a file in the sandbox's directory. Return: 0; -ENOENT, …. */
int store_measure(const struct volume_spec *s, const char *name, uint64_t *ret_allocated,
		  uint64_t *ret_length);

/**
 * store_lay() - Put @len bytes at @offset of a sparse image; what is all zeroes becomes a hole
 * @fd:           an image that has its length already
 * @offset, @len: multiples of 4096
 * Return: 0; -ENOSPC; -EIO.
 */
int store_lay(int fd, uint64_t offset, const void *data, size_t len, struct err *e);

/* Make a hole of a part of such an image, whatever was there. @offset, @len: multiples of 4096. Return: as store_lay(). */
int store_lay_zeroes(int fd, uint64_t offset, uint64_t len, struct err *e);

/* The base's content into an empty image, which becomes @s->size_bytes long; holes kept. Return: 0; … */
int store_lay_base(const struct volume_spec *s, int out_fd, const struct deadline *d,
		   struct err *e);

/**
 * store_copy_file() - Copy the data file @name into the directory @to_fd, durably, holes kept
 * Return: 0; -ENOENT; -ENOSPC; -ECANCELED; -EIO.
 */
int store_copy_file(const struct volume_spec *s, const char *name, int to_fd,
		    const struct deadline *d, struct err *e);

#endif
