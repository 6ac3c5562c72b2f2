/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/element.h - what is in the sets and maps of the host's table, link by link; kept so that the table can be made anew with it
 *
 * A text of elements has a line for each: the name of the set, a blank, and the element as nftables writes it (with `key : value` for a
 * map). All of this is for side.c, with its lock held.
 */
#ifndef SBXFS_NET_ELEMENT_H
#define SBXFS_NET_ELEMENT_H

#include <stdbool.h>

#include "base/buf.h"

/* Whose they are: each replaces its own. */
enum element_kind {
	ELEMENT_SLOT, /* that the link takes part */
	ELEMENT_OPEN, /* what egress rules open of what is closed */
	ELEMENT_FORWARD,
	ELEMENT_KIND_COUNT
};

/* What the link has of that kind: "" for nothing. Borrowed until it is changed. */
const char *element_text(const char *link, enum element_kind kind);

/* From now on it has @text. Return: 0; -ENOMEM, nothing changed. */
int element_keep(const char *link, enum element_kind kind, const char *text);

/* As element_keep() with one line more. */
int element_keep_line(const char *link, enum element_kind kind, const char *line);

void element_drop(const char *link); /* all that it has */
void element_drop_all(void);

/* The commands that lead from one text to another. */
void element_change(const char *instance, const char *from, const char *to, struct buf *b);

/* The commands that add all that there is. */
void element_add_all(const char *instance, struct buf *b);

#endif
