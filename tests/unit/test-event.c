/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-event.c - the ring of events: numbers, gaps, one sandbox's own, many writers */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ops/event.h"

static atomic_int told;

static void listener(uint32_t serial, unsigned what)
{
	(void)serial;
	if (what == EVENT_LINE)
		atomic_fetch_add(&told, 1);
}

static unsigned lines_in(const struct buf *b)
{
	unsigned n = 0;

	for (const char *at = buf_text(b); (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

static void test_line(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_JSON o = NULL;
	uint64_t from = event_begin(0), next;

	(void)state;
	event_set_listener(listener);
	event_add(7, "na\"me", "state", ",\"state\":\"%s\"", "running");
	assert_int_equal(told, 1);
	next = event_read(0, from, 65536, &b);
	assert_true(next == from + 1);
	assert_int_equal(json_parse(b.data, b.len, &o, NULL), 0);
	assert_true(json_int_at(o, "seq", 0) == (int64_t)from);
	assert_string_equal(json_text_at(o, "sandbox", ""), "na\"me");
	assert_string_equal(json_text_at(o, "event", ""), "state");
	assert_string_equal(json_text_at(o, "state", ""), "running");
	assert_int_equal(strlen(json_text_at(o, "time", "")), strlen("2026-01-01T00:00:00.000Z"));
	buf_reset(&b);
	assert_true(event_read(0, next, 65536, &b) == next);
	assert_int_equal(b.len, 0);
}

static void test_one_sandbox(void **state)
{
	AUTO_BUF b = BUF_INIT;
	uint64_t from = event_read(0, 0, UINT64_MAX, &b);

	(void)state;
	for (int i = 0; i < 10; i++)
		event_add(i % 2 ? 11 : 12, "x", "tick", "%s", "");
	buf_reset(&b);
	(void)event_read(11, from, 65536, &b);
	assert_int_equal(lines_in(&b), 5);
	/* One line always fits, a second one only when there is room. */
	buf_reset(&b);
	assert_true(event_read(0, from, 1, &b) == from + 1);
	assert_int_equal(lines_in(&b), 1);
}

static void test_ring(void **state)
{
	AUTO_BUF b = BUF_INIT;
	uint64_t next = 0;

	(void)state;
	for (int i = 0; i < EVENT_KEPT_MAX + 100; i++)
		event_add(21, "r", "tick", "%s", "");
	event_add(22, "s", "tick", "%s", "");
	next = event_read(0, 0, UINT64_MAX, &b);
	assert_int_equal(lines_in(&b), EVENT_KEPT_MAX);
	buf_reset(&b);
	assert_true(event_read(0, event_begin(0), UINT64_MAX, &b) == next);
	assert_int_equal(lines_in(&b), EVENT_SHOWN_MAX);
	buf_reset(&b);
	(void)event_read(22, event_begin(22), UINT64_MAX, &b);
	assert_int_equal(lines_in(&b), 1);
	buf_reset(&b);
	(void)event_read(0, next + 1000, UINT64_MAX, &b); /* since= of a future */
	assert_int_equal(b.len, 0);
}

static void *adder(void *arg)
{
	for (int i = 0; i < 2000; i++)
		event_add((uint32_t)(uintptr_t)arg, "t", "tick", ",\"i\":%d", i);
	return NULL;
}

/* Four writers and a reader: no line comes twice, and the reader gets to the end. */
static void test_threads(void **state)
{
	AUTO_BUF b = BUF_INIT;
	pthread_t threads[4];
	uint64_t from = event_read(0, 0, UINT64_MAX, &b), end = from + 8000, next = from;

	(void)state;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, adder, (void *)(31 + i)), 0);
	while (next < end) {
		uint64_t before = next;

		buf_reset(&b);
		next = event_read(0, next, 4096, &b);
		/* fewer only where the ring has overtaken the reader */
		assert_true(lines_in(&b) <= next - before);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(next == end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_one_sandbox),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
