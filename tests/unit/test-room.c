/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-room.c - what may be promised, and what becomes of a guest whose disk stops it
 *
 * The store and the VMM here say what the test wants them to; the thread that looks, the lanes and the file system are real.
 */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "ops/disk-full.h"
#include "ops/event.h"
#include "ops/lane.h"
#include "ops/lifecycle.h"
#include "ops/room-private.h"
#include "ops/settings.h"
#include "ops/steps.h"
#include "storage/volume.h"
#include "vm/vm.h"

#define MIB (UINT64_C(1) << 20)

enum {
	SLOW_MS = 400, /* that a slow grow() takes */
	LONG_MS = 20000,
};

/* The store and the VMM of the one sandbox. */
static struct {
	atomic_uint health, said;
	atomic_ullong used, total;
	atomic_int grow_result;   /* 0 or a negative errno */
	atomic_bool mends;        /* grow() makes a full one well */
	atomic_bool slow;         /* grow() takes SLOW_MS */
	atomic_bool stands;       /* the disk has stopped the vCPUs */
	atomic_bool stands_again; /* and does so as often as they go on */
	atomic_bool stopped;      /* they were stopped */
	atomic_uint grown, thawed, looking;
} box_of;

static int usage(const struct volume_spec *s, struct volume_usage *ret)
{
	(void)s;
	ret->used_bytes = box_of.used;
	ret->total_bytes = box_of.total;
	ret->health = box_of.health;
	return 0;
}

static int grow(const struct volume_spec *s, uint64_t reserve, const struct deadline *d,
		struct err *e)
{
	int r = box_of.grow_result;

	(void)d;
	assert_int_equal(s->dir_fd >= 0, true);
	assert_int_equal(reserve, room_reserve_bytes());
	box_of.grown++;
	box_of.looking++;
	if (box_of.slow)
		(void)usleep(SLOW_MS * 1000);
	box_of.looking--;
	if (r < 0)
		return err_set(e, -r, "the store does not grow");
	if (box_of.mends)
		box_of.health = VOLUME_WELL;
	return 0;
}

static unsigned said(struct vm *vm)
{
	(void)vm;
	return atomic_exchange(&box_of.said, 0);
}

static int disk_stopped(struct vm *vm, const struct deadline *d, bool *ret, struct err *e)
{
	(void)vm;
	(void)d;
	(void)e;
	*ret = box_of.stands;
	return 0;
}

static int freeze(struct vm *vm, const struct deadline *d, struct err *e)
{
	(void)vm;
	(void)d;
	(void)e;
	box_of.stopped = true;
	return 0;
}

static int thaw(struct vm *vm, const struct deadline *d, struct err *e)
{
	(void)vm;
	(void)d;
	(void)e;
	box_of.thawed++;
	box_of.stopped = false;
	box_of.stands = box_of.stands_again;
	if (box_of.stands_again)
		box_of.said = VM_SAID_DISK_ERROR;
	return 0;
}

static const struct volume_driver volume = {.name = "test", .usage = usage, .grow = grow};
static const struct vm_driver vmm = {
	.name = "test", .said = said, .disk_stopped = disk_stopped, .freeze = freeze, .thaw = thaw};
static struct vm_common vm = {.driver = &vmm, .pidfd = -1, .events = -1, .console = -1};
static struct sbx *box;
static struct settings defaults;

static int setup(void **state)
{
	const struct deadline never = {INT64_MAX, -1};
	struct writer w = {.uid = geteuid(), .gid = getegid()};
	struct template_files files;
	struct template *t;
	struct err e = {0};
	char file[300];
	int r = ops_dir_make(state);

	log_set_level(LOG_LEVEL_ERROR);
	ops_write("file", "content");
	(void)snprintf(file, sizeof(file), "%s/file", host.state_dir);
	files = (struct template_files){file, file, file, ""};
	assert_int_equal(template_create("default", &w, &t, &e), 0);
	assert_int_equal(template_import_files(t, &files, &w, &never, &e), 0);
	template_put(t);
	host.vm = &vmm;
	host.vm_host.driver = &vmm;
	host.volume = &volume;
	box = ops_create("box");
	defaults = settings;
	return r;
}

static int teardown(void **state)
{
	sbx_put(box);
	return ops_dir_remove(state);
}

/* As if it had been started. */
static int begin(void **state)
{
	struct err e = {0};

	(void)state;
	memset(&box_of, 0, sizeof(box_of));
	box_of.total = 1000;
	box->vm = (struct vm *)&vm;
	settings = defaults;
	sbx_set_state(box, SBX_RUNNING);
	box->exit_reason[0] = '\0';
	room_watch(box);
	return room_init(&e);
}

static int end(void **state)
{
	(void)state;
	room_stop();
	lane_done();
	room_done();
	box->vm = NULL;
	return 0;
}

static bool told(uint32_t serial, uint64_t from, const char *text)
{
	struct buf b = BUF_INIT;
	bool found;

	(void)event_read(serial, from, 1 << 20, &b);
	found = strstr(buf_text(&b), text) != NULL;
	buf_done(&b);
	return found;
}

/* The number of the next event. */
static uint64_t now(void)
{
	struct buf b = BUF_INIT;
	uint64_t next = event_read(0, 0, 1 << 24, &b);

	buf_done(&b);
	return next;
}

static bool is_frozen_for(const char *reason)
{
	struct sbx_view v;

	sbx_view(box, &v);
	return v.state == SBX_FROZEN && strcmp(v.exit_reason, reason) == 0;
}

static bool record_says(const char *text)
{
	int dir = sbx_open(box, ".", O_RDONLY | O_DIRECTORY);
	struct buf b = BUF_INIT;
	bool found;

	(void)file_read(dir, "record", 1 << 20, &b, NULL);
	for (char *blank = b.data; blank && (blank = strpbrk(blank, " \n\t"));)
		memmove(blank, blank + 1, strlen(blank));
	found = strstr(buf_text(&b), text) != NULL;
	(void)close(dir);
	buf_done(&b);
	return found;
}

/* ---- promises ------------------------------------------------------------------------------------------------ */

static void test_reserve(void **state)
{
	struct room_space space;

	(void)state;
	assert_int_equal(room_space(&space), 0);
	assert_true(space.reserve <= space.total / 8);
	assert_true(space.reserve <= 2048 * MIB);
	settings.disk_reserve_mb = 7;
	assert_int_equal(room_reserve_bytes(), 7 * MIB);
	assert_int_equal(room_check(1, NULL), 0);
	settings.disk_reserve_mb = space.total / MIB + 1;
	assert_int_equal(room_check(1, NULL), -ENOSPC);
	settings = defaults;
}

static void test_promises(void **state)
{
	struct sbx *other = ops_create("other");
	struct room_space space;
	struct err e = {0};

	(void)state;
	settings.disk_reserve_mb = 1;
	settings.disk_overcommit_pct = 200;
	assert_int_equal(room_space(&space), 0);
	assert_int_equal(room_promise(box, space.total, &e), 0);
	assert_int_equal(room_promised_bytes(), space.total);
	assert_int_equal(room_promise(other, space.total + MIB, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "disk_overcommit=200"));
	assert_int_equal(room_promised_bytes(), space.total);
	assert_int_equal(room_promise(other, space.total / 2, &e), 0);
	assert_int_equal(room_promise(other, space.total / 2, &e), 0); /* in its own place */
	assert_int_equal(room_promised_bytes(), space.total + space.total / 2);
	settings.disk_overcommit_pct = 100; /* a new limit takes nothing away … */
	assert_int_equal(room_promise(box, space.total, &e), 0);
	assert_int_equal(room_promise(box, space.total + 1, &e), -ENOSPC); /* … and gives nothing */
	assert_int_equal(room_promise(box, 1, &e), 0);
	settings.disk_overcommit_pct = 0;
	assert_int_equal(room_promise(box, UINT64_C(1) << 39, &e),
			 0); /* however small it is here */
	assert_int_equal(room_promise(box, space.total * 11 + (UINT64_C(1) << 40), &e), -ENOSPC);
	settings.disk_reserve_mb = space.total / MIB + 1; /* and nothing is free */
	assert_int_equal(room_promise(box, 1, &e), -ENOSPC);
	assert_int_equal(room_promise(box, 0, &e), 0);
	room_promise_loaded(box, 5);
	assert_int_equal(room_promised_bytes(), space.total / 2 + 5);
	registry_forget(other);
	assert_int_equal(room_promised_bytes(), 5);
	assert_int_equal(room_promise(box, 0, &e), 0);
	sbx_put(other);
	settings = defaults;
}

static void test_memory(void **state)
{
	uint64_t all = host.memory_total_mib - host.memory_reserve_mib;

	(void)state;
	assert_int_equal(host_promise(all + 1, NULL), -ENOMEM);
	settings.memory_overcommit_pct = 200;
	assert_int_equal(host_promise(all * 2, NULL), 0);
	assert_int_equal(host_promise(1, NULL), -ENOMEM);
	host_promise_drop(all * 2);
	settings = defaults;
}

/* ---- looks --------------------------------------------------------------------------------------------------- */

static void test_levels(void **state)
{
	uint64_t from = now();
	struct sbx_view v;

	(void)state;
	box_of.used = 799;
	ops_await((sbx_view(box, &v), v.cow_used_bytes == 799));
	assert_int_equal(v.cow_total_bytes, 1000);
	assert_false(told(box->serial, from, "\"disk\""));
	box_of.used = 800;
	ops_await(told(box->serial, from, "\"level\":80,\"used\":800,\"total\":1000"));
	from = now();
	box_of.used = 760; /* too little to be told again */
	ops_await((sbx_view(box, &v), v.cow_used_bytes == 760));
	box_of.used = 960;
	ops_await(told(box->serial, from, "\"level\":95"));
	assert_false(told(box->serial, from, "\"level\":80"));
	from = now();
	box_of.used = 740;
	ops_await((sbx_view(box, &v), v.cow_used_bytes == 740));
	box_of.used = 999;
	ops_await(told(box->serial, from, "\"level\":95"));
	assert_true(told(box->serial, from, "\"level\":80"));
	assert_true(box_of.grown > 0);
	assert_int_equal(sbx_state(box), SBX_RUNNING);
}

static void stop_by_disk(unsigned what)
{
	box_of.stands = true;
	box_of.said = what;
}

/* An overflow: mended, and its state never changes. */
static void test_goes_on(void **state)
{
	uint64_t from = now();

	(void)state;
	box_of.mends = true;
	box_of.health = VOLUME_FULL;
	stop_by_disk(VM_SAID_DISK_ERROR);
	ops_await(told(box->serial, from, "\"disk-grown\""));
	assert_false(box_of.stands);
	assert_false(told(box->serial, from, "\"state\""));
	assert_int_equal(sbx_state(box), SBX_RUNNING);
}

/* No room: frozen, and thaw goes on once there is. */
static void test_disk_full(void **state)
{
	struct deadline d = deadline_in(LONG_MS, -1);
	uint64_t from = now();
	struct err e = {0};

	(void)state;
	box_of.grow_result = -ENOSPC;
	stop_by_disk(VM_SAID_DISK_ERROR | VM_SAID_DISK_FULL);
	ops_await(is_frozen_for("disk-full"));
	assert_true(told(box->serial, from, "\"disk-full\""));
	assert_string_equal(box->last_error, "the store does not grow");
	assert_int_equal(lifecycle_thaw(box, &d, &e), -ENOSPC);
	assert_true(is_frozen_for("disk-full"));
	assert_int_equal(box_of.thawed, 0);
	assert_true(record_says("\"state\":\"frozen\"") &&
		    record_says("\"exit_reason\":\"disk-full\""));
	box_of.grow_result = 0;
	assert_int_equal(lifecycle_thaw(box, &d, &e), 0);
	assert_int_equal(sbx_state(box), SBX_RUNNING);
	assert_string_equal(box->exit_reason, "");
	assert_string_equal(box->last_error, "");
}

/* No room ahead of one that still runs: it is stopped before it could meet that. */
static void test_no_room_ahead(void **state)
{
	(void)state;
	box_of.grow_result = -ENOSPC;
	box_of.used = 10;
	ops_await(is_frozen_for("disk-full"));
	assert_true(box_of.stopped);
}

static void test_broken(void **state)
{
	(void)state;
	box_of.health = VOLUME_BROKEN;
	ops_await(is_frozen_for("disk-error"));
	assert_true(box_of.stopped);
}

/* An error that has nothing to do with room is tried again, but not for ever. */
static void test_error_again(void **state)
{
	(void)state;
	stop_by_disk(VM_SAID_DISK_ERROR);
	ops_await(!box_of.stands);
	assert_int_equal(sbx_state(box), SBX_RUNNING);
	box_of.stands_again = true;
	stop_by_disk(VM_SAID_DISK_ERROR);
	ops_await(is_frozen_for("disk-error"));
	assert_true(box_of.thawed >= 2 && box_of.thawed <= 4);
}

/* Nobody else lets it stand while it stops, and whoever stops it has the turn. */
static void test_while_stopping(void **state)
{
	(void)state;
	sbx_set_state(box, SBX_STOPPING);
	box_of.mends = true;
	box_of.health = VOLUME_FULL;
	stop_by_disk(VM_SAID_DISK_ERROR);
	ops_await(!box_of.stands);
	assert_int_equal(sbx_state(box), SBX_STOPPING);
}

/* Settings change only while there is no thread. */
static void set_reserve(uint64_t mib)
{
	room_stop();
	settings.disk_reserve_mb = mib;
	assert_int_equal(room_init(NULL), 0);
}

static void test_reserve_reached(void **state)
{
	struct deadline d = deadline_in(LONG_MS, -1);
	uint64_t from = now();
	struct room_space space;
	struct err e = {0};

	(void)state;
	ops_await(faccessat(host.state_fd, "ballast", F_OK, 0) == 0);
	assert_int_equal(room_space(&space), 0);
	set_reserve(space.free / MIB + 64);
	ops_await(is_frozen_for("disk-full"));
	assert_true(told(0, from, "\"disk-low\""));
	assert_true(box_of.stopped);
	assert_int_equal(faccessat(host.state_fd, "ballast", F_OK, 0), 0); /* not needed yet */
	assert_int_equal(lifecycle_thaw(box, &d, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "stay free"));
	set_reserve(space.free / MIB * 5); /* less than a quarter of it */
	ops_await(faccessat(host.state_fd, "ballast", F_OK, 0) < 0);
	set_reserve(0);
	ops_await(faccessat(host.state_fd, "ballast", F_OK, 0) == 0);
	assert_int_equal(lifecycle_thaw(box, &d, &e), 0);
}

/* After room_unwatch() no look is under way. */
static void test_unwatch(void **state)
{
	unsigned grown;

	(void)state;
	box_of.slow = true;
	ops_await(box_of.looking == 1);
	room_unwatch(box);
	assert_int_equal(box_of.looking, 0);
	grown = box_of.grown;
	(void)usleep(SLOW_MS * 2 * 1000);
	assert_int_equal(box_of.grown, grown);
	room_unwatch(box); /* twice is as good */
	assert_int_equal(faccessat(host.state_fd, "ballast", F_OK, 0), 0);
	room_stop();
	room_done();
	assert_int_equal(faccessat(host.state_fd, "ballast", F_OK, 0), -1);
	assert_int_equal(room_init(NULL), 0);
}

/* What an earlier daemon left: standing on its disk, or stopped in the middle of something. */
static void test_adopt(void **state)
{
	struct deadline d = deadline_in(LONG_MS, -1);
	struct err e = {0};

	(void)state;
	sbx_set_state(box, SBX_STARTING);
	box_of.stopped = true;
	assert_int_equal(disk_full_adopt(box, &d, &e), 0);
	assert_false(box_of.stopped || box->was_frozen);
	box_of.stands = true;
	assert_int_equal(disk_full_adopt(box, &d, &e), 0);
	assert_false(box_of.stands || box->was_frozen);
	box_of.stands = true;
	box_of.grow_result = -ENOSPC;
	assert_int_equal(disk_full_adopt(box, &d, &e), 0);
	assert_true(box_of.stands && box->was_frozen);
	assert_string_equal(box->exit_reason, "disk-full");
	box_of.grow_result = 0;
	box_of.stopped = false; /* the record was quicker than the VMM */
	assert_int_equal(disk_full_adopt(box, &d, &e), 0);
	assert_true(box_of.stands && box_of.stopped);
	box->was_frozen = false;
}

int main(void)
{
#define LOOKED_AT(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reserve),  cmocka_unit_test(test_promises),
		cmocka_unit_test(test_memory),   LOOKED_AT(test_levels),
		LOOKED_AT(test_goes_on),         LOOKED_AT(test_disk_full),
		LOOKED_AT(test_no_room_ahead),   LOOKED_AT(test_broken),
		LOOKED_AT(test_error_again),     LOOKED_AT(test_while_stopping),
		LOOKED_AT(test_reserve_reached), LOOKED_AT(test_unwatch),
		LOOKED_AT(test_adopt),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
