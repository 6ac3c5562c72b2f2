// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/clone.c - new sandboxes that go on from where another one is
 *
 * How it works: with the turn of the source its state is kept in a hidden snapshot, which takes it out of use for as long as a
 * snapshot does. The clones are then defined, and each is built with the turn of its own lane, side by side, by workers that no
 * other job can take: a clone waits for nothing but its own VM. If one fails, all are destroyed.
 */
#include "ops/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/random.h"
#include "ops/host.h"
#include "ops/lifecycle.h"
#include "ops/nested.h"
#include "ops/pause.h"
#include "ops/record.h"
#include "ops/registry.h"
#include "ops/room.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"

#define MARK ".clone." /* and an ID; below snapshots/ */
#define OVER ".cloned."

enum {
	ID_BYTES = 8,
	ID_SIZE = 2 * ID_BYTES + 1,
	UNDO_MS = 60000,
};

struct clone;

/* One of the new ones. */
struct one {
	struct clone *clone;
	struct sbx *s; /* a reference; NULL: not defined yet */
	struct buf out;
};

struct clone {
	struct sbx *source;
	const struct clone_order *order;
	char id[ID_SIZE];
	struct snapshot_fresh hidden;
	struct snapshot *taken; /* the snapshot that was named; NULL: the hidden one */
	struct snapshot_source from;
	struct one *ones;          /* owned */
	struct nested_turn *turns; /* owned */
	bool unsure; /* some may not be destroyed: the mark stays, so that the next start does it */
};

/* ---- what is asked for ----------------------------------------------------------------------------------- */

static int check_name(const struct clone_order *o, unsigned i, struct err *e)
{
	const char *name = o->names[i];
	struct sbx *there;

	if (!name_is_valid(name))
		return err_set(
			e, EINVAL,
			"%s is not a name: 1 to 63 of a-z A-Z 0-9 . _ -, a letter or digit first",
			name);
	for (unsigned j = 0; j < i; j++)
		if (strcmp(o->names[j], name) == 0)
			return err_set(e, EINVAL, "%s is named twice", name);
	there = registry_find(name);
	sbx_put(there);
	return there ? err_set(e, EEXIST, "there is a sandbox %s", name) : 0;
}

/* As the kernel decides about mkdir in the mount. */
static int check_order(const struct clone_order *o, struct err *e)
{
	int r = 0;

	if (o->writer->uid != 0 && o->writer->uid != geteuid())
		return err_set(e, EACCES, "only root may make sandboxes here");
	for (unsigned i = 0; i < o->count && r == 0; i++)
		r = check_name(o, i, e);
	return r;
}

/* ---- what they are made from ----------------------------------------------------------------------------- */

static bool is_alive(enum sbx_state state)
{
	return state == SBX_RUNNING || state == SBX_FROZEN || state == SBX_PAUSED;
}

/* The hidden directory is there in any case: it is the mark. */
static int begin(struct clone *c, struct err *e)
{
	char temp[sizeof(c->hidden.temp)];
	int r;

	if (random_hex(c->id, ID_BYTES) < 0)
		return err_set(e, EIO, "the kernel gives no random bytes");
	(void)snprintf(temp, sizeof(temp), MARK "%s", c->id);
	r = snapshot_begin_hidden(c->source, temp, &c->hidden, e);
	return r < 0 ? r : file_sync_dir(c->hidden.all_fd, e);
}

static int keep_now(struct clone *c, const struct deadline *d, struct buf *out, struct err *e)
{
	struct sbx *s = c->source;
	struct snapshot *n = c->hidden.snapshot;
	int r = 0;

	n->kind = is_alive(sbx_state(s)) ? SNAPSHOT_FULL : SNAPSHOT_DISK;
	if (s->level >= LEVEL_DATA)
		r = snapshot_keep(s, &c->hidden, d, out, e);
	c->from.snapshot = n;
	c->from.dir_name = c->hidden.temp;
	return r;
}

static int find_source(struct clone *c, const struct deadline *d, struct buf *out, struct err *e)
{
	int r;

	c->from = (struct snapshot_source){.verb = "clone", .owner = c->source, .shared = true};
	if (c->order->from) {
		c->taken = snapshot_take(c->source, c->order->from, e);
		if (!c->taken)
			return e ? -e->code : -ENOENT;
		c->from.snapshot = c->taken;
		c->from.dir_name = c->taken->name;
	}
	r = begin(c, e);
	if (r == 0 && !c->taken)
		r = keep_now(c, d, out, e);
	if (r == 0 && c->from.snapshot->kind == SNAPSHOT_FULL)
		r = snapshot_check_memory(&c->from, e);
	return r;
}

/* ---- one of them ----------------------------------------------------------------------------------------- */

/* The settings of the source but for its protection. */
static int give_config(const struct clone *c, struct sbx *s, struct err *e)
{
	struct config config = {0};
	int r;

	pthread_mutex_lock(&c->source->lock);
	r = config_copy(&c->source->config, &config);
	pthread_mutex_unlock(&c->source->lock);
	if (r == 0)
		r = config_set(&config, "protect", NULL, NULL, NULL);
	if (r < 0) {
		config_done(&config);
		return err_set(e, ENOMEM, "no memory");
	}
	pthread_mutex_lock(&s->lock);
	config_done(&s->config);
	s->config = config;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int define(struct clone *c, struct err *e)
{
	char mark[sizeof(c->source->cloning)];
	int r = 0;

	(void)snprintf(mark, sizeof(mark), "%" PRIu32 "/" MARK "%s", c->source->serial, c->id);
	for (unsigned i = 0; i < c->order->count && r == 0; i++) {
		r = fault_point("clone-define", NULL, e);
		if (r == 0)
			r = registry_create_clone(c->order->names[i], mark, c->order->writer,
						  &c->ones[i].s, e);
		if (r == 0)
			r = give_config(c, c->ones[i].s, e);
	}
	return r;
}

static int put_in_place(struct clone *c, struct sbx *s, const struct deadline *d, struct err *e)
{
	struct snapshot_origin before;
	int r;

	if (!c->from.snapshot->store)
		return record_save(s, e); /* its settings */
	r = snapshot_place(s, &c->from, d, &before, e);
	if (r < 0)
		return r;
	snapshot_place_end(s, &before);
	sbx_set_state(s, lifecycle_resting_state(s));
	return 0;
}

/* With its turn, which somebody else may have had before. */
static int build(void *arg, const struct deadline *d, struct err *e)
{
	struct one *one = arg;
	struct clone *c = one->clone;
	struct sbx *s = one->s;
	char name[NAME_MAX_LEN + 1];
	int r = 0;

	sbx_name(s, name);
	log_subject(name);
	if (sbx_state(s) != SBX_CREATED)
		r = err_set(e, EBUSY, "somebody else used it meanwhile");
	if (r == 0)
		r = put_in_place(c, s, d, e);
	if (r == 0 && c->from.snapshot->kind == SNAPSHOT_FULL) {
		r = fault_point("clone-up", d, e);
		if (r == 0)
			r = pause_up(s, d, &one->out, e);
	}
	return r < 0 ? err_wrap(e, "%s", name) : 0;
}

static int destroy(void *arg, const struct deadline *d, struct err *e)
{
	const struct one *one = arg;
	int r;

	(void)d; /* the way down has its own */
	r = registry_retire(one->s, e);
	return r < 0 ? r : lifecycle_destroy(one->s, e);
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

static unsigned defined(struct clone *c)
{
	unsigned n = 0;

	while (n < c->order->count && c->ones[n].s) {
		c->turns[n] = (struct nested_turn){.lane = &c->ones[n].s->lane, .arg = &c->ones[n]};
		n++;
	}
	return n;
}

/* From here on they are real, durably. */
static int make_real(struct clone *c, struct err *e)
{
	char over[sizeof(c->hidden.temp)];
	int r = fault_point("clone-commit", NULL, e);

	if (r < 0)
		return r;
	(void)snprintf(over, sizeof(over), OVER "%s", c->id);
	if (renameat(c->hidden.all_fd, c->hidden.temp, c->hidden.all_fd, over) < 0)
		return err_sys(e, errno, "cannot finish the clones");
	r = fault_point("clone-real", NULL, e);
	if (r == 0)
		r = file_sync_dir(c->hidden.all_fd, e);
	if (r < 0 && renameat(c->hidden.all_fd, over, c->hidden.all_fd, c->hidden.temp) < 0)
		log_error("cannot take the end of a clone back");
	if (r == 0)
		memcpy(c->hidden.temp, over, sizeof(over));
	return r;
}

/* They name nothing that is there any more: best effort. */
static void clear_marks(struct clone *c)
{
	struct err e = {0};

	for (unsigned i = 0; i < c->order->count; i++) {
		struct sbx *s = c->ones[i].s;

		if (!s)
			continue;
		pthread_mutex_lock(&s->lock);
		s->cloning[0] = '\0';
		pthread_mutex_unlock(&s->lock);
		if (record_save(s, &e) < 0)
			log_warning("%s, ignoring", e.text);
	}
}

static void undo(struct clone *c)
{
	struct deadline d = deadline_in(UNDO_MS, -1);
	unsigned count = defined(c);
	struct err e = {0};

	if (count == 0)
		return;
	if (nested_turns(c->turns, count, destroy, &d, &e) < 0)
		log_warning("a clone that was not finished is left: %s", e.text);
	/* One that is marked as gone needs no other mark. */
	for (unsigned i = 0; i < count; i++)
		c->unsure |= c->turns[i].result < 0 && !c->ones[i].s->gone;
}

static int make_all(struct clone *c, const struct deadline *d, struct buf *out, struct err *e)
{
	int r = find_source(c, d, out, e);

	if (r == 0)
		r = define(c, e);
	if (r == 0)
		r = nested_turns(c->turns, defined(c), build, d, e);
	if (r == 0)
		r = make_real(c, e);
	if (r < 0) {
		for (unsigned i = 0; i < c->order->count; i++)
			buf_add(out, buf_text(&c->ones[i].out), c->ones[i].out.len);
		undo(c);
		return r;
	}
	clear_marks(c);
	return 0;
}

static void done(struct clone *c)
{
	if (c->unsure)
		c->hidden.temp[0] = '\0'; /* stays */
	snapshot_fresh_done(&c->hidden);
	if (c->taken)
		snapshot_give_back(c->source, c->taken);
	for (unsigned i = 0; c->ones && i < c->order->count; i++) {
		sbx_put(c->ones[i].s);
		buf_done(&c->ones[i].out);
	}
	free(c->ones);
	free(c->turns);
}

int clone_make(struct sbx *s, const struct clone_order *o, const struct deadline *d,
	       struct buf *out, struct err *e)
{
	struct clone c = {.source = s, .order = o, .hidden = SNAPSHOT_FRESH_NONE};
	int r = check_order(o, e);

	if (r < 0)
		return r;
	c.ones = calloc(o->count, sizeof(*c.ones));
	c.turns = calloc(o->count, sizeof(*c.turns));
	for (unsigned i = 0; c.ones && i < o->count; i++)
		c.ones[i] = (struct one){.clone = &c, .out = BUF_INIT};
	r = c.ones && c.turns ? make_all(&c, d, out, e) : err_set(e, ENOMEM, "no memory");
	done(&c);
	return r;
}

/* ---- at start -------------------------------------------------------------------------------------------- */

/* Is what the record names there still? */
static bool on_its_way(const struct sbx *s)
{
	char path[sizeof(s->cloning) + 16];
	unsigned serial;
	char id[ID_SIZE];

	/* NOLINTNEXTLINE(cert-err34-c): what was written down is compared with */
	if (sscanf(s->cloning, "%u/" MARK "%16[0-9a-f]", &serial, id) != 2)
		return false;
	(void)snprintf(path, sizeof(path), "%u/snapshots/" MARK "%s", serial, id);
	return faccessat(host.sandboxes_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int retire_unfinished(void)
{
	uint32_t after = 0;
	struct sbx *s;
	int first = 0;

	while ((s = registry_next_any(after))) {
		struct err e = {0};

		after = s->serial;
		if (s->cloning[0] && !s->gone && on_its_way(s)) {
			log_info("%s is a clone that was not finished: it is destroyed", s->name);
			if (registry_retire(s, &e) < 0) {
				log_error("%s, ignoring: the next start tries again", e.text);
				first = -e.code;
			}
		}
		sbx_put(s);
	}
	return first;
}

void clone_settle(void)
{
	uint32_t after = 0;
	struct sbx *s;

	if (retire_unfinished() < 0)
		return;
	while ((s = registry_next_any(after))) {
		after = s->serial;
		snapshot_remove_hidden(s, MARK);
		sbx_put(s);
	}
}
