/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/reply.c - the last reply of each command file
 *
 * How it works: a tree by st_ino to find one, and a ring through all of them in the order in which they
 * were written, to know which to drop when there are too many.
 */
#include "fs/reply.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct reply {
	uint64_t ino;
	struct reply *older, *newer;
	size_t len;
	char text[];
};

static pthread_mutex_t reply_lock = PTHREAD_MUTEX_INITIALIZER;
static void *tree; /* struct reply by ino */
static struct reply *oldest, *newest;
static size_t kept_bytes; /* texts and their headers */

static int compare(const void *a, const void *b)
{
	uint64_t x = ((const struct reply *)a)->ino, y = ((const struct reply *)b)->ino;

	return x < y ? -1 : x > y;
}

static struct reply *find(uint64_t ino)
{
	const struct reply key = {.ino = ino};
	struct reply *const *at = (struct reply *const *)tfind(&key, &tree, compare);

	return at ? *at : NULL;
}

static void drop(struct reply *r)
{
	if (!r)
		return;
	(void)tdelete(r, &tree, compare); /* gives the parent, of no use here */
	*(r->older ? &r->older->newer : &oldest) = r->newer;
	*(r->newer ? &r->newer->older : &newest) = r->older;
	kept_bytes -= sizeof(*r) + r->len;
	free(r);
}

static void insert(struct reply *r)
{
	if (!tsearch(r, &tree, compare)) {
		free(r);
		return;
	}
	r->older = newest;
	*(newest ? &newest->newer : &oldest) = r;
	newest = r;
	kept_bytes += sizeof(*r) + r->len;
	while (kept_bytes > REPLY_KEPT_BYTES && oldest != r)
		drop(oldest);
}

void reply_keep(uint64_t ino, const struct buf *text)
{
	struct reply *r = calloc(1, sizeof(*r) + text->len);

	if (r) {
		r->ino = ino;
		r->len = text->len;
		memcpy(r->text, buf_text(text), text->len);
	}
	pthread_mutex_lock(&reply_lock);
	drop(find(ino)); /* an old one would be taken for this one */
	if (r)
		insert(r);
	pthread_mutex_unlock(&reply_lock);
}

void reply_add(uint64_t ino, struct buf *b)
{
	const struct reply *r;

	pthread_mutex_lock(&reply_lock);
	r = find(ino);
	if (r)
		buf_add(b, r->text, r->len);
	pthread_mutex_unlock(&reply_lock);
}

size_t reply_size(uint64_t ino)
{
	const struct reply *r;
	size_t len;

	pthread_mutex_lock(&reply_lock);
	r = find(ino);
	len = r ? r->len : 0;
	pthread_mutex_unlock(&reply_lock);
	return len;
}

void reply_forget(uint64_t ino)
{
	pthread_mutex_lock(&reply_lock);
	drop(find(ino));
	pthread_mutex_unlock(&reply_lock);
}
