/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-snapshot.c - snapshots of a disk of the file store: the list, going back, what a crash leaves */
#include "tests/unit/snapshot-box.h"

#include "ops/journal.h"

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
	assert_int_equal(snapshot_rollback(box, "one", &never, NULL, &e), -EINVAL);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),         cmocka_unit_test(test_whole_by_itself),
		cmocka_unit_test(test_without_data), cmocka_unit_test(test_to_nothing),
		cmocka_unit_test(test_refused),      cmocka_unit_test(test_left_over),
		cmocka_unit_test(test_cut_short),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
