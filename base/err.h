/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/err.h - one error: an errno and a sentence for the user
 *
 * Every function that can fail returns 0 or a negative errno. One that takes a `struct err *e` fills
 * it exactly when it fails; it may be NULL when the caller wants the number only. The text says what
 * happened, to what, and what to do about it, without a final stop and without the errno's name.
 */
#ifndef SBXFS_BASE_ERR_H
#define SBXFS_BASE_ERR_H

#include <stdarg.h>

enum {
	ERR_TEXT_SIZE =
		3584, /* bytes with the NUL: a sentence, and for a failed start 20 console lines */
};

struct err {
	int code; /* positive errno; 0: nothing failed */
	char text[ERR_TEXT_SIZE];
};

/**
 * err_set() - Record a failure
 * @e:    filled; NULL is allowed
 * @code: positive errno
 * @fmt:  printf format of the sentence
 *
 * Return: -@code, so that `return err_set(e, EIO, "…")` is the usual form.
 */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/**
 * err_wrap() - Put context before what is there: "context: old text"
 * @e:   holds a failure; NULL is allowed
 * @fmt: printf format of the context
 *
 * Return: -@e->code, or -EIO when @e is NULL.
 */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * err_sys() - Record a failed system call: "what: strerror"
 * @e:    filled; NULL is allowed
 * @code: positive errno, usually errno itself
 * @fmt:  printf format of what was tried, on what
 *
 * Return: -@code.
 */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/**
 * err_name() - The name of an errno, such as "EINVAL"
 * @code: positive errno
 *
 * Return: a static string; "E?" for an unknown number.
 */
const char *err_name(int code);

#endif
