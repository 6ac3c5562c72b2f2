/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/files.h - the file tables: every synthetic file, what it gives and what it takes
 *
 * Lookup, listing, modes, open checks, `help` and the check of the manual all come from these rows.
 */
#ifndef SBXFS_FS_FILES_H
#define SBXFS_FS_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "fs/node.h"
#include "ops/command.h"
#include "ops/sbx.h"
#include "ops/template.h"

/* What a file belongs to: a sandbox, a template, or with neither the daemon itself. */
struct object {
	struct sbx *sbx;
	struct template *template;
};

/**
 * object_get() - The object that a node belongs to
 * @ret: with a reference, for object_put()
 * Return: 0; -ESTALE when it is gone.
 */
int object_get(const struct node *n, struct object *ret);
void object_put(struct object *o);

enum file_flags {
	FILE_DIR = 1u << 0,      /* a directory; file.below says what is in it */
	FILE_COMMANDS = 1u << 1, /* a write is run by file.target and may take long */
	FILE_REPLY = 1u << 2,    /* a read gives the reply of the last write */
	FILE_STREAM = 1u << 3,   /* events: no position, a read blocks */
	FILE_POLLABLE = 1u << 4, /* POLLPRI when sbx_view.change has changed */
	FILE_CONSOLE = 1u << 5,  /* the log of the serial line; a write is input to it */
	FILE_FIXED = 1u << 6,    /* its text never changes */
};

struct file {
	const char *name;
	mode_t mode; /* see file_mode() */
	unsigned flags;
	int (*render)(const struct object *o, struct buf *b); /* NULL: not by text */
	enum command_target target;                           /* with FILE_COMMANDS */
	enum node_kind below; /* FILE_DIR: the kind of what is in it */
	const char *help;     /* one line */
};

/* The rows of a kind of files, ended by one without a name. NULL for other kinds. */
const struct file *file_rows(enum node_kind kind);

/* The row of a node; NULL: it is no file (or not any more). */
const struct file *file_of(const struct node *n);

/* Find a row by name. Return: the node's index, 0 when there is none. */
uint32_t file_find(enum node_kind kind, const char *name);

/* What is in a directory: rows of a kind of files, then objects of a kind; NODE_ROOT stands for none. */
struct dir {
	enum node_kind files, objects;
};

/* Return: false when @n is no directory. */
bool dir_of(const struct node *n, struct dir *ret);

/**
 * file_mode() - Permission bits that a file shows
 * @dir_mode: of its sandbox's or template's directory; 0777 for the daemon's own files
 *
 * For owner, group and others each: r of the table is kept where the directory has r, w where it has w; x, for
 * a directory of the table, where it has x.
 */
mode_t file_mode(const struct file *f, mode_t dir_mode);

/* The lines `file NAME`, `verb NAME`, `key NAME`, `status NAME`, for the check of the manual. */
void files_dump(struct buf *b);

#endif
