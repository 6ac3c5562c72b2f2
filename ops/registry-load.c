/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/registry-load.c - the records of an earlier daemon: read, listed, and what was under way undone
 *
 * How it works: every sandbox is listed at once with what its record says. One whose journal says that
 * more than its data may be held has a job queued that walks down to the data; a writer's command waits behind that job. A
 * record that cannot be read is listed in state error and none of its files is touched; what its journal names stays as well.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "ops/admit.h"
#include "ops/clone.h"
#include "ops/data.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/lifecycle.h"
#include "ops/memory.h"
#include "ops/record.h"
#include "ops/registry-private.h"
#include "ops/room.h"
#include "ops/serial.h"
#include "ops/slots.h"
#include "ops/snapshot.h"
#include "ops/steps.h"
#include "ops/template.h"

/* A slot is given back before the journal says so, and may be another's then: nobody has one who has no VM. */
static void load_slot(struct sbx *s, const struct journal *j)
{
	uint32_t serial = j->net ? j->net : s->made_as;
	int r;

	if (s->level <= LEVEL_NETWORK || j->slot == UINT32_MAX)
		return;
	r = slots_take_this(j->slot, serial);
	if (r == -EBUSY) {
		log_warning("serial %" PRIu32 ": its network slot %" PRIu32
			    " is taken or no more, ignoring: it is removed",
			    s->serial, j->slot);
		return;
	}
	/* Two claim the same when one has taken it over from the other: settle_taken(). */
	s->slot.index = j->slot;
	s->slot.serial = serial;
}

/* What the journal says was held. Return: may its VM run? */
static bool load_journal(struct sbx *s)
{
	struct journal j;
	struct err e = {0};

	if (journal_read(s, &j, &e) < 0) {
		log_warning("serial %" PRIu32 ": %s: everything may be held", s->serial, e.text);
		j.level = LEVEL_RUNNING;
	}
	s->level = j.level < LEVEL_DEFINED ? LEVEL_DEFINED : j.level;
	if (s->level > LEVEL_RUNNING)
		s->level = LEVEL_RUNNING;
	if (j.made_as && s->level > LEVEL_DATA)
		s->made_as = j.made_as;
	if (j.same_boot)
		s->vm_id = j.vm;
	load_slot(s, &j);
	if (s->level > LEVEL_DATA && !j.same_boot)
		s->was_frozen = false;
	s->resumed = j.resumed && s->memory.dir[0] &&
		     (!j.resumed_dir[0] || strcmp(j.resumed_dir, s->memory.dir) == 0);
	s->resumed_data = j.resumed_data;
	if (!j.same_boot) /* a time of the file may have been lost with the power */
		s->resumed_data = (struct data_stamp){0};
	s->pausing = j.pausing;
	if (s->level > LEVEL_DATA) /* until it is known whether it goes on: registry_recover() */
		s->state = s->level == LEVEL_RUNNING && j.same_boot ? SBX_STARTING : SBX_STOPPING;
	else if (s->state != SBX_ERROR)
		s->state = s->level == LEVEL_DATA ? SBX_STOPPED : SBX_CREATED;
	return s->level > LEVEL_NETWORK && j.same_boot;
}

/* What its names are made of is known by the journal: its slot is not swept, and destroy finds all. */
static void quarantine(struct sbx *s, const struct err *e)
{
	(void)load_journal(s);
	s->damaged = true;
	s->state = SBX_ERROR;
	s->mode = 0700;
	s->cloning[0] = '\0';
	s->level =
		LEVEL_RUNNING; /* whatever it holds is found by its serial when it is destroyed */
	/* ~: no name that somebody may give */
	(void)snprintf(s->name, sizeof(s->name), "damaged~%" PRIu32, s->serial);
	(void)snprintf(s->last_error, sizeof(s->last_error), "%.500s", e->text);
	log_error("%s/sandboxes/%" PRIu32 ": %s: listed as %s, its files are left as they are",
		  host.state_dir, s->serial, e->text, s->name);
}

/* After the data: memory goes on with that or not at all. */
static void load_memory(struct sbx *s)
{
	struct err e = {0};
	int r = 0;

	if (s->level < LEVEL_DATA)
		r = memory_drop(s, &e);
	memory_settle(s);
	if (r == 0 && s->level == LEVEL_DATA)
		r = memory_judge(s, &e);
	if (r < 0)
		log_warning("serial %" PRIu32 ": %s, ignoring", s->serial, e.text);
	if (s->level <= LEVEL_DATA && s->state != SBX_ERROR)
		s->state = lifecycle_resting_state(s);
}

/* What an earlier daemon promised: what its disk may grow to, and what its VM has while nobody knows whether it goes on. */
static void count_promises(struct sbx *s, bool may_run)
{
	int r = s->level < LEVEL_DATA ? -ENOENT : sbx_load_version(s, NULL);

	if (r == 0)
		room_promise_loaded(s, template_disk_mb(&s->config, s->version) << 20);
	if (may_run)
		admit_adopted(s);
	sbx_drop_version(s);
}

/* mkdir without a record did not get as far as to answer, and destroy removes the data first. */
static bool has_data(struct sbx *s)
{
	struct journal j;
	int r = journal_read(s, &j, NULL);

	return r < 0 || j.level >= LEVEL_DATA;
}

static void load_rest(struct sbx *s)
{
	bool may_run = load_journal(s);
	struct err why = {0};

	data_settle(s);
	load_memory(s);
	count_promises(s, may_run);
	if (snapshot_load(s, &why) < 0)
		log_error("serial %" PRIu32 ": its snapshots cannot be listed: %s, ignoring",
			  s->serial, why.text);
}

static int load_one(uint32_t serial, struct err *e)
{
	struct sbx *s = sbx_new(serial, e);
	struct err why = {0};
	int r;

	if (!s)
		return -e->code;
	serial_seen(serial);
	r = record_load(s, &why);
	if (r == -ENOENT && !has_data(s)) {
		/* mkdir did not get as far as to answer: there is nothing in it that anybody was told of. */
		char name[16];

		sbx_put(s);
		(void)snprintf(name, sizeof(name), "%" PRIu32, serial);
		if (file_remove_tree(host.sandboxes_fd, name, &why) < 0)
			log_warning("%s, ignoring", why.text);
		return 0;
	}
	if (r < 0)
		quarantine(s, &why);
	else
		load_rest(s);
	r = registry_add(s);
	sbx_put(s);
	return r < 0 ? err_set(e, ENOMEM, "no memory") : 0;
}

int registry_load(struct err *e)
{
	AUTO_DIR dir = NULL;
	int r = file_open_list(host.sandboxes_fd, ".", &dir, e);
	const struct dirent *entry;
	uint64_t serial;

	while (r == 0 &&
	       (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (entry->d_name[0] == '.')
			continue;
		if (parse_u64(entry->d_name, 1, UINT32_MAX, &serial) == 0)
			r = load_one((uint32_t)serial, e);
		else
			log_warning("%s/sandboxes/%s is nothing of ours, ignoring", host.state_dir,
				    entry->d_name);
	}
	return r;
}

/* What it has was made for another, whose journal may still claim it: that one is a name on disk and no more. */
static void settle_taken(const struct sbx *s)
{
	struct sbx *from = s->made_as != s->serial ? registry_find_serial(s->made_as) : NULL;

	if (!from)
		return;
	if (from->hidden || from->gone) {
		from->level = LEVEL_DEFINED;
		slots_none(&from->slot);
		from->vm_id = (struct proc_id){0};
	}
	sbx_put(from);
}

static void settle_all_taken(void)
{
	uint32_t after = 0;
	struct sbx *s;

	while ((s = registry_next_any(after))) {
		after = s->serial;
		settle_taken(s);
		sbx_put(s);
	}
}

void registry_recover(void)
{
	uint32_t after = 0;
	struct sbx *s;

	clone_settle();
	settle_all_taken();
	while ((s = registry_next_any(after))) {
		struct err e = {0};
		int r = 0;

		after = s->serial;
		if (s->gone)
			r = lifecycle_destroy_later(s, &e);
		else if (s->level > LEVEL_DATA && !s->damaged)
			r = lifecycle_recover_later(s, &e);
		if (r < 0)
			log_error("serial %" PRIu32 ": %s", s->serial, e.text);
		sbx_put(s);
	}
}

void registry_done(void)
{
	struct sbx *s;

	while ((s = registry_next_any(0))) {
		registry_forget(s);
		sbx_put(s);
	}
}
