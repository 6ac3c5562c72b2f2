/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-node.c - node ids: what goes in comes out, and no two are the same */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/node.h"

static void assert_round(struct node n)
{
	struct node back = node_of(node_id(&n));

	assert_int_equal(back.kind, n.kind);
	assert_int_equal(back.generation, n.generation);
	assert_int_equal(back.serial, n.serial);
	assert_int_equal(back.index, n.index);
}

static void round_trip(void **state)
{
	(void)state;
	for (int kind = NODE_HOST_FILE; kind < NODE_KIND_COUNT; kind++) {
		struct node n = {.kind = (enum node_kind)kind};

		assert_round(n);
		n.index = (1U << 20) - 1;
		assert_round(n);
		n.serial = UINT32_MAX;
		assert_round(n);
		n.generation = NODE_GENERATIONS - 1;
		assert_round(n);
		n.index = 0;
		assert_round(n);
	}
}

static void root(void **state)
{
	struct node n = node_of(1);

	(void)state;
	assert_int_equal(n.kind, NODE_ROOT);
	assert_int_equal(node_id(&n), 1);
	assert_int_equal(node_ino(&n), 1);
}

/* The layout is kept over versions: these numbers may never change. */
static void layout(void **state)
{
	const struct node ctl = {
		.kind = NODE_SBX_FILE, .generation = 3, .serial = 0x1f, .index = 2};

	(void)state;
	assert_true(node_id(&ctl) == UINT64_C(0x5030000001f00002));
	assert_true(node_ino(&ctl) == UINT64_C(0x5000000001f00002));
}

static void ino_has_no_generation(void **state)
{
	struct node a = {.kind = NODE_SBX_FILE, .generation = 7, .serial = 9, .index = 1}, b = a;

	(void)state;
	b.generation = 0;
	assert_true(node_id(&a) != node_id(&b));
	assert_true(node_ino(&a) == node_ino(&b));
	assert_true((int64_t)node_ino(&a) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(root),
		cmocka_unit_test(layout),
		cmocka_unit_test(ino_has_no_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
