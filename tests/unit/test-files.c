/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-files.c - the file tables hold together, and modes follow their directory's */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "fs/files.h"

static const enum node_kind kinds[] = {NODE_HOST_FILE, NODE_TEMPLATE_FILE, NODE_SBX_FILE,
				       NODE_NET_FILE};

static void check_row(const struct file *f)
{
	unsigned ways = (f->flags & FILE_DIR) != 0;

	ways += (f->flags & FILE_STREAM) != 0;
	ways += (f->flags & FILE_CONSOLE) != 0;
	ways += (f->flags & FILE_REPLY) != 0;
	ways += f->render != NULL;
	assert_int_equal(ways, 1); /* one way to read it */
	assert_non_null(f->help);
	assert_null(strchr(f->name, '/'));
	assert_true(f->mode && !(f->mode & ~(mode_t)0777));
	if (f->flags & (FILE_COMMANDS | FILE_CONSOLE | FILE_STREAM))
		assert_true(f->mode & 0200);
	else if (!(f->flags & FILE_DIR))
		assert_false(f->mode & 0222); /* nothing would take what is written */
	if (f->flags & FILE_REPLY)
		assert_true(f->flags & FILE_COMMANDS);
}

static void rows(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		const struct file *table = file_rows(kinds[k]);

		assert_non_null(table);
		for (uint32_t i = 0; table[i].name; i++) {
			struct node n = {.kind = kinds[k], .serial = 5, .index = i + 1};

			check_row(&table[i]);
			/* found under its name, so no name is there twice */
			assert_int_equal(file_find(kinds[k], table[i].name), i + 1);
			assert_ptr_equal(file_of(&n), &table[i]);
		}
	}
}

static void strangers(void **state)
{
	struct node n = {.kind = NODE_SBX_FILE, .serial = 1, .index = 0};

	(void)state;
	assert_null(file_of(&n));
	n.index = 1000;
	assert_null(file_of(&n));
	n.kind = (enum node_kind)12;
	assert_null(file_of(&n));
	assert_null(file_rows(NODE_SBX));
	assert_int_equal(file_find(NODE_SBX_FILE, "nothing"), 0);
	assert_int_equal(file_find(NODE_ROOT, "ctl"), 0);
}

/* Only the daemon's own names begin with a dot: a sandbox cannot be called like one of them. */
static void dots(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (const struct file *f = file_rows(kinds[k]); f->name; f++)
			assert_int_equal(f->name[0] == '.', kinds[k] == NODE_HOST_FILE);
}

static void directories(void **state)
{
	struct node n = {.kind = NODE_ROOT};
	struct dir d;

	(void)state;
	assert_true(dir_of(&n, &d));
	assert_int_equal(d.files, NODE_HOST_FILE);
	assert_int_equal(d.objects, NODE_SBX);
	n = (struct node){.kind = NODE_HOST_FILE, .index = file_find(NODE_HOST_FILE, ".templates")};
	assert_true(dir_of(&n, &d));
	assert_int_equal(d.files, NODE_ROOT);
	assert_int_equal(d.objects, NODE_TEMPLATE);
	n = (struct node){.kind = NODE_SBX, .serial = 3};
	assert_true(dir_of(&n, &d));
	assert_int_equal(d.files, NODE_SBX_FILE);
	n = (struct node){
		.kind = NODE_SBX_FILE, .serial = 3, .index = file_find(NODE_SBX_FILE, "net")};
	assert_true(dir_of(&n, &d));
	assert_int_equal(d.files, NODE_NET_FILE);
	n.index = file_find(NODE_SBX_FILE, "ctl");
	assert_false(dir_of(&n, &d));
}

static mode_t mode_of(const char *name, mode_t dir_mode)
{
	uint32_t index = file_find(NODE_SBX_FILE, name);

	assert_true(index > 0);
	return file_mode(&file_rows(NODE_SBX_FILE)[index - 1], dir_mode);
}

static void modes(void **state)
{
	(void)state;
	assert_int_equal(mode_of("ctl", 0700), 0600);
	assert_int_equal(mode_of("ctl", 0750), 0640);
	assert_int_equal(mode_of("ctl", 0770), 0660);
	assert_int_equal(mode_of("ctl", 0755), 0644);
	assert_int_equal(mode_of("ctl", 0000), 0000);
	assert_int_equal(mode_of("status", 0700), 0400);
	assert_int_equal(mode_of("status", 0755), 0444);
	assert_int_equal(mode_of("token", 0777), 0400);
	assert_int_equal(mode_of("net", 0710), 0510);
}

static void dump(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	files_dump(&b);
	assert_non_null(strstr(buf_text(&b), "file .ctl\n"));
	assert_non_null(strstr(buf_text(&b), "file net/address\n"));
	assert_non_null(strstr(buf_text(&b), "verb start\n"));
	assert_non_null(strstr(buf_text(&b), "key memory_mb\n"));
	assert_non_null(strstr(buf_text(&b), "status guest_ip\nstatus created\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),        cmocka_unit_test(strangers), cmocka_unit_test(dots),
		cmocka_unit_test(directories), cmocka_unit_test(modes),     cmocka_unit_test(dump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
