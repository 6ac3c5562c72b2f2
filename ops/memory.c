// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/memory.c - the directories of saved memory */
#include "ops/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/data.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/record.h"
#include "vm/vm.h"

#define PREFIX MEMORY_DIR "."

int memory_add_json(const struct memory_saved *m, struct json_object *o)
{
	AUTO_JSON memory = NULL;
	int r;

	if (!m->dir[0])
		return 0;
	memory = json_object_new_object();
	if (!memory)
		return -ENOMEM;
	r = json_add_text(memory, "dir", m->dir);
	r = r ? r : json_add_text(memory, "vmm", m->vmm);
	r = r ? r : json_add_text(memory, "network", m->net);
	r = r ? r : json_add_int(memory, "vcpus", m->vcpus);
	r = r ? r : json_add_int(memory, "memory_mb", (int64_t)m->mib);
	r = r ? r : json_add_text(memory, "token", m->token);
	r = r ? r : json_add_bool(memory, "foreign", m->foreign);
	r = r ? r : json_add_bool(memory, "shared", m->shared);
	r = r ? r : json_add_bool(memory, "stale", m->stale);
	if (r == 0 && json_object_object_add(o, "memory", json_object_get(memory)) < 0) {
		json_object_put(memory);
		r = -ENOMEM;
	}
	return r;
}

static void copy_text(char *to, size_t size, struct json_object *o, const char *key)
{
	(void)snprintf(to, size, "%s",
		       json_text_at(o, key, "")); /* longer ones were never written */
}

/* A name of ours, or none: what a record says is not trusted to lead anywhere else. */
static bool is_dir_name(const char *name)
{
	size_t len = strlen(PREFIX);

	if (strcmp(name, MEMORY_DIR) == 0)
		return true;
	return strncmp(name, PREFIX, len) == 0 && name[len] &&
	       strspn(name + len, "0123456789") == strlen(name + len);
}

void memory_from_json(struct json_object *o, struct memory_saved *ret)
{
	struct json_object *m = json_at(o, "memory");

	*ret = (struct memory_saved){0};
	if (!m || !is_dir_name(json_text_at(m, "dir", "")))
		return;
	copy_text(ret->dir, sizeof(ret->dir), m, "dir");
	copy_text(ret->vmm, sizeof(ret->vmm), m, "vmm");
	copy_text(ret->net, sizeof(ret->net), m, "network");
	ret->vcpus = (unsigned)json_int_at(m, "vcpus", 1);
	ret->mib = (uint64_t)json_int_at(m, "memory_mb", 0);
	copy_text(ret->token, sizeof(ret->token), m, "token");
	ret->foreign = json_bool_at(m, "foreign", false);
	ret->shared = json_bool_at(m, "shared", false);
	ret->stale = json_bool_at(m, "stale", false);
}

int memory_make_dir(struct sbx *s, char ret_name[MEMORY_DIR_SIZE], int *ret_fd, struct err *e)
{
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	int made = -1, r;

	if (dir < 0)
		return err_sys(e, errno, "cannot open its directory");
	for (unsigned i = 1; made < 0; i++) {
		(void)snprintf(ret_name, MEMORY_DIR_SIZE, PREFIX "%u", i);
		made = mkdirat(dir, ret_name, 0700);
		if (made < 0 && errno != EEXIST)
			return err_sys(e, errno, "cannot make a directory for its memory");
	}
	r = file_sync_dir(dir, e);
	if (r == 0)
		r = file_open_dir(dir, ret_name, ret_fd, e);
	if (r < 0)
		(void)unlinkat(dir, ret_name, AT_REMOVEDIR); /* else the next start does */
	return r;
}

void memory_remove(struct sbx *s, const char *name)
{
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	struct err e = {0};

	if (dir >= 0 && name[0] && file_remove_tree(dir, name, &e) < 0)
		log_warning("%s, ignoring: the next start removes it", e.text);
}

int memory_save(struct sbx *s, const char *path, int fd, const struct deadline *d,
		struct memory_saved *ret, struct err *e)
{
	const struct vm_common *common = vm_common(s->vm);
	const struct vm_saved to = {.dir = path, .dir_fd = fd};
	struct memory_saved m = {.vcpus = common->vcpus, .mib = common->memory_mib};
	int r = common->driver->save(s->vm, &to, d, e);

	if (r < 0)
		return r;
	(void)snprintf(m.vmm, sizeof(m.vmm), "%s", common->driver->name);
	(void)snprintf(m.net, sizeof(m.net), "%s", host.net->name);
	memcpy(m.token, s->token, sizeof(m.token));
	memcpy(m.dir, ret->dir, sizeof(m.dir));
	*ret = m;
	return file_sync_dir(fd, e);
}

int memory_link(int from_fd, int to_fd, struct err *e)
{
	AUTO_DIR dir = NULL;
	const struct dirent *entry;
	int r = file_open_list(from_fd, ".", &dir, e);

	while (r == 0 &&
	       (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (entry->d_type != DT_REG)
			continue;
		if (linkat(from_fd, entry->d_name, to_fd, entry->d_name, 0) < 0)
			r = err_sys(e, errno, "cannot share saved memory");
	}
	return r < 0 ? r : file_sync_dir(to_fd, e);
}

static void memory_set(struct sbx *s, const struct memory_saved *m)
{
	pthread_mutex_lock(&s->lock);
	s->memory = *m;
	pthread_mutex_unlock(&s->lock);
}

int memory_give(struct sbx *s, int from_fd, const struct memory_saved *m, struct err *e)
{
	struct memory_saved own = *m;
	AUTO_FD fd = -1;
	int r = memory_make_dir(s, own.dir, &fd, e);

	if (r < 0)
		return r;
	r = memory_link(from_fd, fd, e);
	if (r < 0) {
		memory_remove(s, own.dir);
		return r;
	}
	memory_set(s, &own);
	return 0;
}

bool memory_goes_on(const struct sbx *s)
{
	return s->memory.dir[0] && !s->resumed;
}

int memory_mark(struct sbx *s, struct err *e)
{
	int r;

	data_stamp(s, &s->resumed_data);
	s->resumed = true;
	r = journal_write(s, e);
	if (r < 0)
		s->resumed = false; /* and nothing goes on */
	return r;
}

/* Nothing is marked any more, durably; else it stays so. */
static int unmark(struct sbx *s, struct err *e)
{
	int r;

	if (!s->resumed)
		return 0;
	s->resumed = false;
	r = journal_write(s, e);
	s->resumed = r < 0;
	return r;
}

static bool has_changed(struct sbx *s)
{
	struct data_stamp now;

	data_stamp(s, &now);
	return now.mtime_ns == 0 || now.mtime_ns != s->resumed_data.mtime_ns ||
	       now.bytes != s->resumed_data.bytes;
}

int memory_judge(struct sbx *s, struct err *e)
{
	struct memory_saved m = s->memory;
	struct err why = {0};
	int r = 0;

	if (!s->resumed)
		return 0;
	if (m.dir[0] && !m.stale && has_changed(s)) {
		m.stale = true;
		memory_set(s, &m);
		(void)memory_check(s, &why);
		log_warning("%s", why.text);
		sbx_set_error(s, why.text);
		r = record_save(s, e);
	}
	return r < 0 ? r : unmark(s, e);
}

int memory_drop(struct sbx *s, struct err *e)
{
	const struct memory_saved none = {0};
	struct memory_saved old = s->memory;
	int r;

	if (!old.dir[0])
		return unmark(s, e);
	memory_set(s, &none);
	r = record_save(s, e);
	if (r < 0) {
		memory_set(s, &old);
		return r;
	}
	memory_remove(s, old.dir);
	return unmark(s, e);
}

void memory_settle(struct sbx *s)
{
	AUTO_DIR dir = NULL;
	AUTO_FD own = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	const struct dirent *entry;
	struct err e = {0};
	int r = own < 0 ? err_sys(&e, errno, "cannot open its directory")
			: file_open_list(own, ".", &dir, &e);

	while (r == 0 && dir &&
	       (entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
		    strcmp(entry->d_name, s->memory.dir) != 0)
			r = file_remove_tree(own, entry->d_name, &e);
	if (r < 0)
		log_warning("serial %u: %s, ignoring: the next start tries again", s->serial,
			    e.text);
}

int memory_check(struct sbx *s, struct err *e)
{
	if (!s->memory.dir[0])
		return err_set(e, EINVAL, "it has no saved memory; start boots it");
	if (s->memory.stale)
		return err_set(
			e, EINVAL,
			"its disk has been written to since its memory was saved, and the two do "
			"not fit any more; start boots it");
	return 0;
}

uint64_t memory_bytes(int dir_fd)
{
	AUTO_DIR dir = NULL;
	const struct dirent *entry;
	uint64_t bytes = 0;
	struct stat st;

	if (file_open_list(dir_fd, ".", &dir, NULL) < 0)
		return 0;
	while (dir &&
	       (entry = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	return bytes;
}
