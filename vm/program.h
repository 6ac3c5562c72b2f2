/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/program.h - a VMM's program: found, asked what it is, ended, its last words; private to vm/ */
#ifndef SBXFS_VM_PROGRAM_H
#define SBXFS_VM_PROGRAM_H

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "base/err.h"

/**
 * program_find() - Where a program is
 * @name: looked up in PATH
 * @hint: what to do when it is not there
 * @ret:  its path
 * Return: 0; -ENOTSUP with @hint.
 */
int program_find(const char *name, const char *hint, char *ret, size_t size, struct err *e);

/**
 * program_ask() - Run a program with one or two arguments and collect what it prints
 * Return: 0; -ENOTSUP it gave no answer.
 */
int program_ask(const char *const *argv, struct buf *answer, struct err *e);

/* Kill a VMM and reap it. Return: 0; -ETIMEDOUT the kernel does not let it go. */
int program_end(int pidfd, const char *what, const struct deadline *d, struct err *e);

/* Length of a VMM's stderr now; -1 when it is no file. */
off_t program_stderr_length(int fd);

/* Add to the error what a VMM wrote to stderr since the file had @from bytes: the last of it. */
void program_last_words(int fd, off_t from, struct err *e);

#endif
