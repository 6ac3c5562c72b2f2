/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-import.c - new versions: copied in with the writer's rights, named by their digest
 *
 * How it works: the files are copied into versions/import, digested as copied, synced, and the directory
 * is renamed to its digest; then the record names the new version. A crash leaves a directory that the
 * next start removes, or a version that nobody names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/asuser.h"
#include "ops/event.h"
#include "ops/memory.h"
#include "ops/template-private.h"

static const char *const part_names[] = {"rootfs.ext4", "kernel", "initrd", "template.conf"};

enum {
	MIB = 1 << 20,
};

void template_parts_done(struct template_parts *p)
{
	for (int i = 0; i < TEMPLATE_PART_COUNT; i++)
		fd_close(steal_fd(&p->fd[i]));
}

static int part_check(int fd, const char *name, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot look at %s", name);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return err_set(e, EINVAL, "%s is not a regular file with content", name);
	return 0;
}

/* An import on its way. */
struct import {
	const struct template_parts *p;
	int dir_fd; /* versions/import; borrowed */
	struct digest *digest;
	const struct deadline *d;
	struct err *e;
};

/* A file of our own without a name gets one, any other is copied. Return: 0 and @ret_fd, open for writing. */
static int place_part(const struct import *i, int part, int *ret_fd)
{
	const char *name = part_names[part];
	char path[40];
	AUTO_FD to = -1;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", i->p->fd[part]); /* fits */
	if (i->p->ours[part]) {
		if (linkat(AT_FDCWD, path, i->dir_fd, name, AT_SYMLINK_FOLLOW) < 0)
			return err_sys(i->e, errno, "cannot name %s", name);
		*ret_fd = openat(i->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		return *ret_fd < 0 ? err_sys(i->e, errno, "cannot open %s", name) : 0;
	}
	to = openat(i->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(i->e, errno, "cannot make %s", name);
	r = file_copy(i->p->fd[part], to, i->d->cancel_fd, i->e);
	if (r < 0)
		return err_wrap(i->e, "%s", name);
	*ret_fd = steal_fd(&to);
	return 0;
}

static int copy_part(const struct import *i, int part)
{
	const char *name = part_names[part];
	AUTO_FD to = -1;
	struct stat st;
	int r = place_part(i, part, &to);

	if (r < 0)
		return r;
	/* A disk is whole MiB: the store lays its own blocks over it. */
	if (part == TEMPLATE_PART_ROOTFS && fstat(to, &st) == 0 && st.st_size % MIB != 0 &&
	    ftruncate(to, (st.st_size / MIB + 1) * MIB) < 0)
		return err_sys(i->e, errno, "cannot round up %s", name);
	digest_add(i->digest, name, strlen(name) + 1);
	r = digest_add_sparse(i->digest, to, i->d->cancel_fd, i->e);
	if (r == 0 && fsync(to) < 0)
		r = err_sys(i->e, errno, "cannot write %s", name);
	return r;
}

static int copy_parts(const struct import *i)
{
	const char *conf = i->p->conf;
	int r = 0;

	for (int part = 0; part < TEMPLATE_PART_COUNT && r == 0; part++)
		if (i->p->fd[part] >= 0)
			r = copy_part(i, part);
	if (r == 0 && conf) {
		digest_add(i->digest, conf, strlen(conf));
		r = file_replace(i->dir_fd, part_names[TEMPLATE_PART_CONF], 0600, conf,
				 strlen(conf), i->e);
	}
	return r == 0 ? file_sync_dir(i->dir_fd, i->e) : r;
}

/* Saved memory, of whatever file system its files have names in. */
static int copy_memory(const struct import *i)
{
	AUTO_FD from = -1;
	AUTO_FD memory = -1;
	AUTO_FD start = -1;
	int r;

	if (i->p->memory_fd < 0)
		return 0;
	if (mkdirat(i->dir_fd, MEMORY_DIR, 0700) < 0)
		return err_sys(i->e, errno, "cannot make a directory for its memory");
	r = file_open_dir(i->dir_fd, MEMORY_DIR, &memory, i->e);
	if (r == 0)
		r = memory_link(i->p->memory_fd, memory, i->e);
	if (r == 0)
		r = template_memory_start_dir(memory, &start, i->e);
	if (r == 0)
		r = file_open_dir(i->p->memory_fd, TEMPLATE_MEMORY_START, &from, i->e);
	if (r == 0)
		r = memory_link(from, start, i->e);
	if (r == 0)
		r = file_sync_dir(memory, i->e);
	return r < 0 ? r : file_sync_dir(i->dir_fd, i->e);
}

/* Give the copied directory its name; the same content may be there already. Its memory goes with it. */
static int name_version(struct template *t, const char *digest, const struct import *i)
{
	AUTO_FD versions = -1;
	AUTO_FD there = -1;
	int r = file_open_dir(t->dir_fd, "versions", &versions, i->e);

	if (r == 0)
		r = fault_point("template-name", NULL, i->e);
	if (r < 0)
		return r;
	if (renameat(versions, "import", versions, digest) == 0) {
		r = fault_point("template-named", NULL, i->e);
		return r < 0 ? r : file_sync_dir(versions, i->e);
	}
	if (errno != EEXIST && errno != ENOTEMPTY)
		return err_sys(i->e, errno, "cannot name the version");
	if (i->p->memory_fd >= 0) {
		r = file_open_dir(versions, digest, &there, i->e);
		if (r == 0)
			r = version_move_memory(i->dir_fd, there, i->e);
		if (r < 0)
			return r;
	}
	return file_remove_tree(versions, "import", i->e);
}

/* Which version is the current one. */
struct current {
	char digest[DIGEST_SHORT + 1];
	struct template_source source;
};

/* With the template lock. */
static void swap_current(struct template *t, struct current *c)
{
	struct current before = {.source = t->source};

	memcpy(before.digest, t->digest, sizeof(before.digest));
	memcpy(t->digest, c->digest, sizeof(t->digest));
	t->source = c->source;
	*c = before;
}

/* List it if it is new, and make it the current one, durably. @fresh is given away. */
static int take_version(struct template *t, const char *digest, struct version *fresh,
			const struct template_source *source, struct err *e)
{
	struct current current = {0};
	struct version *v;
	int r;

	(void)snprintf(fresh->digest, sizeof(fresh->digest), "%.*s", DIGEST_SHORT, digest);
	memcpy(current.digest, fresh->digest, sizeof(current.digest));
	if (source)
		current.source = *source;
	pthread_mutex_lock(&template_lock);
	for (v = t->versions; v && strcmp(v->digest, digest) != 0; v = v->next)
		;
	if (!v) {
		fresh->next = t->versions;
		t->versions = fresh;
		fresh = NULL;
	} else if (fresh->memory.saved.dir[0]) {
		v->memory = fresh->memory;
		v->memory_bytes = fresh->memory_bytes;
		v->memory_bad = false;
	}
	swap_current(t, &current);
	t->imported_ms = wall_ms();
	pthread_mutex_unlock(&template_lock);
	version_free(fresh);
	r = template_save(t, e);
	if (r < 0) {
		pthread_mutex_lock(&template_lock);
		swap_current(t, &current);
		pthread_mutex_unlock(&template_lock);
		/* Want of room is found out before the record is replaced. After anything else the disk may name the new one. */
		if (r != -ENOSPC && r != -EDQUOT && template_save(t, NULL) < 0)
			return r;
	}
	template_prune(t);
	return r;
}

static int import_parts(struct template *t, const struct template_parts *p,
			const struct deadline *d, struct err *e)
{
	struct digest *digest = digest_new();
	char hex[DIGEST_HEX_SIZE] = "";
	struct version *fresh = NULL;
	struct import i = {p, -1, digest, d, e};
	AUTO_FD dir = -1;
	int r = digest ? 0 : err_set(e, ENOMEM, "no memory");

	if (r == 0)
		r = fault_point("template-import", d, e);
	if (r == 0)
		r = file_remove_tree(t->dir_fd, "versions/import", e);
	if (r == 0 && mkdirat(t->dir_fd, "versions/import", 0700) < 0)
		r = err_sys(e, errno, "cannot make a directory for the version");
	if (r == 0)
		r = file_open_dir(t->dir_fd, "versions/import", &dir, e);
	i.dir_fd = dir;
	if (r == 0)
		r = copy_parts(&i);
	if (r == 0)
		r = copy_memory(&i);
	if (r == 0) {
		fresh = version_load(t, "import", e); /* what cannot be read gets no name */
		r = fresh ? 0 : -e->code;
	}
	if (r == 0) {
		digest_hex(digest, hex);
		hex[DIGEST_SHORT] = '\0';
		r = name_version(t, hex, &i);
	}
	digest_free(digest);
	if (r == 0 && fresh)
		return take_version(t, hex, fresh, p->source, e);
	version_free(fresh);
	(void)file_remove_tree(t->dir_fd, "versions/import",
			       NULL); /* else the next import or start does */
	return r;
}

void template_doing(struct template *t, const char *what)
{
	pthread_mutex_lock(&template_lock);
	t->doing = what;
	pthread_mutex_unlock(&template_lock);
	event_tell(t->serial, EVENT_STATUS);
}

void template_did(struct template *t, int result, const struct err *e)
{
	pthread_mutex_lock(&template_lock);
	t->doing = NULL;
	(void)snprintf(t->last_error, sizeof(t->last_error), "%.500s", result < 0 ? e->text : "");
	pthread_mutex_unlock(&template_lock);
	event_tell(t->serial, EVENT_STATUS);
}

int template_import_parts(struct template *t, const struct template_parts *p,
			  const struct deadline *d, struct err *e)
{
	struct err none = {0};
	int r;

	e = e ? e : &none;
	template_doing(t, "importing");
	r = import_parts(t, p, d, e);
	template_did(t, r, e);
	return r;
}

static int open_from_dir(const char *path, const struct writer *w, struct template_parts *p,
			 struct err *e)
{
	AUTO_FD dir = -1;
	int r = asuser_open(w, AT_FDCWD, path, O_PATH | O_DIRECTORY, &dir, e);

	for (int i = 0; i < TEMPLATE_PART_COUNT && r == 0; i++) {
		r = asuser_open(w, dir, part_names[i], O_RDONLY, &p->fd[i], e);
		if (r == 0)
			r = part_check(p->fd[i], part_names[i], e);
	}
	return r < 0 ? err_wrap(e, "%s is not what sbx-mktemplate writes", path) : 0;
}

int template_import(struct template *t, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e)
{
	struct template_parts p = TEMPLATE_PARTS_NONE;
	struct err none = {0};
	int r;

	e = e ? e : &none;
	template_doing(t, "importing");
	r = open_from_dir(path, w, &p, e);
	if (r == 0)
		r = import_parts(t, &p, d, e);
	template_parts_done(&p);
	template_did(t, r, e);
	return r;
}

int template_lend(int part, struct template_parts *p, struct err *e)
{
	struct template_version v;
	int r = template_version_find("default", &v, e);

	if (r < 0)
		return err_wrap(e, "no %s was given and the template default has none to lend",
				part_names[part]);
	p->fd[part] =
		open(part == TEMPLATE_PART_KERNEL ? v.kernel : v.initrd, O_RDONLY | O_CLOEXEC);
	template_version_done(&v);
	return p->fd[part] < 0 ? err_sys(e, errno, "cannot open the default %s", part_names[part])
			       : 0;
}

int template_import_files(struct template *t, const struct template_files *f,
			  const struct writer *w, const struct deadline *d, struct err *e)
{
	const char *paths[] = {f->rootfs, f->kernel, f->initrd};
	struct template_parts p = TEMPLATE_PARTS_NONE;
	AUTO_BUF conf = BUF_INIT;
	struct err none = {0};
	int r = 0;

	e = e ? e : &none;
	buf_adds(&conf, "cmdline=");
	buf_add_escaped(&conf, f->cmdline ? f->cmdline : "");
	buf_addc(&conf, '\n');
	p.conf = buf_text(&conf);
	template_doing(t, "importing");
	for (int i = TEMPLATE_PART_ROOTFS; i <= TEMPLATE_PART_INITRD && r == 0; i++) {
		if (paths[i])
			r = asuser_open(w, AT_FDCWD, paths[i], O_RDONLY, &p.fd[i], e);
		else
			r = template_lend(i, &p, e);
		if (r == 0)
			r = part_check(p.fd[i], paths[i] ? paths[i] : part_names[i], e);
	}
	if (r == 0)
		r = import_parts(t, &p, d, e);
	template_parts_done(&p);
	template_did(t, r, e);
	return r;
}
