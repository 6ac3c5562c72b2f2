// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot-keep.c - a sandbox's data, and its memory, copied to where a snapshot is made
 *
 * How it works: for a disk alone the guest is asked to hold its file systems (quiesce.h). For a full one it is not: its vCPUs
 * stand while the data is copied and the memory saved, so that the two are of one moment, and what is saved wakes as if nothing had
 * been. One that is paused has its memory saved already: its files are shared.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "ops/data.h"
#include "ops/memory.h"
#include "ops/quiesce.h"
#include "ops/room.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"
#include "vm/vm.h"

static int memory_dir(struct snapshot_fresh *f, int *ret_fd, struct err *e)
{
	if (mkdirat(f->fd, MEMORY_DIR, 0700) < 0)
		return err_sys(e, errno, "cannot make a directory for its memory");
	return file_open_dir(f->fd, MEMORY_DIR, ret_fd, e);
}

/* Its vCPUs stand. */
static int save_memory(struct sbx *s, struct snapshot_fresh *f, const struct deadline *d,
		       struct err *e)
{
	struct memory_saved m = {.dir = MEMORY_DIR};
	char path[SNAPSHOT_DIR_MAX + sizeof(MEMORY_DIR)];
	AUTO_FD fd = -1;
	int r = memory_dir(f, &fd, e);

	if (r == 0)
		r = fault_point("snapshot-memory", d, e);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/snapshots/%s/" MEMORY_DIR, s->dir,
		       f->temp); /* fits: see STATE_DIR_MAX */
	r = memory_save(s, path, fd, d, &m, e);
	if (r == 0)
		f->snapshot->memory = m;
	return r;
}

static int share_memory(struct sbx *s, struct snapshot_fresh *f, const struct deadline *d,
			struct err *e)
{
	AUTO_FD from = sbx_open(s, s->memory.dir, O_RDONLY | O_DIRECTORY);
	AUTO_FD fd = -1;
	int r = memory_check(s, e);

	if (r == 0 && from < 0)
		r = err_sys(e, errno, "cannot open its saved memory");
	if (r == 0)
		r = memory_dir(f, &fd, e);
	if (r == 0)
		r = fault_point("snapshot-memory", d, e);
	if (r == 0)
		r = memory_link(from, fd, e);
	if (r < 0)
		return r;
	f->snapshot->memory = s->memory;
	(void)snprintf(f->snapshot->memory.dir, MEMORY_DIR_SIZE, MEMORY_DIR);
	return 0;
}

/* Data and memory of one moment. */
static int keep_standing(struct sbx *s, struct snapshot_fresh *f, const struct volume_spec *spec,
			 const struct deadline *d, struct err *e)
{
	struct quiesce q;
	int r = quiesce_stand(s, d, &q, e), end;

	if (r < 0)
		return r;
	r = sbx_store(s)->copy(spec, f->fd, d, e);
	if (r == 0)
		r = save_memory(s, f, d, e);
	end = quiesce_end(s, &q, r < 0 ? NULL : e);
	return r < 0 ? r : end;
}

static int keep_full(struct sbx *s, struct snapshot_fresh *f, const struct volume_spec *spec,
		     const struct deadline *d, struct err *e)
{
	int r;

	if (s->level > LEVEL_DATA)
		r = keep_standing(s, f, spec, d, e);
	else
		r = sbx_store(s)->copy(spec, f->fd, d, e);
	if (r == 0 && s->level <= LEVEL_DATA)
		r = share_memory(s, f, d, e);
	return r < 0 ? r : file_sync_dir(f->fd, e);
}

/* How much the memory can come to: less, as pages of zeroes take no room. */
static uint64_t memory_most(const struct sbx *s, enum snapshot_kind kind)
{
	return kind == SNAPSHOT_FULL && s->vm ? vm_common(s->vm)->memory_mib << 20 : 0;
}

static uint64_t kept_bytes(const struct snapshot_fresh *f)
{
	uint64_t bytes = snapshot_data_bytes(f->snapshot->store, f->fd);
	AUTO_FD fd = -1;

	if (f->snapshot->kind == SNAPSHOT_FULL && file_open_dir(f->fd, MEMORY_DIR, &fd, NULL) == 0)
		bytes += memory_bytes(fd);
	return bytes;
}

int snapshot_keep(struct sbx *s, struct snapshot_fresh *f, const struct deadline *d,
		  struct buf *out, struct err *e)
{
	struct snapshot *n = f->snapshot;
	int r = sbx_load_version(s, e);

	if (r < 0)
		return r;
	AUTO_DATA_SPEC spec;
	data_spec(s, &spec);
	n->store = sbx_store(s);
	n->disk_bytes = spec.volume.size_bytes;
	memcpy(n->template_pin, s->version->pin, sizeof(n->template_pin));
	r = room_check(snapshot_data_bytes(n->store, spec.volume.dir_fd) + memory_most(s, n->kind),
		       e);
	if (r == 0)
		r = fault_point("snapshot-copy", d, e);
	if (r == 0 && n->kind == SNAPSHOT_FULL)
		r = keep_full(s, f, &spec.volume, d, e);
	else if (r == 0)
		r = quiesce_copy(s, &spec.volume, f->fd, d, out, e);
	if (r == 0)
		n->size_bytes = kept_bytes(f);
	return r;
}
