// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/steps-disk.c - the steps data and disk: what a sandbox's store holds, and its attachment */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ops/data.h"
#include "ops/host.h"
#include "ops/record.h"
#include "ops/steps-private.h"
#include "ops/steps.h"
#include "ops/template.h"

void data_spec(struct sbx *s, struct data_spec *ret)
{
	*ret = (struct data_spec){.volume = {.instance = host.instance, .serial = s->serial}};
	(void)snprintf(ret->dir, sizeof(ret->dir), "%s%s%s", s->dir, s->data_dir[0] ? "/" : "",
		       s->data_dir); /* fits: see STATE_DIR_MAX */
	ret->volume.dir = ret->dir;
	ret->volume.dir_fd =
		sbx_open(s, s->data_dir[0] ? s->data_dir : ".", O_RDONLY | O_DIRECTORY);
	if (sbx_load_version(s, NULL) == 0) {
		pthread_mutex_lock(&s->lock);
		ret->volume.size_bytes = template_disk_mb(&s->config, s->version) << 20;
		pthread_mutex_unlock(&s->lock);
		ret->volume.base = s->version->rootfs;
	}
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

static void store_set(struct sbx *s, const struct volume_driver *store)
{
	pthread_mutex_lock(&s->lock);
	s->store = store;
	pthread_mutex_unlock(&s->lock);
}

int data_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = 0;

	/* Written down first: only the store that made the data can find it again. */
	if (!s->store) {
		store_set(s, host.volume);
		r = record_save(s, e);
	}
	if (r < 0)
		return r;
	AUTO_DATA_SPEC spec;
	data_spec(s, &spec);
	return s->store->create(&spec.volume, d, e);
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
	if (r == 0)
		store_set(s, NULL);
	return r;
}

/* The next step asks for it together with its attachment. */
int data_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	(void)e;
	return 0;
}

int disk_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	AUTO_DATA_SPEC spec;
	data_spec(s, &spec);
	return sbx_store(s)->up(&spec.volume, d, &s->volume, e);
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
	if (r == 0)
		s->volume = NULL;
	return r;
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
