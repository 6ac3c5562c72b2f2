/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/element.c - what is in the sets and maps of the host's table, link by link */
#include "net/element.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/slot.h"

struct link {
	char name[SLOT_NAME_SIZE];
	char *text[ELEMENT_KIND_COUNT]; /* owned; NULL: nothing */
};

static void *links; /* a tree of struct link; guarded by side.c's lock */

static int link_compare(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static struct link *link_find(const char *name)
{
	struct link key;
	void *node = NULL;

	(void)snprintf(key.name, sizeof(key.name), "%s", name);
	node = tfind(&key, &links, link_compare);
	return node ? *(struct link **)node : NULL;
}

static struct link *link_make(const char *name)
{
	struct link *l = link_find(name);

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	(void)snprintf(l->name, sizeof(l->name), "%s", name);
	if (tsearch(l, &links, link_compare))
		return l;
	free(l);
	return NULL;
}

static void link_free(void *arg)
{
	struct link *l = arg;

	for (int i = 0; i < ELEMENT_KIND_COUNT; i++)
		free(l->text[i]);
	free(l);
}

const char *element_text(const char *link, enum element_kind kind)
{
	const struct link *l = link_find(link);

	return l && l->text[kind] ? l->text[kind] : "";
}

int element_keep(const char *link, enum element_kind kind, const char *text)
{
	struct link *l = text[0] ? link_make(link) : link_find(link);
	char *copy = text[0] ? strdup(text) : NULL;

	if (text[0] && (!l || !copy)) {
		free(copy);
		return -ENOMEM;
	}
	if (l) {
		free(l->text[kind]);
		l->text[kind] = copy;
	}
	return 0;
}

int element_keep_line(const char *link, enum element_kind kind, const char *line)
{
	AUTO_BUF b = BUF_INIT;

	buf_addf(&b, "%s%s\n", element_text(link, kind), line);
	return buf_error(&b) ? -ENOMEM : element_keep(link, kind, buf_text(&b));
}

void element_drop(const char *link)
{
	struct link *l = link_find(link);

	if (!l)
		return;
	(void)tdelete(l, &links, link_compare); /* it is there */
	link_free(l);
}

void element_drop_all(void)
{
	tdestroy(links, link_free);
	links = NULL;
}

/* The line that begins at @line, for as long as it is. */
static size_t line_len(const char *line)
{
	return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
	line += line_len(line);
	return *line ? line + 1 : line;
}

static bool has_line(const char *text, const char *line)
{
	size_t len = line_len(line);

	for (; *text; text = next_line(text))
		if (line_len(text) == len && memcmp(text, line, len) == 0)
			return true;
	return false;
}

static void add_command(const char *verb, const char *instance, const char *line, struct buf *b)
{
	size_t name = strcspn(line, " \n"), len = line_len(line);

	buf_addf(b, "%s element ip sbxfs-%s %.*s {%.*s }\n", verb, instance, (int)name, line,
		 (int)(len - name), line + name);
}

void element_change(const char *instance, const char *from, const char *to, struct buf *b)
{
	for (const char *line = from; *line; line = next_line(line))
		if (!has_line(to, line))
			add_command("delete", instance, line, b);
	for (const char *line = to; *line; line = next_line(line))
		if (!has_line(from, line))
			add_command("add", instance, line, b);
}

struct adding {
	const char *instance;
	struct buf *b;
};

static void add_link(const void *node, VISIT visit, void *arg)
{
	const struct link *l = *(const struct link *const *)node;
	const struct adding *a = arg;

	if (visit != postorder && visit != leaf)
		return;
	for (int i = 0; i < ELEMENT_KIND_COUNT; i++)
		if (l->text[i])
			element_change(a->instance, "", l->text[i], a->b);
}

void element_add_all(const char *instance, struct buf *b)
{
	struct adding a = {.instance = instance, .b = b};

	twalk_r(links, add_link, &a);
}
