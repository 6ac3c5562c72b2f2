/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-event-log.c - events over several daemons: read back, rotated, torn, and how their numbers go on */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "ops/event-log.h"
#include "ops/event.h"

enum { SEGMENT = 1000 };

static struct buf seen;
static unsigned seen_count;
static uint64_t seen_last;
static uint32_t seen_serial;

static void take(uint32_t serial, uint64_t number, const char *line, size_t len)
{
	buf_add(&seen, line, len);
	seen_count++;
	seen_last = number;
	seen_serial = serial;
}

/* As a daemon that starts. */
static struct event_log_numbers begin(size_t segment)
{
	struct event_log_numbers known;
	struct err e = {0};

	event_log_close();
	buf_reset(&seen);
	seen_count = 0;
	seen_last = 0;
	if (event_log_open(host.state_fd, segment, take, &known, &e) < 0)
		fail_msg("%s", e.text);
	return known;
}

static void line_of(char text[80], uint64_t number)
{
	(void)snprintf(text, 80, "7 {\"seq\":%llu,\"event\":\"x\"}\n", (unsigned long long)number);
}

static void add(uint64_t number)
{
	char text[80];

	line_of(text, number);
	event_log_append(text, strlen(text));
}

static int clear(void **state)
{
	(void)state;
	event_done(); /* also of what a test before has left */
	(void)unlinkat(host.state_fd, "event", 0);
	return file_remove_tree(host.state_fd, "events", NULL);
}

static off_t size_of(const char *path)
{
	struct stat st;

	return fstatat(host.state_fd, path, &st, 0) < 0 ? -1 : st.st_size;
}

static void test_read_back(void **state)
{
	struct event_log_numbers known = begin(SEGMENT);

	(void)state;
	assert_int_equal(seen_count, 0);
	assert_true(known.next == 0); /* nobody knows what was before */
	assert_true(known.above == 1);
	event_log_begin(5);
	for (uint64_t n = 5; n < 9; n++)
		add(n);
	known = begin(SEGMENT);
	assert_int_equal(seen_count, 4);
	assert_true(seen_last == 8);
	assert_int_equal(seen_serial, 7);
	assert_string_equal(buf_text(&seen),
			    "{\"seq\":5,\"event\":\"x\"}\n{\"seq\":6,\"event\":\"x\"}\n"
			    "{\"seq\":7,\"event\":\"x\"}\n{\"seq\":8,\"event\":\"x\"}\n");
	assert_true(known.next == 9);
	assert_true(known.above == 9);
}

/* One that has begun and had no event yet. */
static void test_begun(void **state)
{
	struct event_log_numbers known;

	(void)state;
	(void)begin(SEGMENT);
	event_log_begin(100);
	event_log_close();
	known = begin(SEGMENT);
	assert_true(known.next == 100);
}

static void test_rotate(void **state)
{
	(void)state;
	(void)begin(SEGMENT);
	event_log_begin(1);
	for (uint64_t n = 1; n <= 500; n++) {
		add(n);
		assert_true(size_of("events/new") <= SEGMENT);
	}
	assert_true(size_of("events/old") <= SEGMENT);
	event_log_close();
	assert_true(begin(SEGMENT).next == 501);
	assert_true(seen_last == 500);
	/* the whole of the old one and what is in the new one, without a hole */
	assert_true(seen_count > 30 && seen_count < 80);
	assert_non_null(strstr(buf_text(&seen), "{\"seq\":470,"));
}

/* A crash of the host can leave anything at the end. */
static void test_torn(void **state)
{
	static const char *const ends[] = {"7 {\"seq\":3,\"ev",
					   "7 {\"seq\":3,\"a\":1}",
					   "7 {\"seq\":2,\"old\":1}\n",
					   "{\"seq\":3}\n",
					   "\n",
					   "7 {\"seq\":99999999999999999999,\"a\":1}\n",
					   "5000000000 {\"seq\":3,\"a\":1}\n",
					   "7 {\"seq\":,\"a\":1}\n",
					   "x"};
	char text[80];
	struct event_log_numbers known;

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		(void)clear(NULL);
		(void)begin(SEGMENT);
		event_log_begin(1);
		add(1);
		add(2);
		event_log_append(ends[i], strlen(ends[i]));
		known = begin(SEGMENT);
		assert_int_equal(seen_count, 2);
		assert_true(known.next == 3);
		event_log_begin(3);
		add(3);
		(void)begin(SEGMENT);
		assert_int_equal(seen_count, 3);
	}
	/* Zeroes, which some file systems leave. */
	memset(text, 0, sizeof(text));
	event_log_append(text, sizeof(text));
	(void)begin(SEGMENT);
	assert_int_equal(seen_count, 3);
	/* And garbage in the middle of the old segment. */
	ops_write("events/old", "7 {\"seq\":1,\"a\":1}\ngarbage\n7 {\"seq\":2,\"a\":1}\n");
	ops_write("events/new", "7 {\"seq\":5,\"a\":1}\n");
	(void)begin(SEGMENT);
	assert_int_equal(seen_count, 2);
	assert_true(seen_last == 5);
}

static void test_unusable(void **state)
{
	struct event_log_numbers known;
	struct err e = {0};
	AUTO_BUF huge = BUF_INIT;

	(void)state;
	/* One that is too long to be ours is put away. */
	(void)begin(SEGMENT);
	for (int i = 0; i < 30000; i++)
		buf_adds(&huge, "0123456789\n");
	ops_write("events/new", buf_text(&huge));
	(void)begin(SEGMENT);
	assert_int_equal(seen_count, 0);
	assert_true(size_of("events/new") == 0);
	/* No folder at all: there is no log, and nothing fails later. */
	(void)clear(NULL);
	ops_write("events", "a file");
	assert_true(event_log_open(host.state_fd, SEGMENT, take, &known, &e) < 0);
	assert_true(e.text[0]);
	event_log_begin(1);
	add(1);
	event_log_close();
	(void)unlinkat(host.state_fd, "events", 0);
}

/* What cannot be written is not vouched for, and what comes after it is. */
static void test_full(void **state)
{
	const struct rlimit none = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
	struct rlimit before;
	struct event_log_numbers known;

	(void)state;
	(void)begin(SEGMENT);
	event_log_begin(1);
	add(1);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	add(2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	add(3);
	known = begin(SEGMENT);
	assert_int_equal(seen_count, 2);
	assert_true(seen_last == 3);
	assert_true(known.next == 0);
	assert_true(known.above == 4);
}

/* ---- with the ring, over daemons ----------------------------------------------------------------------------- */

static void daemon_starts(void)
{
	struct err e = {0};

	event_done();
	if (event_start(&e) < 0)
		fail_msg("%s", e.text);
}

static uint64_t next(void)
{
	uint64_t first, number;

	event_numbers(&first, &number);
	return number;
}

static void tick(uint32_t serial)
{
	event_add(serial, "s", "tick", "%s", "");
}

static void test_daemons(void **state)
{
	AUTO_BUF before = BUF_INIT;
	AUTO_BUF after = BUF_INIT;
	uint64_t number;

	(void)state;
	daemon_starts();
	assert_true(next() == 1);
	for (uint32_t i = 0; i < 10; i++)
		tick(i % 2 + 1);
	(void)event_read(0, 0, UINT64_MAX, &before);
	daemon_starts();
	assert_true(next() == 11);
	(void)event_read(0, 0, UINT64_MAX, &after);
	assert_string_equal(buf_text(&after), buf_text(&before));
	tick(2);
	/* One sandbox's own, of both. */
	buf_reset(&after);
	number = event_read(2, 0, UINT64_MAX, &after);
	assert_true(number == 12);
	assert_non_null(strstr(buf_text(&after), "{\"seq\":2,"));
	assert_non_null(strstr(buf_text(&after), "{\"seq\":11,"));
	assert_null(strstr(buf_text(&after), "{\"seq\":3,"));
	buf_reset(&after);
	assert_true(event_read(0, 10, UINT64_MAX, &after) == 12);
	assert_memory_equal(buf_text(&after), "{\"seq\":10,", 10);
}

/* The host crashed, or a daemon that kept no log has run: numbers jump, and never come twice. */
static void test_jumps(void **state)
{
	AUTO_BUF b = BUF_INIT;
	uint64_t aside;

	(void)state;
	daemon_starts();
	tick(1);
	ops_write("events/whole", "00000000-0000-0000-0000-000000000000 1\n");
	daemon_starts();
	aside = next();
	assert_true(aside > 1000000);
	tick(1);
	assert_true(event_read(1, 0, UINT64_MAX, &b) == aside + 1);
	assert_non_null(strstr(buf_text(&b), "{\"seq\":1,")); /* those before are still there */
	daemon_starts();
	assert_true(next() == aside + 1);
	ops_write("event", "9000000001\n");
	daemon_starts();
	assert_true(next() == 9000000001);
	/* Without the log, and without the counter. */
	tick(1);
	event_done();
	assert_int_equal(file_remove_tree(host.state_fd, "events", NULL), 0);
	daemon_starts();
	aside = next();
	assert_true(aside > 9000000002);
	tick(1);
	event_done();
	assert_int_equal(unlinkat(host.state_fd, "event", 0), 0);
	daemon_starts();
	assert_true(next() == aside + 1);
}

/* More than is kept: the ring has at most as much again, and a list tells what it has missed. */
static void test_bounded(void **state)
{
	char text[20001];
	struct event_span span;
	AUTO_BUF b = BUF_INIT;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	daemon_starts();
	for (int i = 0; i < 300; i++)
		event_add(1, "s", "big", ",\"text\":\"%s\"", text);
	(void)event_read(0, 0, UINT64_MAX, &b);
	assert_true(b.len <= EVENT_KEPT_BYTES && b.len > EVENT_KEPT_BYTES - 2 * sizeof(text));
	assert_true(size_of("events/new") + size_of("events/old") <= 2 * EVENT_LOG_SEGMENT);
	buf_reset(&b);
	event_list(50, 3, &b, &span);
	assert_true(span.missed > 100 && span.missed < 200);
	assert_true(span.first == 50 + span.missed && span.from == span.first);
	assert_true(span.last == span.first + 2 && span.next == span.last + 1);
	assert_int_equal(span.count, 3);
	buf_reset(&b);
	event_list(301, 3, &b, &span);
	assert_string_equal(buf_text(&b), "[]");
	assert_true(span.count == 0 && span.missed == 0 && span.next == 301);
	daemon_starts();
	assert_true(next() == 301);
	buf_reset(&b);
	event_list(50, 1, &b, &span);
	assert_true(span.missed > 100 && span.count == 1);
}

enum { WRITERS = 4, EACH = 500 };

static void *writer(void *arg)
{
	for (int i = 0; i < EACH; i++)
		tick((uint32_t)(uintptr_t)arg);
	return NULL;
}

/* Each is to be read once event_add() has returned, and all are in the log in their order. */
static void test_threads(void **state)
{
	AUTO_BUF before = BUF_INIT;
	AUTO_BUF after = BUF_INIT;
	pthread_t threads[WRITERS];
	uint64_t number;

	(void)state;
	daemon_starts();
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)(i + 1)), 0);
	for (int i = 0; i < EACH; i++) {
		AUTO_BUF own = BUF_INIT;

		number = next();
		tick(9);
		(void)event_read(9, number, UINT64_MAX, &own);
		assert_true(own.len > 0);
	}
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	number = event_read(0, 0, UINT64_MAX, &before);
	assert_true(number == (WRITERS + 1) * EACH + 1);
	daemon_starts();
	assert_true(event_read(0, 0, UINT64_MAX, &after) == number);
	assert_string_equal(buf_text(&after), buf_text(&before));
}

static int teardown(void **state)
{
	buf_done(&seen);
	return clear(state) < 0 ? -1 : ops_dir_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_read_back, clear),
		cmocka_unit_test_setup(test_begun, clear),
		cmocka_unit_test_setup(test_rotate, clear),
		cmocka_unit_test_setup(test_torn, clear),
		cmocka_unit_test_setup(test_unusable, clear),
		cmocka_unit_test_setup(test_full, clear),
		cmocka_unit_test_setup(test_daemons, clear),
		cmocka_unit_test_setup(test_jumps, clear),
		cmocka_unit_test_setup(test_bounded, clear),
		cmocka_unit_test_setup(test_threads, clear),
	};

	return cmocka_run_group_tests(tests, ops_dir_make, teardown);
}
