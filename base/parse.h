/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/parse.h - words, numbers, names and key=value text, as sbxfs(5) describes them */
#ifndef SBXFS_BASE_PARSE_H
#define SBXFS_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	NAME_MAX_LEN = 63,    /* of a sandbox, template or snapshot; sbxfs(5) */
	LINE_MAX_LEN = 65536, /* bytes of a command line without its newline; sbxfs(5) */
	WORDS_MAX = 4096,     /* words of one line */
};

/* 1 to 63 of a-z A-Z 0-9 . _ -, beginning with a letter or a digit. */
bool name_is_valid(const char *name);

/**
 * words_split() - Split a line as sbxfs(5) says: blanks, "…", '…' and \ as in sh, no expansion
 * @line:      NUL-terminated, no newline
 * @ret_words: a NULL-terminated vector in one allocation, the caller frees it with free()
 * @ret_count: number of words
 * Return: 0; -EINVAL for an open quote or too many words; -ENOMEM.
 */
int words_split(const char *line, char ***ret_words, int *ret_count, struct err *e);

/* The rest of @line after its first @n words and the blanks behind them, not unquoted; "" if there is none. */
const char *words_rest(const char *line, int n);

/* Decimal only, no sign, no blanks, all of @text. Return: 0; -EINVAL; -ERANGE outside @min..@max. */
int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

/* yes/no (also true/false, 1/0). Return: 0; -EINVAL. */
int parse_bool(const char *text, bool *ret_value);

/**
 * parse_unescape() - Undo buf_add_escaped() in place: \\ \n \t \xHH
 * Return: 0; -EINVAL for another backslash sequence.
 */
int parse_unescape(char *text);

/**
 * parse_line() - The next line of a text that is cut up in place
 * @cursor: in: where to go on; out: after the line; NULL at the end
 * Return: the line without its newline, NULL when there is none left.
 */
char *parse_line(char **cursor);

#endif
