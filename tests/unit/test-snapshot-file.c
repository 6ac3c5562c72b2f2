/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-snapshot-file.c - snapshots as files: taken elsewhere, damaged, from anybody; commands that are cancelled */
#include "tests/unit/snapshot-box.h"

#include "ops/snapshot-file.h"

enum {
	MIB = 1 << 20,
};

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
	assert_int_equal(snapshot_create(box, "two", SNAPSHOT_DISK, &d, NULL, &e), -ECANCELED);
	assert_int_equal(snapshot_rollback(box, "one", &d, NULL, &e), -ECANCELED);
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
		cmocka_unit_test(test_export_import),
		cmocka_unit_test(test_damaged_file),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_cancelled),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
