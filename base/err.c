/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/err.c - one error: an errno and a sentence for the user
 *
 * How it works: the text is always made aside and copied last, so that an argument may be the old text
 * itself. Depends on libc alone, because the guest's agent is built from it too.
 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_SIZE];
	va_list args;

	if (!e)
		return -code;
	va_start(args, fmt);
	/* A text that is too long is cut; that is all one can do about it. */
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	e->code = code;
	memcpy(e->text, text, sizeof(text));
	return -code;
}

/* Write "@head: @tail" into @e, cut at its end. */
static void join(struct err *e, const char *head, const char *tail)
{
	char text[ERR_TEXT_SIZE];
	size_t len = strlen(head);

	memcpy(text, head, len + 1);
	if (len + 2 < sizeof(text)) {
		size_t rest = strnlen(tail, sizeof(text) - len - 3);

		memcpy(text + len, ": ", 2);
		memcpy(text + len + 2, tail, rest);
		text[len + 2 + rest] = '\0';
	}
	memcpy(e->text, text, sizeof(text));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char head[ERR_TEXT_SIZE];
	va_list args;

	if (!e)
		return -EIO;
	va_start(args, fmt);
	(void)vsnprintf(head, sizeof(head), fmt, args); /* cut, as above */
	va_end(args);
	join(e, head, e->text);
	return -e->code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	char head[ERR_TEXT_SIZE];
	const char *what = strerrordesc_np(code);
	va_list args;

	if (!e)
		return -code;
	va_start(args, fmt);
	(void)vsnprintf(head, sizeof(head), fmt, args); /* cut, as above */
	va_end(args);
	e->code = code;
	join(e, head, what ? what : "unknown error");
	return -code;
}

const char *err_name(int code)
{
	const char *name;

	if (code ==
	    ENOTSUP) /* the same number as EOPNOTSUPP; this is the name that users are told */
		return "ENOTSUP";
	name = code > 0 ? strerrorname_np(code) : NULL;
	return name ? name : "E?";
}
