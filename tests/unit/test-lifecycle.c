/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-lifecycle.c - a start that fails at each step in turn leaves nothing; teardowns that stick
 *
 * The drivers here are made for this: each step can be told to fail, and counts what it holds. The VMM is
 * a real process, so that its end is a real event. No guest ever answers.
 */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/http.h"
#include "ops/lane.h"
#include "ops/lifecycle.h"
#include "ops/settings.h"
#include "ops/steps.h"
#include "vm/vm.h"

enum step_no { CREATE, UP, NET, VM, AGENT, STEP_COUNT };

static bool fails[STEP_COUNT], sticks[STEP_COUNT], held[STEP_COUNT];
static bool vm_ends; /* by itself, at once */

static int take(enum step_no step, struct err *e)
{
	held[step] = true; /* half of it, when it fails: down() sees to that */
	return fails[step] ? err_set(e, EIO, "step %d fails", (int)step) : 0;
}

static int drop(enum step_no step, struct err *e)
{
	if (sticks[step])
		return err_set(e, EBUSY, "step %d sticks", (int)step);
	held[step] = false;
	return 0;
}

static int volume_create(const struct volume_spec *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	return take(CREATE, e);
}

static int volume_destroy(const struct volume_spec *s, struct err *e)
{
	(void)s;
	return drop(CREATE, e);
}

static int volume_up(const struct volume_spec *s, const struct deadline *d, struct volume **ret,
		     struct err *e)
{
	static uint64_t block[512]; /* nothing of it is looked at */
	int r = take(UP, e);

	(void)s;
	(void)d;
	if (r == 0)
		*ret = (struct volume *)block;
	return r;
}

static int volume_down(const struct volume_spec *s, struct volume *v, const struct deadline *d,
		       struct err *e)
{
	(void)s;
	(void)v;
	(void)d;
	return drop(UP, e);
}

static int net_up(uint32_t index, uint32_t serial, const struct deadline *d, struct slot *ret,
		  struct err *e)
{
	(void)d;
	*ret = (struct slot){.index = index, .serial = serial, .netns_fd = -1, .tap_fd = -1};
	(void)snprintf(ret->agent_addr, sizeof(ret->agent_addr), "127.0.0.1");
	ret->agent_port = 1; /* nobody listens there */
	if (take(NET, e) == 0)
		return 0;
	held[NET] = false; /* as the face promises: a failed call leaves nothing */
	return -e->code;
}

static int net_down(struct slot *s, const struct deadline *d, struct err *e)
{
	(void)s;
	(void)d;
	return drop(NET, e);
}

static int vm_start(const struct vm_spec *spec, const struct deadline *d, struct vm **ret,
		    struct err *e)
{
	struct vm_common *vm;
	int r = take(VM, e);

	(void)d;
	if (r < 0) {
		held[VM] = false; /* as the face promises: a failed call leaves no process */
		return r;
	}
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	vm->id.pid = fork();
	if (vm->id.pid == 0) {
		if (!vm_ends)
			(void)pause();
		_exit(0);
	}
	vm->driver = spec->host->driver;
	vm->pidfd = (int)syscall(SYS_pidfd_open, vm->id.pid, 0);
	vm->console = -1;
	*ret = (struct vm *)vm;
	return 0;
}

static int vm_kill(struct vm *vm, const struct proc_id *id, const char *run_dir,
		   const struct deadline *d, struct err *e)
{
	int r = drop(VM, e);

	(void)vm;
	(void)run_dir;
	(void)d;
	if (r < 0)
		return r;
	(void)kill(id->pid, SIGKILL);
	assert_int_equal(waitpid(id->pid, NULL, 0), id->pid);
	return 0;
}

static void vm_close(struct vm *vm)
{
	(void)close(vm_common(vm)->pidfd);
	free(vm);
}

static const struct volume_driver volume = {.name = "test",
					    .create = volume_create,
					    .destroy = volume_destroy,
					    .up = volume_up,
					    .down = volume_down};
static const struct slot_driver net = {.name = "test", .up = net_up, .down = net_down};
static const struct vm_driver vmm = {
	.name = "test", .start = vm_start, .kill = vm_kill, .close = vm_close};

static struct sbx *box;

static int setup(void **state)
{
	const struct deadline never = {INT64_MAX, -1};
	struct writer w = {.uid = geteuid(), .gid = getegid()};
	struct template_files files;
	struct template *t;
	struct err e = {0};
	char file[300];
	int r = ops_dir_make(state);

	ops_write("file", "content");
	(void)snprintf(file, sizeof(file), "%s/file", host.state_dir);
	files = (struct template_files){file, file, file, ""};
	assert_int_equal(template_create("default", &w, &t, &e), 0);
	assert_int_equal(template_import_files(t, &files, &w, &never, &e), 0);
	template_put(t);
	assert_int_equal(http_init(), 0);
	host.vm = &vmm;
	host.vm_host.driver = &vmm;
	host.volume = &volume;
	host.net = &net;
	settings.slots_ready = 0;
	assert_int_equal(slots_start(&e), 0);
	(void)snprintf(host.run_dir, sizeof(host.run_dir), "%.60s/run", host.state_dir);
	box = ops_create("box");
	return r;
}

static int teardown(void **state)
{
	sbx_put(box);
	slots_stop();
	http_done();
	return ops_dir_remove(state);
}

static struct slots_counts slots(void)
{
	struct slots_counts c;

	slots_count(&c);
	return c;
}

static void expect_nothing(void)
{
	ops_await(slots().dirty == 0); /* a slot goes behind its sandbox */
	for (int i = 0; i < STEP_COUNT; i++)
		assert_false(held[i]);
	assert_int_equal(slots().used, 0);
	assert_int_equal(host_promised(), 0);
	assert_int_equal(box->vm_id.pid, 0);
}

static int start(int64_t ms, struct err *e)
{
	struct deadline d = deadline_in(ms, -1);

	return lifecycle_start(box, &d, NULL, e);
}

/* As the first one it began with: no data, no pin, no slot, no promise. */
static void test_each_step_fails(void **state)
{
	struct err e = {0};

	(void)state;
	for (int step = CREATE; step < AGENT; step++) {
		fails[step] = true;
		assert_int_equal(start(5000, &e), -EIO);
		fails[step] = false;
		expect_nothing();
		assert_int_equal(sbx_state(box), SBX_CREATED);
		assert_int_equal(box->level, LEVEL_DEFINED);
		assert_string_equal(box->template_pin, "");
	}
	assert_int_equal(start(300, &e), -ETIMEDOUT); /* nobody answers */
	expect_nothing();
	assert_int_equal(sbx_state(box), SBX_CREATED);
	vm_ends = true;
	assert_int_equal(start(20000, &e), -EIO);
	vm_ends = false;
	assert_non_null(strstr(e.text, "ended before its agent answered"));
	expect_nothing();
}

/* The undoing fails too: state error; what is held is held on to, and the next try lets go of it. */
static void test_each_step_sticks(void **state)
{
	struct err e = {0};

	(void)state;
	for (int step = UP; step < AGENT; step++) {
		if (step == NET) /* a slot is not the sandbox's any more: below */
			continue;
		sticks[step] = true;
		assert_int_equal(start(100, &e), -ETIMEDOUT);
		assert_int_equal(sbx_state(box), SBX_ERROR);
		assert_true(held[step]);
		assert_int_equal(start(100, &e), -EBUSY); /* first that has to go */
		assert_int_equal(lifecycle_kill(box, &e), -EBUSY);
		assert_non_null(strstr(e.text, "does not go away"));
		assert_int_equal(sbx_state(box), SBX_ERROR);
		sticks[step] = false;
		assert_int_equal(lifecycle_kill(box, &e), 0);
		assert_int_equal(sbx_state(box), SBX_STOPPED); /* its data stayed */
		assert_int_equal(box->level, LEVEL_DATA);
		held[CREATE] = false;
		expect_nothing();
		held[CREATE] = true;
	}
	/* A stuck teardown, then a start that gets past it: memory is promised once, and dropped. */
	sticks[VM] = true;
	assert_int_equal(start(100, &e), -ETIMEDOUT);
	assert_int_equal(lifecycle_kill(box, &e), -EBUSY);
	sticks[VM] = false;
	assert_int_equal(start(100, &e), -ETIMEDOUT);
	assert_int_equal(sbx_state(box), SBX_ERROR);
	assert_int_equal(host_promised(), 0);
	assert_int_equal(lifecycle_kill(box, &e), 0);
}

/* Its slot will not go: that holds up nobody but the slot. */
static void test_slot_sticks(void **state)
{
	struct err e = {0};

	(void)state;
	sticks[NET] = true;
	assert_int_equal(start(1000, &e), -ETIMEDOUT);
	assert_int_equal(sbx_state(box), SBX_STOPPED);
	assert_int_equal(box->level, LEVEL_DATA);
	assert_true(held[NET]);
	ops_await(slots().dirty >= 1);
	assert_int_equal(slots().used, 0);
	assert_int_equal(start(1000, &e), -ETIMEDOUT); /* in another one */
	ops_await(slots().dirty >= 2);
	sticks[NET] = false;
	slots_retry();
	held[CREATE] = false;
	expect_nothing();
	held[CREATE] = true;
}

static void test_no_room(void **state)
{
	struct err e = {0};
	uint32_t index;

	(void)state;
	assert_int_equal(config_set(&box->config, "memory_mb", "4000", NULL, &e), 0);
	assert_int_equal(start(100, &e), -ENOMEM);
	assert_int_equal(config_set(&box->config, "memory_mb", NULL, NULL, &e), 0);
	while (slots_take(1, &index, NULL) == 0)
		;
	assert_int_equal(start(100, &e), -ENOSPC);
	for (uint32_t i = 0; i < slots().total; i++)
		slots_put(i);
	assert_int_equal(host_promised(), 0);
	assert_int_equal(config_set(&box->config, "template", "other", NULL, &e), 0);
	box->template_pin[0] = '\0';
	assert_int_equal(start(100, &e), -ENOENT);
	assert_int_equal(config_set(&box->config, "template", NULL, NULL, &e), 0);
}

static void test_destroy(void **state)
{
	struct err e = {0};

	(void)state;
	sticks[CREATE] = true;
	assert_int_equal(lifecycle_destroy(box, &e), -EBUSY);
	assert_int_equal(sbx_state(box), SBX_ERROR);
	sticks[CREATE] = false;
	assert_int_equal(lifecycle_destroy(box, &e), 0);
	assert_int_equal(lifecycle_destroy(box, &e), 0); /* another one was queued behind it */
	expect_nothing();
	assert_int_equal(faccessat(AT_FDCWD, box->dir, F_OK, 0), -1);
	assert_null(registry_find("box"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_step_fails), cmocka_unit_test(test_each_step_sticks),
		cmocka_unit_test(test_slot_sticks),     cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_destroy),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
