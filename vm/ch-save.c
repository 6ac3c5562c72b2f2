/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch-save.c - a guest's memory and devices, saved, checked, and made ready to go on from
 *
 * How it works: the VMM writes three files into an empty directory: config.json, state.json and memory-ranges. It may be confined
 * to a directory of its own (Landlock, fixed when it starts), so it writes below the spec's save_dir, and what
 * it wrote is moved from there. Each save has a directory of its own there: one that was given up goes on in the VMM,
 * and must not meet the next.
 * To go on, the VMM is given another directory: links to state and memory, and the configuration with the descriptors of the
 * new process put in. The saved files are only ever read.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/ch.h"

#define CONFIG "config.json"
#define STATE  "state.json"
#define MEMORY "memory-ranges"

enum {
	PATH_SIZE = 512,
	CONFIG_MAX = 1 << 20, /* bytes */
	BLOCK = 4096,
	PIECE = 256 * BLOCK, /* read at once when zeroes are looked for */
};

static const char *const file_names[] = {CONFIG, STATE, MEMORY};

enum { FILE_COUNT = sizeof(file_names) / sizeof(*file_names) };

void ch_manifest(struct manifest *m, const struct vm_spec *spec)
{
	manifest_fill(m, spec);
	(void)snprintf(m->machine, sizeof(m->machine), "pci");
	(void)snprintf(m->devices, sizeof(m->devices), "%s%sballoon0 rng serial pvpanic",
		       spec->disk ? "disk0 " : "", spec->net == VM_NET_TAP ? "net0 " : "");
	(void)snprintf(m->memory, sizeof(m->memory), "ranges");
}

int ch_check_saved(const struct vm_spec *spec, struct err *e)
{
	struct manifest saved, here;
	struct vm_spec full = *spec;
	int r = manifest_read(spec->saved->dir_fd, MANIFEST_NAME, &saved, e);

	if (r < 0)
		return r;
	if (!full.name) /* nothing of what it will be connected to is there yet: it is as ever */
		full.disk = "-";
	ch_manifest(&here, &full);
	r = manifest_compare(&saved, &here, e);
	return r < 0 ? r : manifest_check_files(&saved, spec->saved->dir_fd, e);
}

/* ---- saving ------------------------------------------------------------------------------------------ */

/* Where one save is written. */
struct place {
	int parent_fd; /* save_dir; owned; -1: it is written to its end at once */
	char name[24]; /* below it */
	int fd;        /* the directory; owned */
	char path[PATH_SIZE];
};

/* What earlier saves left that were given up. The VMM may still be at it: then the next one finds it. */
static void place_clear(int parent_fd)
{
	AUTO_DIR dir = NULL;
	const struct dirent *entry;

	if (file_open_list(parent_fd, ".", &dir, NULL) < 0)
		return;
	while ((entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (entry->d_name[0] != '.')
			(void)file_remove_tree(parent_fd, entry->d_name, NULL);
}

static int place_below(struct place *p, const char *save_dir, struct err *e)
{
	int made = -1, r, n;

	place_clear(p->parent_fd);
	for (unsigned i = 1; made < 0; i++) {
		(void)snprintf(p->name, sizeof(p->name), "%u", i);
		made = mkdirat(p->parent_fd, p->name, 0700);
		if (made < 0 && errno != EEXIST)
			return err_sys(e, errno, "cannot make a directory in %s", save_dir);
	}
	n = snprintf(p->path, sizeof(p->path), "%s/%s", save_dir, p->name);
	if (n < 0 || n >= (int)sizeof(p->path))
		r = err_set(e, ENAMETOOLONG, "the name of %s is too long", save_dir);
	else
		r = file_open_dir(p->parent_fd, p->name, &p->fd, e);
	if (r < 0)
		(void)unlinkat(p->parent_fd, p->name, AT_REMOVEDIR); /* else the next save does */
	return r;
}

static int place_open(struct place *p, const struct vm *vm, const struct vm_saved *to,
		      struct err *e)
{
	char link[CH_RUN_DIR_SIZE + sizeof(CH_SAVE) + 1], save_dir[PATH_SIZE];
	ssize_t n;
	int r;

	*p = (struct place){.parent_fd = -1, .fd = -1};
	(void)snprintf(link, sizeof(link), "%s/" CH_SAVE, vm->run_dir);
	n = readlink(link, save_dir, sizeof(save_dir) - 1);
	if (n > 0) {
		save_dir[n] = '\0';
		r = file_open_dir(AT_FDCWD, save_dir, &p->parent_fd, e);
		return r < 0 ? r : place_below(p, save_dir, e);
	}
	n = snprintf(p->path, sizeof(p->path), "%s", to->dir);
	if (n < 0 || n >= (ssize_t)sizeof(p->path))
		return err_set(e, ENAMETOOLONG, "the name of %s is too long", to->dir);
	return file_open_dir(to->dir_fd, ".", &p->fd, e);
}

static void place_done(struct place *p)
{
	fd_close(steal_fd(&p->fd));
	if (p->parent_fd >= 0 && p->name[0])
		(void)file_remove_tree(p->parent_fd, p->name, NULL); /* else the next save does */
	fd_close(steal_fd(&p->parent_fd));
}

static bool is_zero(const char *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Punch out the zeroes of one piece. Return: 0; negative errno. */
static int punch_piece(int fd, const char *p, size_t len, off_t at)
{
	size_t from = 0;

	while (from < len) {
		size_t to = from;

		while (to + BLOCK <= len && is_zero(p + to, BLOCK))
			to += BLOCK;
		if (to > from && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   at + (off_t)from, (off_t)(to - from)) < 0)
			return -errno;
		from = to + BLOCK;
	}
	return 0;
}

static int punch_extent(int fd, off_t at, off_t end, const struct deadline *d, char *piece)
{
	while (at < end) {
		size_t want = end - at < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = pread(fd, piece, want, at);
		int r;

		if (n <= 0)
			return n < 0 ? -errno : 0;
		r = punch_piece(fd, piece, (size_t)n, at);
		if (r < 0)
			return r;
		if (deadline_cancelled(d) || deadline_left_ms(d) == 0)
			return deadline_cancelled(d) ? -ECANCELED : -ETIMEDOUT;
		at += n;
	}
	return 0;
}

/* Give the room of pages of zeroes back. */
static int punch_zeroes(int fd, const struct deadline *d, struct err *e)
{
	AUTO_FREE char *piece = malloc(PIECE);
	off_t end = 0;
	int r = piece ? 0 : -ENOMEM;

	while (r == 0) {
		off_t at = lseek(fd, end, SEEK_DATA);

		if (at < 0)
			break; /* ENXIO: there is no more */
		end = lseek(fd, at, SEEK_HOLE);
		r = punch_extent(fd, at, end, d, piece);
	}
	if (r == -EOPNOTSUPP) /* a file system without holes: it takes the room */
		r = 0;
	return r < 0 ? err_sys(e, -r, "cannot make the saved memory sparse") : 0;
}

/* See that the VMM wrote one of its files, and make it durable. */
static int settle_file(const struct vm *vm, int dirfd, const char *name, const struct deadline *d,
		       struct err *e)
{
	AUTO_FD fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	bool is_memory = strcmp(name, MEMORY) == 0;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, EIO,
			       "cloud-hypervisor said that it saved its guest, but not %s (%s)",
			       name, err_name(errno));
	if (st.st_size == 0 || (is_memory && (uint64_t)st.st_size != vm->common.memory_mib << 20))
		return err_set(
			e, EIO,
			"cloud-hypervisor said that it saved its guest, but %s has %lld bytes",
			name, (long long)st.st_size);
	r = is_memory ? punch_zeroes(fd, d, e) : 0;
	if (r == 0 && (fchmod(fd, S_IRUSR | S_IWUSR) < 0 || fsync(fd) < 0))
		r = err_sys(e, errno, "cannot write the saved %s to the disk", name);
	return r;
}

static int settle(const struct vm *vm, const struct place *p, const struct vm_saved *to,
		  const struct deadline *d, struct err *e)
{
	struct manifest m = vm->manifest;
	int r = 0;

	for (int i = 0; r == 0 && i < FILE_COUNT; i++)
		r = settle_file(vm, p->fd, file_names[i], d, e);
	for (int i = 0; r == 0 && p->parent_fd >= 0 && i < FILE_COUNT; i++)
		if (renameat(p->fd, file_names[i], to->dir_fd, file_names[i]) < 0)
			r = err_sys(e, errno, "cannot move the saved %s to %s", file_names[i],
				    to->dir);
	m.file_count = 0;
	for (int i = 0; r == 0 && i < FILE_COUNT; i++)
		r = manifest_add_file(&m, to->dir_fd, file_names[i],
				      strcmp(file_names[i], MEMORY) != 0, e);
	return r < 0 ? r : manifest_write(&m, to->dir_fd, MANIFEST_NAME, e);
}

static int snapshot(const struct vm *vm, const struct place *p, const struct deadline *d,
		    struct err *e)
{
	char url[PATH_SIZE + sizeof("file://")];
	struct err why = {0};
	int r;

	(void)snprintf(url, sizeof(url), "file://%s", p->path);
	r = ch_put_text(vm->run_dir, "vm.snapshot", "destination_url", url, d, &why);
	if (r == 0)
		return 0;
	/* The API tells a full disk in words alone; the number is Linux's ENOSPC. */
	if (strstr(why.text, "(os error 28)"))
		why.code = ENOSPC;
	return err_set(e, why.code, "%s", why.text);
}

int ch_save(struct vm *vm, const struct vm_saved *to, const struct deadline *d, struct err *e)
{
	struct place p;
	int r = place_open(&p, vm, to, e);

	if (r == 0)
		r = snapshot(vm, &p, d, e);
	if (r == 0)
		r = settle(vm, &p, to, d, e);
	place_done(&p);
	return r;
}

/* ---- going on ---------------------------------------------------------------------------------------- */

static int not_ours(struct err *e)
{
	return err_set(e, EBADMSG, "the saved " CONFIG " is damaged");
}

static int edit_disk(struct json_object *config, const struct ch_fds *fds, bool direct,
		     struct err *e)
{
	struct json_object *disks = json_at(config, "disks"), *disk;
	char path[40];

	if (fds->disk < 0)
		return 0;
	if (!json_object_is_type(disks, json_type_array) || json_object_array_length(disks) != 1)
		return not_ours(e);
	disk = json_object_array_get_idx(disks, 0);
	if (!json_object_is_type(disk, json_type_object))
		return not_ours(e);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fds->disk);
	if (json_add_text(disk, "path", path) < 0 || json_add_bool(disk, "direct", direct) < 0)
		return err_set(e, ENOMEM, "no memory for a configuration");
	return 0;
}

/* Its rules are for this process's descriptors; without Landlock there are none. */
static int edit_landlock(struct json_object *config, const struct ch_fds *fds, bool landlock)
{
	struct json_object *rules = json_object_new_array(), *rule = json_object_new_object();
	char path[40];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fds->save);
	r = rules && rule ? 0 : -ENOMEM;
	r = r ? r : json_add_text(rule, "path", path);
	r = r ? r : json_add_text(rule, "access", "rw");
	if (r == 0 && fds->save >= 0) {
		r = json_object_array_add(rules, rule);
		rule = r == 0 ? NULL : rule;
	}
	json_object_put(rule);
	r = r ? r : json_add_bool(config, "landlock_enable", landlock);
	if (r < 0 || json_object_object_add(config, "landlock_rules", rules) < 0) {
		json_object_put(rules);
		return -ENOMEM;
	}
	return 0;
}

int ch_config_edit(struct json_object *config, const struct ch_fds *fds, bool direct, struct err *e)
{
	struct json_object *payload;
	int r;

	if (!json_object_is_type(config, json_type_object))
		return not_ours(e);
	r = edit_disk(config, fds, direct, e);
	if (r < 0)
		return r;
	/* What it booted from may be gone: the kernel is not opened again, but one has to be named. */
	payload = json_object_new_object();
	if (!payload || json_add_text(payload, "kernel", "/dev/null") < 0 ||
	    json_object_object_add(config, "payload", payload) < 0) {
		json_object_put(payload);
		return err_set(e, ENOMEM, "no memory for a configuration");
	}
	if (edit_landlock(config, fds, ch_landlock()) < 0)
		return err_set(e, ENOMEM, "no memory for a configuration");
	return 0;
}

static int link_saved(const struct vm_saved *saved, int dirfd, const char *name, struct err *e)
{
	char path[PATH_SIZE];
	int n = snprintf(path, sizeof(path), "%s/%s", saved->dir, name);

	if (n < 0 || n >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "the name of %s is too long", saved->dir);
	if (symlinkat(path, dirfd, name) < 0)
		return err_sys(e, errno, "cannot make a link to %s", path);
	return 0;
}

int ch_restore_dir(const struct vm_spec *spec, const struct ch_fds *fds, bool direct, struct err *e)
{
	char path[CH_RUN_DIR_SIZE + sizeof(CH_RESTORE) + 1];
	AUTO_BUF text = BUF_INIT;
	AUTO_JSON config = NULL;
	AUTO_FD dir = -1;
	int r = file_read(spec->saved->dir_fd, CONFIG, CONFIG_MAX, &text, e);

	if (r < 0)
		return r;
	if (json_parse(buf_text(&text), text.len, &config, NULL) < 0)
		return not_ours(e);
	r = ch_config_edit(config, fds, direct, e);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/" CH_RESTORE, spec->run_dir);
	r = file_mkdirs(path, 0700, e);
	if (r == 0)
		r = file_open_dir(AT_FDCWD, path, &dir, e);
	if (r == 0) {
		const char *edited = json_object_to_json_string(config);

		r = edited ? file_replace(dir, CONFIG, 0600, edited, strlen(edited), e)
			   : err_set(e, ENOMEM, "no memory for a configuration");
	}
	if (r == 0)
		r = link_saved(spec->saved, dir, STATE, e);
	return r < 0 ? r : link_saved(spec->saved, dir, MEMORY, e);
}
