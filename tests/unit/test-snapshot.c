/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-snapshot.c - snapshots of a disk of the file store: the list, what a crash leaves, and files from anybody */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "base/http.h"
#include "ops/data.h"
#include "ops/journal.h"
#include "ops/record.h"
#include "ops/snapshot-file.h"
#include "ops/snapshot-private.h"
#include "ops/steps.h"
#include "storage/volume.h"

enum {
	MIB = 1 << 20,
	DISK_MB = 8,
};

static const struct deadline never = {INT64_MAX, -1};
static struct writer self;
static struct sbx *box;

static int setup(void **state)
{
	int r = ops_dir_make(state);
	struct template_files files;
	struct template *t;
	struct err e = {0};
	char content[300];

	for (int i = 0; volume_drivers[i]; i++)
		if (strcmp(volume_drivers[i]->name, "file") == 0)
			host.volume = volume_drivers[i];
	self = (struct writer){.uid = geteuid(), .gid = getegid()};
	ops_write("file", "content");
	(void)snprintf(content, sizeof(content), "%s/file", host.state_dir);
	files = (struct template_files){content, content, content, ""};
	assert_int_equal(template_create("default", &self, &t, &e), 0);
	assert_int_equal(template_import_files(t, &files, &self, &never, &e), 0);
	template_put(t);
	return r;
}

static int teardown(void **state)
{
	return ops_dir_remove(state);
}

static void forget(void)
{
	sbx_put(box);
	box = NULL;
}

/* A sandbox of its own for each test, with a disk that has never been written. */
static void make_box(const char *name)
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
static void again(void)
{
	char name[NAME_MAX_LEN + 1];

	sbx_name(box, name);
	forget();
	ops_dir_again();
	box = registry_find(name);
	assert_non_null(box);
}

/* The guest's part: fill the first blocks of the disk with a byte. */
static void disk_write(int byte)
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
static int disk_byte(void)
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

static void create(const char *name, int result)
{
	struct err e = {0};
	int r = snapshot_create(box, name, &never, NULL, &e);

	if (r != result)
		fail_msg("create %s: %d %s", name, r, e.text);
}

static void rollback(const char *name, int result)
{
	struct err e = {0};
	int r = snapshot_rollback(box, name, &never, &e);

	if (r != result)
		fail_msg("rollback %s: %d %s", name, r, e.text);
}

static void delete (const char *name, int result)
{
	struct err e = {0};
	int r = snapshot_delete(box, name, &e);

	if (r != result)
		fail_msg("delete %s: %d %s", name, r, e.text);
}

/* The list as NAME:PARENT, and at its end the sandbox's own. */
static void expect_list(const char *wanted)
{
	AUTO_BUF b = BUF_INIT;

	for (const struct snapshot *n = box->snapshots; n; n = n->next)
		buf_addf(&b, "%s:%s ", n->name, n->parent);
	buf_addf(&b, "%s", box->snapshot_parent);
	assert_string_equal(buf_text(&b), wanted);
}

/* How many entries there are in its directory, or one below it. */
static int entries(const char *below)
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

static void path_of(char *ret, size_t size, const char *name)
{
	(void)snprintf(ret, size, "%s/%s", box->dir, name);
}

static void test_life(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	make_box("life");
	disk_write(1);
	create("one", 0);
	disk_write(2);
	create("two", 0);
	disk_write(3);
	create("two", -EEXIST);
	create("-bad", -EINVAL);
	create("", -EINVAL);
	create(".one.new", -EINVAL);
	expect_list("one: two:one two");
	snapshot_render(box, &b);
	assert_int_equal(
		strncmp(buf_text(&b), "name kind created size_bytes parent\none disk 20", 47), 0);
	rollback("none", -ENOENT);
	rollback("one", 0);
	assert_int_equal(disk_byte(), 1);
	assert_int_equal(sbx_state(box), SBX_STOPPED);
	create("three", 0);
	expect_list("one: two:one three:one three");
	rollback("two", 0);
	assert_int_equal(disk_byte(), 2);
	rollback("two", 0);
	assert_int_equal(disk_byte(), 2);
	again();
	expect_list("one: two:one three:one two");
	assert_int_equal(disk_byte(), 2);
	delete ("one", 0);
	delete ("one", -ENOENT);
	expect_list("two: three: two");
	delete ("two", 0);
	expect_list("three: ");
	again();
	expect_list("three: ");
	assert_int_equal(entries("snapshots"), 1);
	rollback("three", 0);
	assert_int_equal(disk_byte(), 1);
	assert_int_equal(entries("."), 4); /* record, journal, snapshots and one data.N */
}

/* What is made of it can be written without changing it. */
static void test_whole_by_itself(void **state)
{
	(void)state;
	make_box("whole");
	disk_write(1);
	create("one", 0);
	rollback("one", 0);
	disk_write(9);
	assert_int_equal(disk_byte(), 9);
	rollback("one", 0);
	assert_int_equal(disk_byte(), 1);
}

static void test_without_data(void **state)
{
	struct err e = {0};

	(void)state;
	forget();
	box = ops_create("empty");
	assert_int_equal(config_set(&box->config, "disk_mb", "8", NULL, &e), 0);
	create("nothing", 0);
	assert_int_equal(box->snapshots->disk_bytes + box->snapshots->size_bytes, 0);
	rollback("nothing", 0);
	assert_int_equal(sbx_state(box), SBX_CREATED);
	make_box("more");
	box->started_ms = 1;
	disk_write(5);
	create("five", 0);
	again();
	expect_list("five: five");
	rollback("five", 0);
	assert_int_equal(disk_byte(), 5);
	assert_int_equal(box->level, LEVEL_DATA);
}

/* From data to none and back: template, level and data change together. */
static void test_to_nothing(void **state)
{
	struct err e = {0};

	(void)state;
	forget();
	box = ops_create("there");
	assert_int_equal(config_set(&box->config, "disk_mb", "8", NULL, &e), 0);
	create("nothing", 0);
	assert_int_equal(sbx_load_version(box, &e), 0);
	memcpy(box->template_pin, box->version->pin, sizeof(box->template_pin));
	box->started_ms = 1;
	assert_int_equal(steps_up(box, LEVEL_DATA, &never, &e), 0);
	sbx_set_state(box, SBX_STOPPED);
	disk_write(7);
	create("seven", 0);
	expect_list("nothing: seven:nothing seven");
	rollback("nothing", 0);
	assert_int_equal(sbx_state(box), SBX_CREATED);
	assert_int_equal(box->level, LEVEL_DEFINED);
	assert_string_equal(box->template_pin, "");
	assert_int_equal(disk_byte(), -1);
	again();
	assert_int_equal(sbx_state(box), SBX_CREATED);
	rollback("seven", 0);
	assert_int_equal(sbx_state(box), SBX_STOPPED);
	assert_int_equal(disk_byte(), 7);
	again();
	assert_int_equal(sbx_state(box), SBX_STOPPED);
	assert_int_equal(disk_byte(), 7);
	rollback("nothing", 0);
	assert_int_equal(steps_up(box, LEVEL_DATA, &never, &e), 0); /* as its first start */
	assert_int_equal(disk_byte(), 0);
}

static void test_refused(void **state)
{
	struct err e = {0};
	struct template *t;

	(void)state;
	make_box("refused");
	disk_write(1);
	create("one", 0);
	assert_int_equal(config_set(&box->config, "disk_mb", "4", NULL, &e), 0);
	assert_int_equal(snapshot_rollback(box, "one", &never, &e), -EINVAL);
	assert_non_null(strstr(e.text, "set disk_mb=8 first"));
	assert_int_equal(config_set(&box->config, "disk_mb", "16", NULL, &e), 0);
	rollback("one", 0);
	assert_int_equal(disk_byte(), 1);
	/* Who reads it keeps it. */
	box->snapshots->uses = 1;
	delete ("one", -EBUSY);
	box->snapshots->uses = 0;
	/* Its version is needed by the snapshot alone. */
	box->template_pin[0] = '\0';
	assert_int_equal(snapshot_pins(box, "default@"), 1);
	assert_int_equal(snapshot_pins(box, "def@"), 0);
	assert_int_equal(snapshot_pins(box, box->snapshots->template_pin), 1);
	assert_int_equal(snapshot_pins(box, "default@0123456789ab"), 0);
	t = template_find("default");
	assert_non_null(t);
	assert_int_equal(template_remove(t, &e), -EBUSY);
	template_put(t);
}

/* What a crash leaves under names of ours goes; what cannot be read stays, is not listed, and its name is taken. */
static void test_left_over(void **state)
{
	char from[400], to[400];

	(void)state;
	make_box("left");
	disk_write(1);
	create("a", 0);
	create("b", 0);
	create("c", 0);
	path_of(from, sizeof(from), "snapshots/b");
	path_of(to, sizeof(to), "snapshots/.b.removed.7");
	assert_int_equal(rename(from, to), 0);
	path_of(to, sizeof(to), "snapshots/.x.new");
	assert_int_equal(mkdir(to, 0700), 0);
	path_of(to, sizeof(to), "snapshots/odd");
	assert_int_equal(mkdir(to, 0700), 0);
	path_of(to, sizeof(to), "data.3");
	assert_int_equal(mkdir(to, 0700), 0);
	path_of(to, sizeof(to), "data.3/disk.raw");
	assert_int_equal(close(open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
	again();
	expect_list("a: c:a c");
	assert_int_equal(entries("snapshots"), 3);
	assert_int_equal(entries("data.3"), 0);
	create("odd", -EEXIST);
	again();
	expect_list("a: c:a c"); /* it was written down */
	delete ("c", 0);
	expect_list("a: a");
}

/* The record is saved, and then the daemon dies: the new holds, and the old data goes. */
static void test_cut_short(void **state)
{
	struct err e = {0};

	(void)state;
	make_box("cut");
	disk_write(4);
	create("four", 0);
	disk_write(5);
	rollback("four", 0);
	box->level = LEVEL_DEFINED; /* as if it had been created until then */
	assert_int_equal(journal_write(box, &e), 0);
	again();
	assert_int_equal(sbx_state(box), SBX_STOPPED);
	assert_int_equal(box->level, LEVEL_DATA);
	assert_int_equal(disk_byte(), 4);
	/* A first start that died before there was any data. */
	forget();
	box = ops_create("first");
	memcpy(box->template_pin, "default@0123456789ab", 21);
	box->level = LEVEL_DATA;
	assert_int_equal(journal_write(box, &e), 0);
	assert_int_equal(record_save(box, &e), 0);
	again();
	assert_int_equal(sbx_state(box), SBX_CREATED);
	assert_int_equal(box->level, LEVEL_DEFINED);
	assert_string_equal(box->template_pin, "");
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static char file[300];

static int export(const char *name)
{
	struct err e = {0};

	return snapshot_export(box, name, file, &self, &never, &e);
}

static int import(const char *name)
{
	struct err e = {0};

	return snapshot_import(box, name, file, &self, &never, &e);
}

/* Change @len bytes of the file at @at. */
static void spoil(off_t at, const char *bytes, size_t len)
{
	AUTO_FD fd = open(file, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
}

static void test_export_import(void **state)
{
	struct err e = {0};
	struct stat st;

	(void)state;
	(void)snprintf(file, sizeof(file), "%s/exported", host.state_dir);
	make_box("out");
	disk_write(6);
	create("six", 0);
	assert_int_equal(export("none"), -ENOENT);
	assert_int_equal(export("six"), 0);
	assert_int_equal(export("six"), -EEXIST);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	make_box("in");
	assert_int_equal(import("got"), 0);
	assert_int_equal(import("got"), -EEXIST);
	expect_list("got: ");
	disk_write(1);
	rollback("got", 0);
	assert_int_equal(disk_byte(), 6);
	again();
	expect_list("got: got");
	/* Into one that has never been started. */
	forget();
	box = ops_create("fresh");
	assert_int_equal(config_set(&box->config, "disk_mb", "8", NULL, &e), 0);
	assert_int_equal(import("got"), 0);
	rollback("got", 0);
	assert_int_equal(sbx_state(box), SBX_STOPPED);
	assert_int_equal(disk_byte(), 6);
	assert_int_equal(unlink(file), 0);
	/* Without data. */
	forget();
	box = ops_create("bare");
	create("nothing", 0);
	assert_int_equal(export("nothing"), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, SNAPSHOT_HEADER_BYTES);
	assert_int_equal(import("none"), 0);
	rollback("none", 0);
	assert_int_equal(unlink(file), 0);
}

static void test_damaged_file(void **state)
{
	off_t size;
	struct stat st;
	int left;

	(void)state;
	make_box("hostile");
	disk_write(6);
	create("six", 0);
	left = entries("snapshots");
	assert_int_equal(export("six"), 0);
	assert_int_equal(stat(file, &st), 0);
	size = st.st_size;
	spoil(size - 1, "x", 1);
	assert_int_equal(import("got"), -EBADMSG);
	assert_int_equal(truncate(file, size - 1), 0);
	assert_int_equal(import("got"), -EBADMSG);
	assert_int_equal(truncate(file, SNAPSHOT_HEADER_BYTES - 1), 0);
	assert_int_equal(import("got"), -EBADMSG);
	spoil(15, "2", 1);
	assert_int_equal(truncate(file, SNAPSHOT_HEADER_BYTES), 0);
	assert_int_equal(import("got"), -ENOTSUP);
	spoil(0, "x", 1);
	assert_int_equal(import("got"), -EBADMSG);
	assert_int_equal(entries("snapshots"), left);
	expect_list("six: six");
	assert_int_equal(unlink(file), 0);
	assert_int_equal(import("got"), -ENOENT);
	assert_int_equal(mkdir(file, 0700), 0);
	assert_int_equal(import("got"), -EINVAL);
	assert_int_equal(export("six"), -EEXIST);
	assert_int_equal(rmdir(file), 0);
}

/* One header that is right, with one member changed. */
static int header(const char *was, const char *becomes)
{
	struct snapshot_header h = {.name = "n",
				    .kind = "disk",
				    .created_ms = 5,
				    .template_pin = "default@0123456789ab",
				    .store = "file",
				    .data_name = "disk.raw",
				    .disk_bytes = 8ULL * MIB,
				    .payload_bytes = 4096};
	AUTO_BUF good = BUF_INIT;
	AUTO_BUF b = BUF_INIT;
	struct snapshot_header got;
	struct err e = {0};
	const char *at;

	memset(h.sha256, 'a', sizeof(h.sha256) - 1);
	assert_int_equal(snapshot_header_write(&h, &good, &e), 0);
	assert_int_equal(good.len, SNAPSHOT_HEADER_BYTES);
	at = strstr(buf_text(&good), was);
	assert_non_null(at);
	buf_add(&b, good.data, (size_t)(at - good.data));
	buf_adds(&b, becomes);
	buf_adds(&b, at + strlen(was));
	while (b.len < SNAPSHOT_HEADER_BYTES)
		buf_addc(&b, '\n');
	return snapshot_header_read(buf_text(&b), &got, &e);
}

static void test_header(void **state)
{
	static const struct {
		const char *was, *becomes;
	} bad[] = {
		{"default@", "/../x@"},
		{"@0123456789ab", "@0123456789a"},
		{"@0123456789ab", "@0123456789AB"},
		{"@0123456789ab", ""},
		{"\"disk.raw\"", "\"../disk.raw\""},
		{"\"disk.raw\"", "\".x\""},
		{"\"disk.raw\"", "\"\""},
		{"\"disk.raw\"", "7"},
		{"\"disk.raw\"", "\"a.very.long.name.that.is.none.of.ours.at.all\""},
		{":8388608", ":8388609"},
		{":8388608", ":-8388608"},
		{":8388608", ":9223372036853727232"},
		{":4096", ":-1"},
		{":4096", ":0"},
		{":4096", ":9223372036854775807"},
		{":5", ":-5"},
		{"aaaa", "AAAA"},
		{"aaaa", "aaa"},
		{"\"file\"", "\"\""},
		{"{", "["},
		{"{", "{{{{"},
	};

	(void)state;
	assert_int_equal(header("{", "{"), 0);
	assert_int_equal(header("\"disk\"", "\"full\""), -ENOTSUP);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (header(bad[i].was, bad[i].becomes) != -EBADMSG)
			fail_msg("%s for %s", bad[i].becomes, bad[i].was);
}

static void test_cancelled(void **state)
{
	struct deadline d = {INT64_MAX, open("/dev/zero", O_RDONLY | O_CLOEXEC)};
	struct err e = {0};
	struct stat st;

	(void)state;
	make_box("cancelled");
	disk_write(1);
	create("one", 0);
	assert_int_equal(snapshot_create(box, "two", &d, NULL, &e), -ECANCELED);
	assert_int_equal(snapshot_rollback(box, "one", &d, &e), -ECANCELED);
	assert_int_equal(snapshot_export(box, "one", file, &self, &d, &e), -ECANCELED);
	assert_int_equal(stat(file, &st), -1);
	assert_int_equal(export("one"), 0);
	assert_int_equal(snapshot_import(box, "two", file, &self, &d, &e), -ECANCELED);
	assert_int_equal(unlink(file), 0);
	expect_list("one: one");
	assert_int_equal(entries("snapshots"), 1);
	assert_int_equal(disk_byte(), 1);
	assert_int_equal(entries("."), 4);
	(void)close(d.cancel_fd);
	forget();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),         cmocka_unit_test(test_whole_by_itself),
		cmocka_unit_test(test_without_data), cmocka_unit_test(test_to_nothing),
		cmocka_unit_test(test_refused),      cmocka_unit_test(test_left_over),
		cmocka_unit_test(test_cut_short),    cmocka_unit_test(test_export_import),
		cmocka_unit_test(test_damaged_file), cmocka_unit_test(test_header),
		cmocka_unit_test(test_cancelled),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
