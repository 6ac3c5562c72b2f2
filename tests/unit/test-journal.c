/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-journal.c - the journal's line: whole, torn, from another boot */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "ops/journal.h"

static struct sbx *s;
static char path[64];

static int setup(void **state)
{
	int r = ops_dir_make(state);

	s = ops_create("one");
	(void)snprintf(path, sizeof(path), "sandboxes/%" PRIu32 "/journal", s->serial);
	return r;
}

static int teardown(void **state)
{
	sbx_put(s);
	return ops_dir_remove(state);
}

static void write_known(void)
{
	s->level = 5;
	s->slot.index = 7;
	s->vm_id = (struct proc_id){.pid = 4711, .start = 123456789012345};
	assert_int_equal(journal_write(s, NULL), 0);
	s->level = 1;
	s->slot.index = UINT32_MAX;
	s->vm_id = (struct proc_id){0};
}

static void read_journal(struct buf *b)
{
	assert_int_equal(file_read(host.state_fd, path, 4096, b, NULL), 0);
}

static void test_round_trip(void **state)
{
	AUTO_BUF b = BUF_INIT;
	struct journal j;

	(void)state;
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_int_equal(j.level, 1);
	assert_true(j.slot == UINT32_MAX);
	write_known();
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_int_equal(j.level, 5);
	assert_int_equal(j.slot, 7);
	assert_int_equal(j.vm.pid, 4711);
	assert_true(j.vm.start == 123456789012345);
	assert_true(j.same_boot);
	read_journal(&b);
	assert_int_equal(b.len, 512);
}

static void test_marks(void **state)
{
	struct journal j;

	(void)state;
	write_known();
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_false(j.resumed || j.pausing);
	s->resumed = true;
	s->pausing = true;
	s->resumed_data = (struct data_stamp){123456789012, 1234567890123456789};
	write_known();
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_true(j.resumed && j.pausing);
	assert_string_equal(j.resumed_dir, ""); /* there is no memory: whichever the record names */
	(void)snprintf(s->memory.dir, sizeof(s->memory.dir), "memory.99999999");
	write_known();
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_true(j.resumed && j.pausing && j.same_boot);
	assert_string_equal(j.resumed_dir, s->memory.dir);
	assert_true(j.resumed_data.bytes == 123456789012);
	assert_true(j.resumed_data.mtime_ns == 1234567890123456789);
	assert_int_equal(j.level, 5);
	s->resumed = false;
	s->pausing = false;
	s->memory.dir[0] = '\0';
	write_known();
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_false(j.resumed || j.pausing);
}

static void test_none_yet(void **state)
{
	struct journal j;

	(void)state;
	assert_int_equal(unlinkat(host.state_fd, path, 0), 0);
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_int_equal(j.level, 1);
	assert_int_equal(j.vm.pid, 0);
}

/* Every prefix of the line, and every single changed byte of what counts, is found out or means the same. */
static void test_torn(void **state)
{
	AUTO_BUF b = BUF_INIT;
	struct journal j;
	size_t len;

	(void)state;
	write_known();
	read_journal(&b);
	len = (size_t)(strstr(buf_text(&b), "sum=") - buf_text(&b)) + strlen("sum=12345678");
	for (size_t cut = 0; cut < len; cut++) {
		char text[513];

		memcpy(text, b.data, cut);
		text[cut] = '\0';
		ops_write(path, text);
		assert_int_equal(journal_read(s, &j, NULL), -EBADMSG);
	}
	for (size_t at = 0; at < len; at++) {
		char text[513];

		memcpy(text, b.data, 513);
		text[at] ^= 1;
		ops_write(path, text);
		assert_int_equal(journal_read(s, &j, NULL), -EBADMSG);
	}
	ops_write(path, "\n");
	assert_int_equal(journal_read(s, &j, NULL), -EBADMSG);
}

/* FNV-1a, as the journal's. */
static uint32_t sum_of(const char *text)
{
	uint32_t sum = 2166136261u;

	for (; *text; text++)
		sum = (sum ^ (unsigned char)*text) * 16777619u;
	return sum;
}

static void write_line(const char *line)
{
	char text[600];

	(void)snprintf(text, sizeof(text), "%s sum=%08" PRIx32 "\n", line, sum_of(line));
	ops_write(path, text);
}

static void test_other_boot(void **state)
{
	struct journal j;

	(void)state;
	write_line("level=6 slot=3 pid=1 start=2 boot=00000000-0000-0000-0000-000000000000");
	assert_int_equal(journal_read(s, &j, NULL), 0);
	assert_int_equal(j.level, 6);
	assert_false(j.same_boot);
	write_line("level=six slot=3 pid=1 start=2 boot=0");
	assert_int_equal(journal_read(s, &j, NULL), -EBADMSG);
}

static uint32_t slots_used(void)
{
	struct slots_counts c;

	slots_count(&c);
	return c.used;
}

/* What the registry makes of it: the process is not believed after a reboot, the slot is taken. */
static void test_load(void **state)
{
	uint32_t serial = s->serial;

	(void)state;
	write_line("level=6 slot=3 pid=1 start=2 boot=00000000-0000-0000-0000-000000000000");
	sbx_put(s);
	ops_dir_again();
	s = registry_find_serial(serial);
	assert_non_null(s);
	assert_int_equal(s->level, 6);
	assert_int_equal(s->vm_id.pid, 0);
	assert_int_equal(s->slot.index, 3);
	assert_int_equal(s->slot.serial, serial); /* of a journal without net= */
	assert_int_equal(slots_used(), 1);
	assert_int_equal(slots_take_this(3, 0), -EBUSY);
	slots_put(3);
	write_line("level=6 slot=3 pid=1 start=2 boot=x as=77 net=99");
	sbx_put(s);
	ops_dir_again();
	s = registry_find_serial(serial);
	assert_int_equal(s->slot.serial, 99);
	assert_int_equal(s->made_as, 77);
	slots_put(3);
	/* It had been given back by then, and may be another's. */
	write_line("level=4 slot=3 pid=0 start=0 boot=x net=99");
	sbx_put(s);
	ops_dir_again();
	s = registry_find_serial(serial);
	assert_int_equal(s->level, 4);
	assert_int_equal(s->slot.index, UINT32_MAX);
	assert_int_equal(slots_used(), 0);
	write_line("level=99 slot=4294967295 pid=0 start=0 boot=x");
	sbx_put(s);
	ops_dir_again();
	s = registry_find_serial(serial);
	assert_int_equal(s->level, 6); /* no more than there is */
	assert_int_equal(slots_used(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_marks),
		cmocka_unit_test(test_none_yet),   cmocka_unit_test(test_torn),
		cmocka_unit_test(test_other_boot), cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
