// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/commit.c - a template from a sandbox's disk
 *
 * How it works: one that runs stands still only while its changes are copied to snapshots/.commit. From that copy, or from
 * the changes themselves while nobody writes to them, the disk is flattened into a file without a name beside
 * the templates, made fit there, and given a name by the import, which has the template's turn. Kernel and initramfs
 * never change, so that they are shared with the version that they come from. What a crash leaves is the hidden
 * directory, which the next start removes, a version that nobody names, or a template without a version.
 */
#include "ops/commit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "ops/commit-full.h"
#include "ops/commit-image.h"
#include "ops/data.h"
#include "ops/host.h"
#include "ops/nested.h"
#include "ops/quiesce.h"
#include "ops/room.h"
#include "ops/snapshot.h"
#include "ops/steps.h"
#include "ops/template.h"

#define SNAPSHOTS "snapshots"
#define HIDDEN    ".commit" /* below it; no snapshot's name */

enum {
	CONF_MAX = 1 << 16, /* bytes of a template.conf */
	MODE_WRITE = 2,
};

/* One commit on its way. */
struct commit {
	struct sbx *s;
	const char *name;
	const struct writer *writer;
	const struct deadline *d;
	struct buf *out;
	struct template *target; /* a reference; NULL: not there */
	bool made;               /* by us, just now */
	int all_fd, copy_fd;     /* snapshots and .commit; owned */
	struct template_parts parts;
	struct buf conf;
	uint64_t disk_bytes;           /* of the sandbox's disk */
	bool full;                     /* with its memory, and the disk exactly as it is */
	struct template_memory memory; /* of that */
	char digest[13];               /* of the version that it became */
};

/* ---- whose template it is -------------------------------------------------------------------------------- */

static bool writer_in_group(const struct writer *w, gid_t gid)
{
	if (w->gid == gid)
		return true;
	for (unsigned i = 0; i < w->group_count; i++)
		if (w->groups[i] == gid)
			return true;
	return false;
}

/* As the kernel decides about its ctl file. */
static bool may_write(const struct template_owner *o, const struct writer *w)
{
	unsigned shift = 0;

	if (w->uid == 0)
		return true;
	if (w->uid == o->uid)
		shift = 6;
	else if (writer_in_group(w, o->gid))
		shift = 3;
	return o->mode >> shift & MODE_WRITE;
}

/* As the kernel decides about mkdir in .templates and about the template's ctl. */
static int find_target(struct commit *c, struct err *e)
{
	struct template_owner owner;

	if (!name_is_valid(c->name))
		return err_set(e, EINVAL, "%s is not a name", c->name);
	c->target = template_find(c->name);
	if (c->target) {
		owner = template_owner(c->target);
		if (!may_write(&owner, c->writer))
			return err_set(e, EACCES,
				       "template %s is another's and not for you to write",
				       c->name);
	} else if (c->writer->uid != 0 && c->writer->uid != geteuid()) {
		return err_set(e, EACCES,
			       "there is no template %s; let root make it and give it to you",
			       c->name);
	}
	return 0;
}

/* ---- the sandbox's disk ---------------------------------------------------------------------------------- */

static void copy_remove(struct commit *c)
{
	struct err e = {0};

	fd_close(steal_fd(&c->parts.memory_fd));
	fd_close(steal_fd(&c->copy_fd));
	if (c->all_fd >= 0 && file_remove_tree(c->all_fd, HIDDEN, &e) < 0)
		log_warning("%s, ignoring: the next start removes it", e.text);
	fd_close(steal_fd(&c->all_fd));
}

static int copy_dir(struct commit *c, struct err *e)
{
	int r = snapshot_open_all(c->s, true, &c->all_fd, e);

	if (r == 0)
		r = file_remove_tree(c->all_fd, HIDDEN, e);
	if (r == 0 && mkdirat(c->all_fd, HIDDEN, 0700) < 0)
		r = err_sys(e, errno, "cannot make a directory for the copy");
	if (r == 0)
		r = file_open_dir(c->all_fd, HIDDEN, &c->copy_fd, e);
	return r;
}

static void copy_path(const struct commit *c, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/" SNAPSHOTS "/" HIDDEN, c->s->dir); /* fits */
}

static int keep_memory(struct commit *c, const struct volume_spec *spec, struct err *e)
{
	char dir[384];
	const struct vm_saved to = {.dir = dir, .dir_fd = c->copy_fd};
	int r;

	copy_path(c, dir, sizeof(dir));
	r = commit_full_keep(c->s, spec, &to, c->d, &c->memory, e);
	return r < 0 ? r : commit_full_seal(c->copy_fd, &c->memory, &c->parts.memory_fd, e);
}

/* What is of one moment: the changes of one that runs, and the memory. */
static int keep(struct commit *c, const struct volume_spec *spec, struct err *e)
{
	bool running = c->s->level >= LEVEL_DATA && sbx_state(c->s) == SBX_RUNNING;
	int r;

	if (!running && !c->full)
		return 0;
	r = copy_dir(c, e);
	if (r < 0)
		return r;
	return c->full ? keep_memory(c, spec, e)
		       : quiesce_copy(c->s, spec, c->copy_fd, c->d, c->out, e);
}

/* The copy of the changes, and an image that shares nothing with the base. */
static int check_room(const struct volume_driver *store, const struct volume_spec *spec,
		      uint64_t more, struct err *e)
{
	struct volume_usage usage = {0};
	struct stat st;
	uint64_t bytes = 0;

	if (stat(spec->base, &st) == 0)
		bytes = (uint64_t)st.st_blocks * 512;
	if (store && store->usage(spec, &usage) == 0)
		bytes += 2 * usage.used_bytes;
	return room_check(bytes + more, e);
}

/* From the copy, or from the data itself where nobody writes to it for as long as we have the turn. */
static int flatten(struct commit *c, const struct volume_driver *store,
		   const struct volume_spec *spec, struct err *e)
{
	struct volume_spec copy = *spec;
	char dir[384];

	copy_path(c, dir, sizeof(dir));
	if (c->copy_fd >= 0 && store->data_name(c->copy_fd)) {
		copy.dir = dir;
		copy.dir_fd = c->copy_fd;
	}
	return store->flatten(&copy, c->parts.fd[TEMPLATE_PART_ROOTFS], c->d, e);
}

/* It was never started: its disk is its template's. */
static int take_base(struct commit *c, const struct volume_spec *spec, struct err *e)
{
	AUTO_FD base = open(spec->base, O_RDONLY | O_CLOEXEC);

	if (base < 0)
		return err_sys(e, errno, "cannot open %s", spec->base);
	return file_copy(base, c->parts.fd[TEMPLATE_PART_ROOTFS], c->d->cancel_fd, e);
}

static int image_open(struct commit *c, struct err *e)
{
	c->parts.fd[TEMPLATE_PART_ROOTFS] =
		openat(host.templates_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	c->parts.ours[TEMPLATE_PART_ROOTFS] = true;
	if (c->parts.fd[TEMPLATE_PART_ROOTFS] < 0)
		return err_sys(e, errno, "cannot make a file for the image");
	return 0;
}

static int image_make(struct commit *c, struct err *e)
{
	const struct volume_driver *store = c->s->level >= LEVEL_DATA ? sbx_store(c->s) : NULL;
	AUTO_DATA_SPEC spec;
	int r;

	data_spec(c->s, &spec);
	c->disk_bytes = spec.volume.size_bytes;
	r = check_room(store, &spec.volume, c->full ? commit_full_bytes(c->s) : 0, e);
	if (r == 0)
		r = keep(c, &spec.volume, e);
	if (r == 0)
		r = fault_point("commit-flatten", c->d, e);
	if (r == 0)
		r = image_open(c, e);
	if (r == 0)
		r = store ? flatten(c, store, &spec.volume, e) : take_base(c, &spec.volume, e);
	if (!c->full)
		copy_remove(c);
	return r;
}

/* ---- what goes with it ----------------------------------------------------------------------------------- */

static int part_open(struct commit *c, enum template_part part, const char *path, struct err *e)
{
	c->parts.fd[part] = open(path, O_RDONLY | O_CLOEXEC);
	c->parts.ours[part] = true; /* it never changes: two versions can have the one file */
	return c->parts.fd[part] < 0 ? err_sys(e, errno, "cannot open %s", path) : 0;
}

/* Memory fits a guest of its own shape. */
static bool is_shape(const struct commit *c, const char *line)
{
	return c->full && (strncmp(line, "vcpus=", 6) == 0 || strncmp(line, "memory_mb=", 10) == 0);
}

/* The version's own settings; a disk smaller than the image could not be started. */
static void conf_take(struct commit *c, char *text, uint64_t image_mib)
{
	static const char key[] = "disk_mb=";
	static const struct config none;
	uint64_t disk_mib = config_number(&none, NULL, CONFIG_DISK_MB), said;
	char *cursor = text, *line;

	while ((line = parse_line(&cursor))) {
		if (is_shape(c, line))
			continue;
		if (strncmp(line, key, strlen(key)) != 0)
			buf_addf(&c->conf, "%s\n", line);
		else if (parse_u64(line + strlen(key), 0, UINT64_MAX, &said) == 0)
			disk_mib = said;
	}
	if (disk_mib < image_mib)
		disk_mib = c->disk_bytes >> 20 > image_mib ? c->disk_bytes >> 20 : image_mib;
	buf_addf(&c->conf, "%s%" PRIu64 "\n", key, c->full ? image_mib : disk_mib);
	if (c->full)
		buf_addf(&c->conf, "vcpus=%u\nmemory_mb=%" PRIu64 "\n", c->memory.saved.vcpus,
			 c->memory.saved.mib);
}

static int conf_make(struct commit *c, uint64_t image_mib, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_FD dir = -1;
	char path[384];
	int r;

	(void)snprintf(path, sizeof(path), "%s", c->s->version->rootfs);
	*strrchr(path, '/') = '\0';
	r = file_open_dir(AT_FDCWD, path, &dir, e);
	if (r == 0)
		r = file_read(dir, "template.conf", CONF_MAX, &text, e);
	if (r < 0)
		return r;
	if (text.len > 0)
		conf_take(c, text.data, image_mib);
	c->parts.conf = buf_text(&c->conf);
	return buf_error(&c->conf) < 0 ? err_set(e, ENOMEM, "no memory") : 0;
}

static int parts_fill(struct commit *c, struct err *e)
{
	static const struct config none;
	uint64_t bytes = config_number(&none, NULL, CONFIG_DISK_MB) << 20;
	int fd = c->parts.fd[TEMPLATE_PART_ROOTFS], r;
	struct stat st;

	r = c->full ? 0 : commit_image_finish(fd, bytes, c->d, e);
	if (r == 0 && fstat(fd, &st) < 0)
		r = err_sys(e, errno, "cannot look at the image");
	if (r == 0)
		r = conf_make(c, ((uint64_t)st.st_size + (1 << 20) - 1) >> 20, e);
	if (r == 0)
		r = part_open(c, TEMPLATE_PART_KERNEL, c->s->version->kernel, e);
	if (r == 0)
		r = part_open(c, TEMPLATE_PART_INITRD, c->s->version->initrd, e);
	return r;
}

/* ---- the template ---------------------------------------------------------------------------------------- */

/* With the template's turn. */
static int import_run(void *arg, const struct deadline *d, struct err *e)
{
	struct commit *c = arg;
	struct template_view view;
	int r = fault_point("commit-import", d, e);

	if (r == 0)
		r = template_import_parts(c->target, &c->parts, d, e);
	if (r < 0)
		return r;
	template_view(c->target, &view);
	memcpy(c->digest, view.digest, sizeof(c->digest));
	return 0;
}

/* Somebody may have made it meanwhile, and then it is his. */
static int make_target(struct commit *c, struct err *e)
{
	int r = template_create(c->name, c->writer, &c->target, e);

	c->made = r == 0;
	return r == -EEXIST ? find_target(c, e) : r;
}

static int import(struct commit *c, struct err *e)
{
	int r = c->target ? 0 : make_target(c, e);

	if (r == 0)
		r = nested_turn(template_lane(c->target), import_run, c, c->d, e);
	if (r < 0 && c->made && template_remove_empty(c->target, NULL) < 0)
		log_info("template %s was made for a commit that failed, and stays", c->name);
	return r;
}

static void commit_done(struct commit *c)
{
	copy_remove(c);
	template_put(c->target);
	template_parts_done(&c->parts);
	buf_done(&c->conf);
}

int commit_template(struct sbx *s, const struct commit_wish *wish, const struct deadline *d,
		    struct buf *out, struct err *e)
{
	struct commit c = {.s = s,
			   .name = wish->name,
			   .writer = wish->writer,
			   .full = wish->full,
			   .d = d,
			   .out = out,
			   .all_fd = -1,
			   .copy_fd = -1,
			   .parts = TEMPLATE_PARTS_NONE,
			   .conf = BUF_INIT};
	int r = find_target(&c, e);

	if (r == 0 && c.full)
		r = commit_full_check(s, e);
	if (s->level <= LEVEL_DATA) /* what it would start from now */
		sbx_drop_version(s);
	if (r == 0)
		r = sbx_load_version(s, e);
	if (r == 0)
		r = image_make(&c, e);
	if (r == 0)
		r = parts_fill(&c, e);
	if (r == 0)
		r = import(&c, e);
	if (r == 0)
		buf_addf(out, "%s@%s\n", c.name, c.digest);
	commit_done(&c);
	return r;
}
