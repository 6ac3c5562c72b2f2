// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/steps-disk.c - the steps data and disk: what a sandbox's store holds, and its attachment */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/data.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/memory.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/steps-private.h"
#include "ops/steps.h"
#include "ops/template.h"
#include "ops/warm.h"

enum {
	FRESH_NS = 20000000, /* two ticks of the slowest kernel */
};

/* Its directory alone: enough to go down. */
static void place(const struct sbx *s, const char *dir, struct data_spec *ret)
{
	*ret = (struct data_spec){.volume = {.instance = host.instance, .serial = s->made_as}};
	(void)snprintf(ret->dir, sizeof(ret->dir), "%s%s%s", s->dir, dir[0] ? "/" : "",
		       dir); /* fits: see STATE_DIR_MAX */
	ret->volume.dir = ret->dir;
	ret->volume.dir_fd = sbx_open(s, dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY);
}

void data_spec(struct sbx *s, struct data_spec *ret)
{
	place(s, s->moved ? s->moved_from : s->data_dir, ret);
	if (sbx_load_version(s, NULL) == 0) {
		pthread_mutex_lock(&s->lock);
		ret->volume.size_bytes = template_disk_mb(&s->config, s->version) << 20;
		/* What was set since cannot make it smaller: it has to be read as it is. */
		if (ret->volume.size_bytes < s->data_mib << 20 ||
		    (memory_goes_on(s) && s->data_mib)) /* nor larger: its guest knows its size */
			ret->volume.size_bytes = s->data_mib << 20;
		pthread_mutex_unlock(&s->lock);
		ret->volume.base = s->version->rootfs;
	}
}

/* A file's time is that of the kernel's last tick: what was written just now cannot be told from what will be. */
void data_stamp(struct sbx *s, struct data_stamp *ret)
{
	const struct volume_driver *store = sbx_store(s);
	AUTO_DATA_SPEC spec;
	struct timespec now;
	struct stat st;
	const char *name;

	*ret = (struct data_stamp){0};
	place(s, s->data_dir, &spec);
	name = store && spec.volume.dir_fd >= 0 ? store->data_name(spec.volume.dir_fd) : NULL;
	if (!name || fstatat(spec.volume.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	ret->bytes = (uint64_t)st.st_size;
	ret->mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	if (now.tv_sec * INT64_C(1000000000) + now.tv_nsec - ret->mtime_ns < FRESH_NS)
		ret->mtime_ns = 0;
}

void data_spec_done(struct data_spec *d)
{
	fd_close(steal_fd(&d->volume.dir_fd));
}

/* A driver that an earlier daemon had and this one has not: what it made stays until it is there again. */
int step_check_driver(const void *driver, const char *why, struct err *e)
{
	return driver ? 0 : err_set(e, ENOTSUP, "%s", why);
}

/* The store of its data and its size; NULL and 0: there is none. */
static void store_set(struct sbx *s, const struct volume_driver *store, uint64_t bytes)
{
	pthread_mutex_lock(&s->lock);
	s->store = store;
	s->data_mib = bytes >> 20;
	pthread_mutex_unlock(&s->lock);
}

int data_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	AUTO_DATA_SPEC spec;
	int r = 0;

	data_spec(s, &spec);
	/* Written down first: only the store that made the data can find it again. */
	if (!s->store) {
		store_set(s, host.volume, spec.volume.size_bytes);
		r = record_save(s, e);
	}
	if (r < 0)
		return r;
	return s->warm ? warm_data(s, &spec.volume, d, e) : s->store->create(&spec.volume, d, e);
}

int data_down(struct sbx *s, const struct deadline *d, struct err *e)
{
	const struct volume_driver *store = sbx_store(s);
	int r = step_check_driver(store, host.volume_why, e);

	(void)d;
	if (r < 0)
		return r;
	AUTO_DATA_SPEC spec;
	data_spec(s, &spec);
	r = store->destroy(&spec.volume, e);
	if (r < 0)
		return r;
	store_set(s, NULL, 0);
	return room_promise(s, 0, e);
}

/* The next step asks for it together with its attachment. */
int data_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	(void)e;
	return 0;
}

/* What can be done about data that a store does not take. */
static int disk_advise(const struct volume_driver *store, const struct data_spec *spec, int r,
		       struct err *e)
{
	if (r == -ENOENT && !store->data_name(spec->volume.dir_fd))
		return err_set(
			e, ENOENT,
			"its disk's data in %s is gone; go back to a snapshot, or destroy it",
			spec->dir);
	if (r == -EBADMSG && e)
		return err_set(e, EBADMSG,
			       "%s; if that cannot be mended, go back to a snapshot, or destroy it",
			       e->text);
	return r;
}

int disk_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	AUTO_DATA_SPEC spec;
	int r;

	data_spec(s, &spec);
	r = sbx_store(s)->up(&spec.volume, d, &s->volume, e);
	if (r < 0)
		return disk_advise(sbx_store(s), &spec, r, e);
	/* Before the guest grows its file system: from then on a smaller disk would cut it off. */
	if (spec.volume.size_bytes > s->data_mib << 20) {
		store_set(s, s->store, spec.volume.size_bytes);
		r = record_save(s, e);
	}
	return r;
}

int disk_down(struct sbx *s, const struct deadline *d, struct err *e)
{
	const struct volume_driver *store = sbx_store(s);
	int r = step_check_driver(store, host.volume_why, e);

	if (r < 0)
		return r;
	AUTO_DATA_SPEC spec;
	data_spec(s, &spec);
	r = store->down(&spec.volume, s->volume, d, e);
	if (r < 0)
		return r;
	s->volume = NULL;
	s->moved = false;
	return 0;
}

/* The handle is for the start of a VMM only; down() finds everything by its names. */
int disk_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	AUTO_DATA_SPEC spec;
	(void)d;
	data_spec(s, &spec);
	if (sbx_store(s)->alive(&spec.volume))
		return 0;
	return err_set(e, ENODEV, "its disk is not attached any more");
}

/* ---- other data in the place of the present ----------------------------------------------------------------- */

int data_make_dir(struct sbx *s, char ret_name[DATA_DIR_SIZE], int *ret_fd, struct err *e)
{
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	int made = -1, r;

	if (dir < 0)
		return err_sys(e, errno, "cannot open its directory");
	for (unsigned i = 1; made < 0; i++) {
		(void)snprintf(ret_name, DATA_DIR_SIZE, "data.%u", i);
		made = mkdirat(dir, ret_name, 0700);
		if (made < 0 && errno != EEXIST)
			return err_sys(e, errno, "cannot make a directory for data");
	}
	r = file_sync_dir(dir, e);
	if (r == 0)
		r = file_open_dir(dir, ret_name, ret_fd, e);
	if (r < 0)
		(void)unlinkat(dir, ret_name, AT_REMOVEDIR); /* else the next start does */
	return r;
}

int data_drop(struct sbx *s, const char *dir, const struct volume_driver *store, struct err *e)
{
	AUTO_FD own = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	AUTO_DATA_SPEC spec;
	int r;

	place(s, dir, &spec);
	if (own < 0 || spec.volume.dir_fd < 0)
		return err_sys(e, errno, "cannot open %s", spec.dir);
	r = store->destroy(&spec.volume, e);
	return r == 0 && dir[0] ? file_remove_tree(own, dir, e) : r;
}

static bool data_is_there(const struct sbx *s)
{
	AUTO_DATA_SPEC spec;

	place(s, s->data_dir, &spec);
	for (int i = 0; volume_drivers[i] && spec.volume.dir_fd >= 0; i++)
		if (volume_drivers[i]->data_name(spec.volume.dir_fd))
			return true;
	return false;
}

/* Of what it has in its directory, everything that is data and not where the record says. */
static void remove_strays(struct sbx *s)
{
	AUTO_DIR dir = NULL;
	AUTO_FD own = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	const struct dirent *entry;
	struct err e = {0};
	int r = own < 0 ? -errno : file_open_list(own, ".", &dir, &e);

	while (r == 0 && dir &&
	       (entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (strncmp(entry->d_name, "data.", 5) == 0 &&
		    strcmp(entry->d_name, s->data_dir) != 0)
			r = file_remove_tree(own, entry->d_name, &e);
	for (int i = 0; volume_drivers[i] && r == 0 && s->data_dir[0] && s->level <= LEVEL_DATA;
	     i++)
		if (volume_drivers[i]->data_name(own))
			r = data_drop(s, "", volume_drivers[i], &e);
	if (r < 0)
		log_warning("serial %u: %s, ignoring: the next start tries again", s->serial,
			    e.text);
}

void data_settle(struct sbx *s)
{
	bool there = data_is_there(s);
	unsigned level = s->level;
	struct err e = {0};
	int r = 0;

	if (level == LEVEL_DEFINED && s->data_dir[0] && s->store && there) {
		s->level = LEVEL_DATA; /* gone back to it, and the journal came too late */
	} else if (level == LEVEL_DATA && !s->started_ms && !there) {
		s->level = LEVEL_DEFINED; /* its first start, or gone back to having none */
		s->store = NULL;
		s->data_mib = 0;
		s->template_pin[0] = '\0';
		r = record_save(s, &e);
	}
	if (r == 0 && s->level != level)
		r = journal_write(s, &e);
	if (r < 0)
		log_warning("serial %u: %s, ignoring", s->serial, e.text);
	if (s->level != level && s->state != SBX_ERROR)
		s->state = s->level == LEVEL_DATA ? SBX_STOPPED : SBX_CREATED;
	remove_strays(s);
}
