/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/snapshot-box.h - a sandbox with a disk of the file store, and snapshots of it */
#ifndef SBXFS_TESTS_SNAPSHOT_BOX_H
#define SBXFS_TESTS_SNAPSHOT_BOX_H

#include "tests/unit/ops-dir.h"

#include <errno.h>

#include "base/cleanup.h"
#include "ops/data.h"
#include "ops/record.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"
#include "storage/volume.h"

static const struct deadline never = {INT64_MAX, -1};
static struct writer self;
static struct sbx *box;

static inline int setup(void **state)
{
	int r = ops_dir_make(state);
	struct template_files files;
	struct template *t;
	struct err e = {0};
	char content[300];

	host.volume = volume_driver_named("file");
	self = (struct writer){.uid = geteuid(), .gid = getegid()};
	ops_write("file", "content");
	(void)snprintf(content, sizeof(content), "%s/file", host.state_dir);
	files = (struct template_files){content, content, content, ""};
	assert_int_equal(template_create("default", &self, &t, &e), 0);
	assert_int_equal(template_import_files(t, &files, &self, &never, &e), 0);
	template_put(t);
	return r;
}

static inline int teardown(void **state)
{
	return ops_dir_remove(state);
}

static inline void forget(void)
{
	sbx_put(box);
	box = NULL;
}

/* A sandbox of its own for each test, with a disk that has never been written. */
static inline void make_box(const char *name)
{
	struct err e = {0};

	forget();
	box = ops_create(name);
	assert_int_equal(config_set(&box->config, "disk_mb", "8", NULL, &e), 0);
	assert_int_equal(sbx_load_version(box, &e), 0);
	memcpy(box->template_pin, box->version->pin, sizeof(box->template_pin));
	assert_int_equal(record_save(box, &e), 0);
	assert_int_equal(steps_up(box, LEVEL_DATA, &never, &e), 0);
	sbx_set_state(box, SBX_STOPPED);
}

/* As after a restart of the daemon; the sandbox is found again by its name. */
static inline void again(void)
{
	char name[NAME_MAX_LEN + 1];

	sbx_name(box, name);
	forget();
	ops_dir_again();
	box = registry_find(name);
	assert_non_null(box);
}

/* The guest's part: fill the first blocks of the disk with a byte. */
static inline void disk_write(int byte)
{
	AUTO_DATA_SPEC spec;
	char command[600];
	const char *name;

	data_spec(box, &spec);
	name = host.volume->data_name(spec.volume.dir_fd);
	assert_non_null(name);
	(void)snprintf(command, sizeof(command),
		       "qemu-io -f %s -c 'write -P %d 0 128k' '%s/%s' >/dev/null",
		       strstr(name, "qcow2") ? "qcow2" : "raw", byte, spec.dir, name);
	/* NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): our own words, and no other thread */
	assert_int_equal(system(command), 0);
}

/* What a guest would read at the disk's beginning; -1: there is no data. */
static inline int disk_byte(void)
{
	AUTO_DATA_SPEC spec;
	AUTO_FD out = open(host.state_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct err e = {0};
	unsigned char byte;

	data_spec(box, &spec);
	if (!host.volume->data_name(spec.volume.dir_fd))
		return -1;
	if (host.volume->flatten(&spec.volume, out, &never, &e) < 0)
		fail_msg("flatten: %s", e.text);
	assert_int_equal(pread(out, &byte, 1, 100000), 1);
	return byte;
}

static inline void create(const char *name, int result)
{
	struct err e = {0};
	int r = snapshot_create(box, name, SNAPSHOT_DISK, &never, NULL, &e);

	if (r != result)
		fail_msg("create %s: %d %s", name, r, e.text);
}

static inline void rollback(const char *name, int result)
{
	struct err e = {0};
	int r = snapshot_rollback(box, name, &never, NULL, &e);

	if (r != result)
		fail_msg("rollback %s: %d %s", name, r, e.text);
}

static inline void delete (const char *name, int result)
{
	struct err e = {0};
	int r = snapshot_delete(box, name, &e);

	if (r != result)
		fail_msg("delete %s: %d %s", name, r, e.text);
}

/* The list as NAME:PARENT, and at its end the sandbox's own. */
static inline void expect_list(const char *wanted)
{
	AUTO_BUF b = BUF_INIT;

	for (const struct snapshot *n = box->snapshots; n; n = n->next)
		buf_addf(&b, "%s:%s ", n->name, n->parent);
	buf_addf(&b, "%s", box->snapshot_parent);
	assert_string_equal(buf_text(&b), wanted);
}

/* How many entries there are in its directory, or one below it. */
static inline int entries(const char *below)
{
	AUTO_FD dir = sbx_open(box, below, O_RDONLY | O_DIRECTORY);
	AUTO_DIR list = NULL;
	int count = 0;

	if (dir < 0)
		return 0;
	assert_int_equal(file_open_list(dir, ".", &list, NULL), 0);
	while (readdir(list)) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		count++;
	return count - 2;
}

static inline void path_of(char *ret, size_t size, const char *name)
{
	(void)snprintf(ret, size, "%s/%s", box->dir, name);
}

#endif
