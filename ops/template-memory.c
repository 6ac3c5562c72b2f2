// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/template-memory.c - the saved memory of a template's version
 *
 * How it works: versions/DIGEST12/memory holds the files of the VMM's driver, and in start/ a record and the disk's data as
 * they were at that moment. It comes into being as .memory.new and is durable before it gets its name, in exchange for the one that
 * was there; what a crash leaves under other names the next start removes. Nothing in it ever changes: who goes on from it has
 * links to its files and a copy of the data.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/memory.h"
#include "ops/template-private.h"
#include "ops/vmm.h"

#define FRESH_DIR  ".memory.new"
#define START_PATH MEMORY_DIR "/" TEMPLATE_MEMORY_START

enum {
	MEMORY_RECORD_MAX = 1 << 16,
};

/* ---- the record ------------------------------------------------------------------------------------------ */

static int record_write(int start_fd, const struct template_memory *m, struct err *e)
{
	AUTO_JSON o = json_object_new_object();
	const char *text = NULL;
	int r = -ENOMEM;

	if (o) {
		r = json_add_text(o, "kind", m->full ? "full" : "warm");
		r = r ? r : json_add_text(o, "storage", m->store[0] ? m->store : NULL);
		r = r ? r : json_add_int(o, "disk_mb", (int64_t)m->disk_mib);
		r = r ? r : memory_add_json(&m->saved, o);
	}
	if (r == 0)
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (!text)
		return err_set(e, ENOMEM, "no memory");
	return file_replace(start_fd, "record", 0600, text, strlen(text), e);
}

static int record_read(int start_fd, struct template_memory *ret, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_JSON o = NULL;
	int r = file_read(start_fd, "record", MEMORY_RECORD_MAX, &text, e);

	if (r == 0)
		r = json_parse(buf_text(&text), text.len, &o, e);
	if (r < 0)
		return r;
	*ret = (struct template_memory){
		.full = strcmp(json_text_at(o, "kind", ""), "full") == 0,
		.disk_mib = (uint64_t)json_int_at(o, "disk_mb", 0),
	};
	(void)snprintf(ret->store, sizeof(ret->store), "%s", json_text_at(o, "storage", ""));
	memory_from_json(o, &ret->saved);
	if (!ret->saved.dir[0] || !ret->disk_mib)
		return err_set(e, EBADMSG, "the record of its memory is not one of ours");
	return 0;
}

/* ---- what is there --------------------------------------------------------------------------------------- */

static uint64_t bytes_of(int version_fd)
{
	AUTO_FD memory = -1;
	AUTO_FD start = -1;
	uint64_t bytes = 0;

	if (file_open_dir(version_fd, MEMORY_DIR, &memory, NULL) == 0)
		bytes += memory_bytes(memory);
	if (file_open_dir(version_fd, START_PATH, &start, NULL) == 0)
		bytes += memory_bytes(start);
	return bytes;
}

void version_load_memory(int version_fd, struct version *v)
{
	AUTO_FD start = -1;
	struct err e = {0};
	int r = file_remove_tree(version_fd, FRESH_DIR, &e);

	if (r == 0)
		r = file_open_dir(version_fd, START_PATH, &start, NULL) == 0
			    ? record_read(start, &v->memory, &e)
			    : 0; /* it has none, or half of one, which is removed when another is made */
	if (r < 0) {
		log_warning("version %s: %s, ignoring: its sandboxes boot", v->digest, e.text);
		v->memory = (struct template_memory){0};
	}
	v->memory_bytes = bytes_of(version_fd);
}

/* What check_saved() has to know. */
static int spec_fill(const struct template_memory *m, const struct vm_saved *from,
		     struct vm_spec *ret, struct err *e)
{
	const struct vm_host *vmm = vmm_host(vm_driver_named(m->saved.vmm));

	if (!vmm)
		return err_set(e, ENOTSUP, "it was saved by %s, which this host has not",
			       m->saved.vmm);
	if (!host.net || strcmp(host.net->name, m->saved.net) != 0)
		return err_set(e, ENOTSUP, "it was saved with the network %s", m->saved.net);
	*ret = (struct vm_spec){
		.saved = from,
		.host = vmm,
		.vcpus = m->saved.vcpus,
		.memory_mib = m->saved.mib,
		.net = host.net->is_user ? VM_NET_USER : VM_NET_TAP,
		.tap_fd = -1,
		.netns_fd = -1,
		.console_fd = -1,
		.stderr_fd = -1,
	};
	return 0;
}

int template_memory_check(const struct template_memory *m, const char *dir, struct err *e)
{
	struct vm_saved from = {.dir = dir, .memory = VM_MEMORY_OWN};
	struct vm_spec spec = {.saved = NULL};
	AUTO_FD fd = -1;
	int r = file_open_dir(AT_FDCWD, dir, &fd, e);

	if (r == 0)
		r = spec_fill(m, &from, &spec, e);
	if (r < 0 || !spec.host)
		return r;
	from.dir_fd = fd;
	return spec.host->driver->check_saved(&spec, e);
}

void version_check_memory(struct template *t, struct version *v)
{
	char path[sizeof(((struct template_version *)0)->memory_dir)];
	AUTO_FD fd = -1;
	struct err e = {0};

	if (!v->memory.saved.dir[0])
		return;
	version_path(t, v, MEMORY_DIR, path, sizeof(path));
	if (template_memory_check(&v->memory, path, &e) == 0)
		return;
	log_info("template %s: the memory of version %s is not used: %s", t->name, v->digest,
		 e.text);
	v->memory_bad = true;
	if (v->memory.full) /* it cannot be made again: perhaps the program comes back */
		return;
	version_path(t, v, "", path, sizeof(path));
	if (file_open_dir(AT_FDCWD, path, &fd, &e) < 0 ||
	    file_remove_tree(fd, MEMORY_DIR, &e) < 0) {
		log_warning("template %s: %s, ignoring", t->name, e.text);
		return;
	}
	v->memory = (struct template_memory){0};
	v->memory_bad = false;
	v->memory_bytes = 0;
}

void template_memory_bad(const struct template_version *v)
{
	struct template *t;
	struct version *own;

	pthread_mutex_lock(&template_lock);
	own = version_of_pin(v->pin, &t);
	if (own && strcmp(own->memory.saved.token, v->memory.saved.token) == 0)
		own->memory_bad = true;
	pthread_mutex_unlock(&template_lock);
}

/* ---- a new one ------------------------------------------------------------------------------------------- */

int template_memory_begin(const struct template_version *v, struct template_memory_fresh *ret,
			  struct err *e)
{
	char version[sizeof(v->rootfs)];
	int r;

	*ret = (struct template_memory_fresh){.version_fd = -1, .fd = -1};
	(void)snprintf(version, sizeof(version), "%s", v->rootfs);
	*strrchr(version, '/') = '\0';
	(void)snprintf(ret->path, sizeof(ret->path), "%s/" FRESH_DIR, version);
	r = file_open_dir(AT_FDCWD, version, &ret->version_fd, e);
	if (r == 0)
		r = file_remove_tree(ret->version_fd, FRESH_DIR, e);
	if (r == 0 && mkdirat(ret->version_fd, FRESH_DIR, 0700) < 0)
		r = err_sys(e, errno, "cannot make a directory for its memory");
	return r < 0 ? r : file_open_dir(ret->version_fd, FRESH_DIR, &ret->fd, e);
}

int template_memory_start_dir(int memory_fd, int *ret_fd, struct err *e)
{
	if (mkdirat(memory_fd, TEMPLATE_MEMORY_START, 0700) < 0)
		return err_sys(e, errno, "cannot make a directory for its disk");
	return file_open_dir(memory_fd, TEMPLATE_MEMORY_START, ret_fd, e);
}

int template_memory_seal(int memory_fd, int start_fd, const struct template_memory *m,
			 struct err *e)
{
	struct template_memory named = *m;
	int r;

	(void)snprintf(named.saved.dir, sizeof(named.saved.dir), "%s", MEMORY_DIR);
	r = record_write(start_fd, &named, e);
	if (r == 0)
		r = file_sync_dir(start_fd, e);
	return r < 0 ? r : file_sync_dir(memory_fd, e);
}

/* In exchange for what had that name. */
static int take_name(int from_fd, const char *from, int version_fd, struct err *e)
{
	int r = fault_point("template-memory", NULL, e);

	if (r < 0)
		return r;
	if (renameat(from_fd, from, version_fd, MEMORY_DIR) < 0 &&
	    ((errno != EEXIST && errno != ENOTEMPTY) ||
	     renameat2(from_fd, from, version_fd, MEMORY_DIR, RENAME_EXCHANGE) < 0))
		return err_sys(e, errno, "cannot name its memory");
	r = file_sync_dir(version_fd, e);
	/* What it was exchanged for; else the next start removes it. */
	return r < 0 ? r : file_remove_tree(from_fd, from, e);
}

int version_move_memory(int from_fd, int version_fd, struct err *e)
{
	return take_name(from_fd, MEMORY_DIR, version_fd, e);
}

int template_memory_finish(struct template_memory_fresh *f, const struct template_version *v,
			   const struct template_memory *m, const struct deadline *d, struct err *e)
{
	struct template *t;
	struct version *own;
	int r = fault_point("warm-name", d, e);

	if (r == 0)
		r = take_name(f->version_fd, FRESH_DIR, f->version_fd, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&template_lock);
	own = version_of_pin(v->pin, &t);
	if (own) {
		own->memory = *m;
		(void)snprintf(own->memory.saved.dir, sizeof(own->memory.saved.dir), "%s",
			       MEMORY_DIR);
		own->memory_bytes = bytes_of(f->version_fd);
		own->memory_bad = false;
	}
	pthread_mutex_unlock(&template_lock);
	return own ? 0 : err_set(e, ENOENT, "its version is gone");
}

void template_memory_fresh_done(struct template_memory_fresh *f)
{
	struct err e = {0};

	fd_close(steal_fd(&f->fd));
	if (f->version_fd >= 0 && file_remove_tree(f->version_fd, FRESH_DIR, &e) < 0)
		log_warning("%s, ignoring: the next start removes it", e.text);
	fd_close(steal_fd(&f->version_fd));
}
