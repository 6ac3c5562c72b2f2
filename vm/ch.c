/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch.c - the cloud-hypervisor driver
 *
 * How it works: the VMM inherits what it needs by descriptor and is told on its command line (ch-argv.c), with the
 * listening socket of its API already open, so that a later daemon finds it by name. What it says by itself comes through a
 * FIFO that both sides hold open for reading and writing: it has no end, and outlives a daemon. Its "booted" or "restored"
 * tells that a start is over; then the API is asked for the state, as after each command: what it says it did is not believed.
 * A guest that resets would be started again by the VMM: it is killed as soon as that is heard, which
 * said() does too, within a quarter of a second.
 * The program's own serial line takes input from a terminal only, so there is no way into the console. It knows no "stop
 * when the disk fails": a guest sees the errors of its disk, and disk_stopped() is never true. It stays
 * confined by seccomp, and by Landlock where the kernel has enough of it (6.2).
 */
#include "vm/ch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "vm/program.h"

enum {
	UNDO_LIMIT_MS = 10 * 1000, /* for the end of a VMM whose start failed */
	BALLOON_STEP_MS = 10,      /* between the first looks at it; each is twice as far */
	BALLOON_STEP_MAX_MS = 200,
	BALLOON_STILL_MS =
		1000, /* a guest that has not moved for so long has given what it gives */
};

#define NAME "cloud-hypervisor"

/* ---- events ------------------------------------------------------------------------------------------ */

/* The first reason of an end is the reason. */
static void end_note(struct vm *vm, enum vm_end end)
{
	if (vm->end == VM_END_UNKNOWN)
		vm->end = end;
}

static void note_event(void *arg, const char *source, const char *name)
{
	struct vm *vm = arg;

	if (strcmp(source, "guest") == 0 && strcmp(name, "panic") == 0) {
		end_note(vm, VM_END_PANIC);
	} else if (strcmp(source, "vm") != 0) {
		return;
	} else if (strcmp(name, "booted") == 0 || strcmp(name, "restored") == 0) {
		vm->began = true;
	} else if (strcmp(name, "shutdown") == 0) {
		end_note(vm, VM_END_SHUTDOWN);
	} else if (strcmp(name, "rebooting") == 0) {
		end_note(vm, VM_END_RESET);
		(void)proc_kill(vm->common.pidfd, SIGKILL); /* the pidfd tells */
	}
}

/* Hear what has been said so far. Return: has the guest begun? */
static bool hear(struct vm *vm)
{
	bool began;

	(void)pthread_mutex_lock(&vm->lock); /* a plain mutex: cannot fail */
	ch_events_read(&vm->events, vm->common.events);
	began = vm->began;
	(void)pthread_mutex_unlock(&vm->lock);
	return began;
}

static enum vm_end ch_ended(struct vm *vm)
{
	enum vm_end end;

	(void)hear(vm);
	(void)pthread_mutex_lock(&vm->lock);
	end = vm->end;
	(void)pthread_mutex_unlock(&vm->lock);
	return end;
}

static unsigned ch_said(struct vm *vm)
{
	(void)hear(vm); /* the lock is never held over a wait */
	return 0;
}

/* ---- life of a struct vm ----------------------------------------------------------------------------- */

static struct vm *vm_new(const char *run_dir, struct err *e)
{
	struct vm *vm;

	if (strlen(run_dir) >= CH_RUN_DIR_SIZE) {
		(void)err_set(e, ENAMETOOLONG, "the run directory's name is too long: %s", run_dir);
		return NULL;
	}
	vm = calloc(1, sizeof(*vm));
	if (!vm) {
		(void)err_set(e, ENOMEM, "no memory for a VM");
		return NULL;
	}
	vm->common.driver = &ch_driver;
	vm->common.pidfd = -1;
	vm->common.events = -1;
	vm->common.console = -1;
	memcpy(vm->run_dir, run_dir, strlen(run_dir) + 1);
	vm->events.event = note_event;
	vm->events.arg = vm;
	(void)pthread_mutex_init(&vm->lock, NULL); /* a plain mutex: cannot fail */
	return vm;
}

static void ch_close(struct vm *vm)
{
	if (!vm)
		return;
	buf_done(&vm->events.text);
	fd_close(vm->common.pidfd);
	fd_close(vm->common.events);
	(void)pthread_mutex_destroy(&vm->lock); /* nobody has it any more */
	free(vm);
}

static void cleanup_vm(struct vm **vm)
{
	ch_close(*vm);
}
#define AUTO_VM __attribute__((cleanup(cleanup_vm))) struct vm *

/* ---- state ------------------------------------------------------------------------------------------- */

static int check_state(struct vm *vm, const char *wanted, const struct deadline *d, struct err *e)
{
	AUTO_JSON info = NULL;
	int r = ch_info(vm->run_dir, d, &info, e);
	const char *state;

	if (r < 0)
		return r;
	state = json_text_at(info, "state", "?");
	if (strcmp(state, wanted) != 0)
		return err_set(e, EIO, NAME " says that its guest is %s, and not %s", state,
			       wanted);
	return 0;
}

/* It refuses what is so already, so what counts is the state afterwards. */
static int set_state(struct vm *vm, const char *command, const char *wanted,
		     const struct deadline *d, struct err *e)
{
	struct err refusal = {0};
	int r = ch_call(vm->run_dir, command, NULL, d, NULL, &refusal);

	if (r == -ETIMEDOUT || r == -ECANCELED)
		return err_set(e, -r, "%s", refusal.text);
	if (check_state(vm, wanted, d, e) == 0)
		return 0;
	return r < 0 ? err_set(e, -r, "%s", refusal.text) : e ? -e->code : -EIO;
}

static int ch_freeze(struct vm *vm, const struct deadline *d, struct err *e)
{
	return set_state(vm, "vm.pause", CH_PAUSED, d, e);
}

static int ch_thaw(struct vm *vm, const struct deadline *d, struct err *e)
{
	return set_state(vm, "vm.resume", CH_RUNNING, d, e);
}

/* Errors of the disk go to the guest. */
static int ch_disk_stopped(struct vm *vm, const struct deadline *d, bool *ret, struct err *e)
{
	(void)vm;
	(void)d;
	(void)e;
	*ret = false;
	return 0;
}

/* ---- the balloon ------------------------------------------------------------------------------------- */

static int balloon_look(struct vm *vm, const struct deadline *d, int64_t *ret_bytes, struct err *e)
{
	AUTO_JSON info = NULL;
	int r = ch_info(vm->run_dir, d, &info, e);

	if (r == 0)
		*ret_bytes = json_int_at(info, "memory_actual_size", -1);
	if (r == 0 && *ret_bytes < 0)
		r = err_set(e, EIO, NAME " does not tell how much memory its guest has");
	return r;
}

/* Wait @ms. Return: 0; 1 when @d is over; -ECANCELED; -EIO it ended. */
static int balloon_rest(const struct vm *vm, const struct deadline *d, int ms, struct err *e)
{
	struct deadline step = deadline_within(d, ms);
	struct pollfd p = {.fd = vm->common.pidfd, .events = POLLIN};
	int r = deadline_poll(&step, &p, 1);

	if (r > 0)
		return err_set(e, EIO, NAME " ended");
	if (r == -ETIMEDOUT)
		return deadline_left_ms(d) == 0;
	return err_set(e, -r, "the balloon was cancelled");
}

static int ch_balloon(struct vm *vm, uint64_t keep_mib, const struct deadline *d, uint64_t *ret_mib,
		      struct err *e)
{
	uint64_t all = vm->common.memory_mib, keep = keep_mib < all ? keep_mib : all;
	int64_t wanted = (int64_t)(keep << 20), now = -1, moved_ms = clock_ms(), before;
	int step = BALLOON_STEP_MS;
	int r = ch_put_int(vm->run_dir, "vm.resize", "desired_balloon",
			   (int64_t)((all - keep) << 20), d, e);

	while (r == 0) {
		before = now;
		r = balloon_look(vm, d, &now, e);
		if (r < 0 || now == wanted)
			break;
		if (now != before)
			moved_ms = clock_ms();
		if (clock_ms() - moved_ms >= BALLOON_STILL_MS)
			break;
		r = balloon_rest(vm, d, step, e);
		step = step * 2 < BALLOON_STEP_MAX_MS ? step * 2 : BALLOON_STEP_MAX_MS;
	}
	/* A guest that gives less, or not in time, is no failure. */
	if (r == -ETIMEDOUT && now >= 0)
		r = 0;
	if (ret_mib && now >= 0)
		*ret_mib = (uint64_t)now >> 20;
	return r < 0 ? r : 0;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static int ch_kill(struct vm *vm, const struct proc_id *id, const char *run_dir,
		   const struct deadline *d, struct err *e)
{
	AUTO_FD pidfd = -1;
	int r = 0;

	if (vm) {
		r = program_end(vm->common.pidfd, NAME, d, e);
		run_dir = vm->run_dir;
	} else if (id->pid > 0 && proc_open(id, &pidfd) == 0) {
		r = program_end(pidfd, NAME, d, e);
	}
	if (r == 0)
		ch_names_remove(run_dir);
	return r;
}

/* ---- start ------------------------------------------------------------------------------------------- */

/* Collects the descriptors that the new process gets. */
struct handed {
	int fds[PROC_FDS_MAX];
	unsigned count;
};

/* Return: the number that @fd will have there; -1 for none. */
static int hand_over(struct handed *h, int fd)
{
	if (fd < 0)
		return -1;
	h->fds[h->count] = fd;
	return PROC_FD_FIRST + (int)h->count++;
}

static int spawn(struct vm *vm, const struct vm_spec *spec, const struct ch_files *f, struct err *e)
{
	struct handed h = {.count = 0};
	struct ch_fds fds = {
		.api = hand_over(&h, f->api),
		.events = hand_over(&h, f->events),
		.kernel = hand_over(&h, f->kernel),
		.initrd = hand_over(&h, f->initrd),
		.disk = hand_over(&h, f->disk),
		.tap = hand_over(&h, spec->net == VM_NET_TAP ? spec->tap_fd : -1),
		.save = hand_over(&h, f->save),
	};
	struct ch_argv argv;
	struct proc_spec proc = {
		.program = spec->host->program,
		.stdin_fd = -1,
		.stdout_fd = spec->console_fd,
		.stderr_fd = spec->stderr_fd,
		.fds = h.fds,
		.fd_count = h.count,
		.netns_fd = spec->netns_fd,
		.cgroup = spec->cgroup,
	};
	int r = ch_argv_build(spec, &fds, f->direct, ch_landlock(), &argv, e);

	if (r == 0 && spec->saved)
		r = ch_restore_dir(spec, &fds, f->direct, e);
	if (r == 0) {
		proc.argv = (const char *const *)argv.args;
		r = proc_spawn(&proc, &vm->common.id, &vm->common.pidfd, e);
	}
	ch_argv_done(&argv);
	return r;
}

/* Wait until the VMM says that its guest runs, or stands ready to go on. */
static int await_begin(struct vm *vm, const struct deadline *d, struct err *e)
{
	for (;;) {
		struct pollfd p[] = {
			{.fd = vm->common.events, .events = POLLIN},
			{.fd = vm->common.pidfd, .events = POLLIN},
		};
		bool over = poll(&p[1], 1, 0) > 0; /* asked before the last look */
		int r;

		if (hear(vm))
			return 0;
		if (over)
			return err_set(e, EIO, NAME " ended before its guest began");
		r = deadline_poll(d, p, sizeof(p) / sizeof(*p));
		if (r == -ECANCELED)
			return err_set(e, ECANCELED, "the start was cancelled");
		if (r < 0)
			return err_set(e, -r, NAME " did not get its guest to run in time");
	}
}

/* The listening socket is closed here once the VMM has it: its end is then the end of all connections. */
static int start_in(struct vm *vm, const struct vm_spec *spec, const struct deadline *d,
		    struct err *e)
{
	AUTO_FD run_dir = -1;
	struct ch_files files;
	int r = ch_files_open(spec, &files, e);

	if (r == 0)
		r = ch_events_open(spec->run_dir, &vm->common.events, e);
	if (r == 0)
		r = file_open_dir(AT_FDCWD, spec->run_dir, &run_dir, e);
	if (r == 0)
		r = manifest_write(&vm->manifest, run_dir, MANIFEST_NAME, e);
	if (r == 0)
		r = spawn(vm, spec, &files, e);
	ch_files_close(&files);
	if (r == 0)
		r = await_begin(vm, d, e);
	if (r == 0)
		r = check_state(vm, spec->saved ? CH_PAUSED : CH_RUNNING, d, e);
	if (r == 0 && spec->saved)
		(void)file_remove_tree(run_dir, CH_RESTORE, NULL); /* else the end does */
	return r < 0 ? err_wrap(e, "cannot start the VM %s", spec->run_dir) : 0;
}

static int ch_start(const struct vm_spec *spec, const struct deadline *d, struct vm **ret_vm,
		    struct err *e)
{
	off_t stderr_from = program_stderr_length(spec->stderr_fd);
	AUTO_VM vm = vm_new(spec->run_dir, e);
	struct err why = {0};
	struct deadline undo;
	int r;

	if (!vm)
		return e ? -e->code : -ENOMEM;
	r = spec->saved ? ch_check_saved(spec, e) : 0;
	if (r < 0)
		return r;
	vm->common.vcpus = spec->vcpus;
	vm->common.memory_mib = spec->memory_mib;
	ch_manifest(&vm->manifest, spec);
	r = start_in(vm, spec, d, &why);
	if (r == 0) {
		*ret_vm = steal_ptr(&vm);
		return 0;
	}
	undo = deadline_in(UNDO_LIMIT_MS, -1);
	if (vm->common.pidfd >= 0 && program_end(vm->common.pidfd, NAME, &undo, NULL) < 0)
		log_warning(NAME " process %d does not end, ignoring", (int)vm->common.id.pid);
	ch_names_remove(spec->run_dir);
	program_last_words(spec->stderr_fd, stderr_from, &why);
	return err_set(e, why.code, "%s", why.text);
}

static int ch_open(const struct proc_id *id, const char *run_dir, const struct deadline *d,
		   struct vm **ret_vm, struct err *e)
{
	AUTO_VM vm = vm_new(run_dir, e);
	AUTO_JSON info = NULL;
	AUTO_FD dir = -1;
	int r;

	if (!vm)
		return e ? -e->code : -ENOMEM;
	r = proc_open(id, &vm->common.pidfd);
	if (r < 0)
		return err_set(e, -r, NAME " process %d is gone", (int)id->pid);
	vm->common.id = *id;
	r = ch_events_open(run_dir, &vm->common.events, e);
	if (r == 0)
		r = file_open_dir(AT_FDCWD, run_dir, &dir, e);
	if (r == 0)
		r = manifest_read(dir, MANIFEST_NAME, &vm->manifest, e);
	if (r == 0)
		r = ch_info(run_dir, d, &info, e);
	if (r < 0)
		return r;
	vm->common.vcpus = vm->manifest.vcpus;
	vm->common.memory_mib = vm->manifest.memory_mib;
	*ret_vm = steal_ptr(&vm);
	return 0;
}

static int ch_forward(struct vm *vm, const struct vm_forward *list, size_t count,
		      const struct deadline *d, struct err *e)
{
	(void)vm;
	(void)list;
	(void)count;
	(void)d;
	return err_set(e, ENOTSUP,
		       NAME " has no network of its own whose ports could be forwarded");
}

const struct vm_driver ch_driver = {
	.name = NAME,
	.keeps_dirs = true,
	.probe = ch_probe,
	.start = ch_start,
	.open = ch_open,
	.close = ch_close,
	.freeze = ch_freeze,
	.thaw = ch_thaw,
	.save = ch_save,
	.check_saved = ch_check_saved,
	.balloon = ch_balloon,
	.forward = ch_forward,
	.said = ch_said,
	.disk_stopped = ch_disk_stopped,
	.kill = ch_kill,
	.ended = ch_ended,
};
