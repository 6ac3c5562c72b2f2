/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-slots.c - which indexes are taken; ready, released and dirty slots of a driver that does as it is told */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "ops/settings.h"
#include "ops/slots-private.h"
#include "tests/unit/ops-dir.h"

enum { TOTAL = 8, ROUNDS = 5000 };

/* ---- a driver that counts --------------------------------------------------------------------------------- */

static atomic_int ups, downs, recycles, there[16];     /* calls; which indexes hold something */
static atomic_int fail_ups, fail_downs, fail_recycles; /* so many of the next ones */
static atomic_int up_error = -EIO, misuse;
static atomic_bool gate; /* down() waits while it is closed */
static int null_fd;

static int fake_up(uint32_t index, uint32_t serial, const struct deadline *d, struct slot *ret,
		   struct err *e)
{
	atomic_fetch_add(&ups, 1);
	if (atomic_load(&fail_ups) > 0) {
		atomic_fetch_sub(&fail_ups, 1);
		return err_set(e, -up_error, "told to");
	}
	if (deadline_cancelled(d))
		return err_set(e, ECANCELED, "cancelled");
	if (atomic_exchange(&there[index], (int)serial) != 0)
		atomic_fetch_add(&misuse, 1); /* it was handed out before it was clean */
	*ret = (struct slot){.index = index, .serial = serial, .tap_fd = -1};
	ret->netns_fd = dup(null_fd);
	return 0;
}

static int fake_down(struct slot *s, const struct deadline *d, struct err *e)
{
	(void)d;
	while (atomic_load(&gate))
		(void)usleep(1000);
	atomic_fetch_add(&downs, 1);
	if (atomic_load(&fail_downs) > 0) {
		atomic_fetch_sub(&fail_downs, 1);
		return err_set(e, EBUSY, "told to");
	}
	if (s->netns_fd >= 0)
		(void)close(s->netns_fd);
	s->netns_fd = -1;
	atomic_store(&there[s->index], 0);
	return 0;
}

static int fake_recycle(struct slot *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	atomic_fetch_add(&recycles, 1);
	if (atomic_load(&fail_recycles) > 0) {
		atomic_fetch_sub(&fail_recycles, 1);
		return err_set(e, EIO, "told to");
	}
	return 0;
}

static uint32_t left_behind; /* a serial that is nobody's */

static int fake_sweep(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
		      struct err *e)
{
	int removed = !wanted(left_behind, arg);

	(void)instance;
	(void)e;
	for (int i = 0; i < TOTAL; i++)
		removed += there[i] != 0 && !wanted((uint32_t)there[i], arg);
	return removed;
}

static const struct slot_driver net = {.name = "test",
				       .up = fake_up,
				       .down = fake_down,
				       .recycle = fake_recycle,
				       .sweep = fake_sweep};

static struct slots_counts count(void)
{
	struct slots_counts c;

	slots_count(&c);
	return c;
}

static void begin(uint64_t ready)
{
	struct err e = {0};

	slots_init(TOTAL, 0);
	settings.slots_ready = ready;
	ups = downs = recycles = 0;
	assert_int_equal(slots_start(&e), 0);
	ops_await(count().ready == ready);
}

static void end(void)
{
	slots_stop();
	for (int i = 0; i < TOTAL; i++)
		assert_int_equal(there[i], 0);
	assert_int_equal(count().used + count().ready + count().dirty, 0);
	assert_int_equal(misuse, 0);
}

static struct slot get(void)
{
	const struct deadline d = deadline_in(20000, -1);
	struct err e = {0};
	struct slot s;

	if (slots_get(&d, &s, &e) < 0)
		fail_msg("%s", e.text);
	return s;
}

static int group_setup(void **state)
{
	host.net = &net;
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return ops_dir_make(state);
}

static int group_teardown(void **state)
{
	(void)close(null_fd);
	return ops_dir_remove(state);
}

/* ---- indexes ---------------------------------------------------------------------------------------------- */

static void test_take(void **state)
{
	uint32_t index;
	struct err e = {0};

	(void)state;
	slots_init(TOTAL, 0);
	for (uint32_t i = 0; i < TOTAL; i++) {
		assert_int_equal(slots_take(100 + i, &index, &e), 0);
		assert_int_equal(index, i);
	}
	assert_int_equal(slots_take(1, &index, &e), -ENOSPC);
	assert_int_equal(count().used, TOTAL);
	assert_int_equal(count().total, TOTAL);
	slots_put(3);
	slots_put(3); /* twice is once */
	slots_put(TOTAL + 1);
	assert_int_equal(count().used, TOTAL - 1);
	assert_int_equal(slots_take_this(4, 7), -EBUSY);
	assert_int_equal(slots_take_this(4, 104), -EALREADY);
	assert_int_equal(slots_take_this(TOTAL, 1), -EBUSY);
	assert_int_equal(slots_take_this(3, 1), 0);
	for (uint32_t i = 0; i < TOTAL; i++)
		slots_put(i);
	assert_int_equal(count().used, 0);
}

static void test_rest(void **state)
{
	uint32_t first, second;
	struct err e = {0};

	(void)state;
	assert_int_equal(slots_take(1, &first, &e), 0);
	slots_put(first);
	assert_int_equal(slots_take(2, &second, &e), 0);
	assert_true(first != second);
	slots_put(second);
}

static atomic_int owners[TOTAL], collisions;

static void *taker(void *arg)
{
	uint32_t index;

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if (slots_take(1, &index, NULL) < 0)
			continue;
		if (atomic_fetch_add(&owners[index], 1) != 0)
			atomic_fetch_add(&collisions, 1);
		atomic_fetch_sub(&owners[index], 1);
		slots_put(index);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, taker, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(collisions, 0);
	assert_int_equal(count().used, 0);
}

/* ---- ready ones ------------------------------------------------------------------------------------------- */

static void test_ready(void **state)
{
	struct slot a, b;

	(void)state;
	begin(2);
	assert_int_equal(ups, 2);
	assert_int_equal(count().used, 0);
	a = get();
	b = get(); /* none of them is made now, or not by us */
	assert_int_equal(a.index, 0);
	assert_int_equal(b.index, 1);
	ops_await(count().ready == 2); /* others took their places */
	assert_int_equal(ups, 4);
	assert_int_equal(count().used, 2);
	slots_release(&a);
	assert_int_equal(a.index, UINT32_MAX);
	assert_int_equal(a.netns_fd, -1);
	ops_await(count().dirty == 0 && count().used == 1);
	assert_int_equal(recycles, 0); /* there are enough */
	assert_int_equal(downs, 1);
	slots_release(&b);
	end();
	assert_int_equal(downs, 4);
}

/* One that is wanted is made as good as new, but not given out at once. */
static void test_recycle(void **state)
{
	struct slot a, b;

	(void)state;
	begin(0);
	a = get();
	b = get();
	settings.slots_ready = 1;
	slots_release(&a);
	ops_await(recycles == 1);
	slots_release(&b); /* that would be one too many */
	ops_await(downs == 1);
	settings.slots_ready = 0; /* or another would be made */
	a = get();
	assert_int_equal(a.index, 2); /* 0 rests */
	ops_await(count().ready == 1);
	b = get();
	assert_int_equal(b.index, 0);
	assert_int_equal(ups, 3);
	slots_release(&a);
	fail_recycles = 1;
	settings.slots_ready = 1;
	slots_release(&b);
	ops_await(downs == 3); /* what cannot be made new goes down */
	end();
}

/* The number has changed: those that are too many go, those that lack are made. */
static void test_heed(void **state)
{
	(void)state;
	begin(3);
	settings.slots_ready = 1;
	slots_heed();
	ops_await(count().ready == 1 && count().dirty == 0);
	assert_int_equal(downs, 2);
	assert_int_equal(ups, 3);
	settings.slots_ready = 4;
	slots_heed();
	ops_await(count().ready == 4);
	assert_int_equal(ups, 6);
	assert_int_equal(downs, 2);
	settings.slots_ready = 0;
	slots_heed();
	ops_await(count().ready + count().dirty == 0);
	end();
}

/* ---- what fails ------------------------------------------------------------------------------------------- */

static void test_dirty(void **state)
{
	struct slot a, others[TOTAL];
	struct err e = {0};
	struct deadline d = deadline_in(20000, -1);

	(void)state;
	begin(0);
	a = get();
	fail_downs = 2;
	slots_release(&a);
	ops_await(downs == 1);
	for (int i = 1; i < TOTAL; i++)
		others[i] = get();
	fail_downs = 1000;
	assert_int_equal(count().dirty, 1);
	assert_int_equal(slots_get(&d, &a, &e), -ENOSPC); /* not given out, nor waited for */
	assert_int_not_equal(there[0], 0);
	fail_downs = 0;
	slots_retry();
	ops_await(count().dirty == 0);
	assert_int_equal(there[0], 0);
	a = get();
	assert_int_equal(a.index, 0);
	slots_release(&a);
	for (int i = 1; i < TOTAL; i++)
		slots_release(&others[i]);
	end();
}

/* By itself too, after a while. */
static void test_dirty_again(void **state)
{
	struct slot a;

	(void)state;
	begin(0);
	a = get();
	fail_downs = 2;
	slots_release(&a);
	ops_await(count().dirty == 0 && there[0] == 0);
	assert_int_equal(downs, 3);
	end();
}

/* Indexes that are on their way to be free are waited for. */
static void test_no_space(void **state)
{
	struct slot all[TOTAL];

	(void)state;
	begin(0);
	for (int i = 0; i < TOTAL; i++)
		all[i] = get();
	gate = true;
	slots_release(&all[5]);
	ops_await(count().dirty == 1);
	fail_downs = 0;
	gate = false;
	all[5] = get();
	assert_int_equal(all[5].index, 5);
	for (int i = 0; i < TOTAL; i++)
		slots_release(&all[i]);
	end();
}

static void test_tries(void **state)
{
	struct deadline d = deadline_in(20000, -1);
	struct err e = {0};
	struct slot s;
	int cancel = eventfd(1, EFD_CLOEXEC);

	(void)state;
	begin(0);
	fail_ups = 2;
	s = get(); /* the third time it works */
	assert_int_equal(ups, 3);
	slots_release(&s);
	fail_ups = 3;
	assert_int_equal(slots_get(&d, &s, &e), -EIO);
	assert_int_equal(fail_ups, 0);
	up_error = -EADDRINUSE;
	fail_ups = 5;
	s = get();
	slots_release(&s);
	up_error = -EINVAL;
	fail_ups = 2;
	assert_int_equal(slots_get(&d, &s, &e), -EINVAL); /* that will not pass */
	assert_int_equal(fail_ups, 1);
	up_error = -EIO;
	fail_ups = 1;
	d = deadline_in(20000, cancel);
	assert_int_equal(slots_get(&d, &s, &e), -ECANCELED);
	ops_await(count().dirty == 0);
	assert_int_equal(count().used, 0);
	(void)close(cancel);
	end();
}

/* What will not go at the end is let be; the thread ends. */
static void test_stop(void **state)
{
	struct slot a;

	(void)state;
	begin(3);
	a = get();
	ops_await(count().ready == 3);
	fail_downs = 1;
	slots_release(&a);
	slots_stop();
	assert_int_equal(count().used + count().ready + count().dirty, 0);
	fail_downs = 0;
	for (int i = 0; i < TOTAL; i++)
		atomic_store(&there[i], 0);
	slots_stop(); /* once more is no harm */
}

static void test_sweep(void **state)
{
	struct slot a;
	struct err e = {0};

	(void)state;
	begin(2);
	a = get();
	ops_await(count().ready == 2);
	left_behind = 4000000000;
	assert_int_equal(slots_sweep(&e), 1); /* neither the ready ones nor that in use */
	left_behind = a.serial;
	assert_int_equal(slots_sweep(&e), 0);
	slots_release(&a);
	end();
}

/* ---- all at once ------------------------------------------------------------------------------------------ */

static void *user(void *arg)
{
	const struct deadline d = deadline_in(60000, -1);
	struct slot s;

	(void)arg;
	for (int i = 0; i < 200; i++) {
		if (slots_get(&d, &s, NULL) < 0) {
			atomic_fetch_add(&misuse, 1);
			continue;
		}
		if (atomic_fetch_add(&owners[s.index], 1) != 0)
			atomic_fetch_add(&collisions, 1);
		atomic_fetch_sub(&owners[s.index], 1);
		slots_release(&s);
	}
	return NULL;
}

static void test_users(void **state)
{
	pthread_t threads[TOTAL + 4];

	(void)state;
	begin(3);
	for (int i = 0; i < TOTAL + 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, user, NULL), 0);
	for (int i = 0; i < TOTAL + 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(collisions, 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),     cmocka_unit_test(test_rest),
		cmocka_unit_test(test_threads),  cmocka_unit_test(test_ready),
		cmocka_unit_test(test_recycle),  cmocka_unit_test(test_heed),
		cmocka_unit_test(test_dirty),    cmocka_unit_test(test_dirty_again),
		cmocka_unit_test(test_no_space), cmocka_unit_test(test_tries),
		cmocka_unit_test(test_stop),     cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
