/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu.c - the QEMU driver
 *
 * How it works: QEMU inherits everything it needs by descriptor (qemu-files.c) and is told on its command
 * line (qemu-argv.c). The driver connects to the control socket before QEMU runs, so nothing has
 * to be waited for but the greeting. QEMU accepts one client and the next when that is gone: after a restart
 * of the daemon, open() connects again.
 * Events are picked up by each command and by ended(), no thread waits for them; the kernel keeps what QEMU
 * sent before it ended. A lock makes commands of several threads follow each other; since every wait watches
 * the pidfd, ended() never waits long for it, and said() does not wait at all.
 * The process is only ever ended by SIGKILL: nothing of QEMU's own is worth an orderly end.
 */
#include "vm/qemu-private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"

enum {
	ANEW_LIMIT_MS = 10 * 1000, /* for vCPUs to go on for a moment, and to stop again */
};

/* ---- events ------------------------------------------------------------------------------------------ */

static enum vm_end end_of_shutdown(const char *reason)
{
	/* clang-format off */
	static const struct {
		const char *reason; /* QEMU qapi/run-state.json, ShutdownCause */
		enum vm_end end;
	} causes[] = {
		{ "guest-shutdown", VM_END_SHUTDOWN },
		{ "guest-reset",    VM_END_RESET },
		{ "guest-panic",    VM_END_PANIC },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(causes) / sizeof(*causes); i++)
		if (strcmp(causes[i].reason, reason) == 0)
			return causes[i].end;
	return VM_END_UNKNOWN;
}

/* An error that the guest was told of is its own affair. One that stopped it is ours. */
static void note_disk_error(struct vm *vm, struct json_object *message)
{
	if (strcmp(json_text_at(message, "data/action", ""), "stop") != 0)
		return;
	atomic_fetch_or(&vm->said, json_bool_at(message, "data/nospace", false)
					   ? VM_SAID_DISK_ERROR | VM_SAID_DISK_FULL
					   : VM_SAID_DISK_ERROR);
}

/* Those between are of no interest: "setup", "active", "device", … */
static void note_migration(struct vm *vm, const char *status)
{
	if (strcmp(status, "completed") == 0)
		vm->migration = QEMU_MIGRATION_COMPLETED;
	else if (strcmp(status, "failed") == 0)
		vm->migration = QEMU_MIGRATION_FAILED;
	else if (strcmp(status, "cancelled") == 0)
		vm->migration = QEMU_MIGRATION_CANCELLED;
}

static void note_event(void *arg, const char *name, struct json_object *message)
{
	struct vm *vm = arg;

	if (strcmp(name, "BLOCK_IO_ERROR") == 0)
		note_disk_error(vm, message);
	else if (strcmp(name, "MIGRATION") == 0)
		note_migration(vm, json_text_at(message, "data/status", ""));
	else if (strcmp(name, "GUEST_PANICKED") == 0)
		vm->end = VM_END_PANIC;
	else if (vm->end == VM_END_PANIC)
		return; /* what follows a panic is not the reason */
	else if (strcmp(name, "SHUTDOWN") == 0)
		vm->end = end_of_shutdown(json_text_at(message, "data/reason", ""));
	else if (strcmp(name, "RESET") == 0 && json_bool_at(message, "data/guest", false))
		vm->end = VM_END_RESET;
}

static enum vm_end qemu_ended(struct vm *vm)
{
	enum vm_end end;

	(void)pthread_mutex_lock(&vm->lock); /* a plain mutex: cannot fail */
	qmp_drain(&vm->qmp);
	end = vm->end;
	(void)pthread_mutex_unlock(&vm->lock);
	return end;
}

static unsigned qemu_said(struct vm *vm)
{
	if (pthread_mutex_trylock(&vm->lock) == 0) {
		qmp_drain(&vm->qmp);
		vm->common.events = vm->qmp.fd;
		(void)pthread_mutex_unlock(&vm->lock);
	}
	return atomic_exchange(&vm->said, 0);
}

/* ---- life of a struct vm ----------------------------------------------------------------------------- */

struct vm *qemu_vm_new(const char *run_dir, struct err *e)
{
	struct vm *vm;

	if (strlen(run_dir) >= QEMU_RUN_DIR_SIZE) {
		(void)err_set(e, ENAMETOOLONG, "the run directory's name is too long: %s", run_dir);
		return NULL;
	}
	vm = calloc(1, sizeof(*vm));
	if (!vm) {
		(void)err_set(e, ENOMEM, "no memory for a VM");
		return NULL;
	}
	vm->common.driver = &qemu_driver;
	vm->common.pidfd = -1;
	vm->common.events = -1;
	vm->common.console = -1;
	memcpy(vm->run_dir, run_dir, strlen(run_dir) + 1);
	qmp_init(&vm->qmp, -1, -1);
	vm->qmp.event = note_event;
	vm->qmp.arg = vm;
	(void)pthread_mutex_init(&vm->lock, NULL); /* a plain mutex: cannot fail */
	return vm;
}

void qemu_close(struct vm *vm)
{
	if (!vm)
		return;
	qmp_done(&vm->qmp);
	fd_close(vm->common.pidfd);
	fd_close(vm->common.console);
	(void)pthread_mutex_destroy(&vm->lock); /* nobody has it any more */
	free(vm);
}

/* ---- running or not ---------------------------------------------------------------------------------- */

int qemu_query(struct vm *vm, const struct deadline *d, struct qemu_status *ret, struct err *e)
{
	AUTO_JSON reply = NULL;
	const char *status;
	int r = qmp_call(&vm->qmp, "query-status", NULL, d, &reply, e);

	if (r < 0)
		return r;
	status = json_text_at(reply, "return/status", "");
	ret->running = json_bool_at(reply, "return/running", false);
	ret->disk = strcmp(status, "io-error") == 0;
	ret->migrated = strcmp(status, "postmigrate") == 0;
	ret->migrating = strcmp(status, "finish-migrate") == 0;
	return 0;
}

/* Give @command and see that it did what it says. */
static int set_running(struct vm *vm, const char *command, bool wanted, const struct deadline *d,
		       struct err *e)
{
	struct qemu_status status = {.running = !wanted};
	int r;

	(void)pthread_mutex_lock(&vm->lock);
	r = qmp_call(&vm->qmp, command, NULL, d, NULL, e);
	if (r == 0)
		r = qemu_query(vm, d, &status, e);
	(void)pthread_mutex_unlock(&vm->lock);
	if (r == 0 && wanted && status.disk)
		r = err_set(
			e, EIO,
			"its disk fails a request again as soon as it goes on; the host's kernel log "
			"says why: mend that, then thaw it");
	else if (r == 0 && status.running != wanted)
		r = err_set(e, EIO, "QEMU took the command %s, but its vCPUs %s", command,
			    status.running ? "go on" : "do not run");
	return r;
}

/*
 * One that was saved has given its disk up and would not be saved again: it takes the disk back by going on. Nobody is to
 * cancel between the two commands, or it would run on.
 */
static int stand_anew(struct vm *vm, struct err *e)
{
	struct deadline d = deadline_in(ANEW_LIMIT_MS, -1);
	int r = qmp_call(&vm->qmp, "cont", NULL, &d, NULL, e), end;

	end = qmp_call(&vm->qmp, "stop", NULL, &d, NULL, r < 0 ? NULL : e);
	return r < 0 ? r : end;
}

static int qemu_freeze(struct vm *vm, const struct deadline *d, struct err *e)
{
	struct qemu_status status = {.migrated = false};
	int r;

	(void)pthread_mutex_lock(&vm->lock);
	r = qemu_query(vm, d, &status, e);
	if (r == 0 && status.migrated)
		r = stand_anew(vm, e);
	(void)pthread_mutex_unlock(&vm->lock);
	return r < 0 ? r : set_running(vm, "stop", false, d, e);
}

static int qemu_thaw(struct vm *vm, const struct deadline *d, struct err *e)
{
	return set_running(vm, "cont", true, d, e);
}

static int qemu_disk_stopped(struct vm *vm, const struct deadline *d, bool *ret, struct err *e)
{
	struct qemu_status status = {.running = false};
	int r;

	(void)pthread_mutex_lock(&vm->lock);
	r = qemu_query(vm, d, &status, e);
	(void)pthread_mutex_unlock(&vm->lock);
	if (r == 0)
		*ret = status.disk;
	return r;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

int qemu_end_process(int pidfd, const struct deadline *d, struct err *e)
{
	int status = -1;
	int r = proc_kill(pidfd, SIGKILL);

	if (r < 0)
		return err_sys(e, -r, "cannot kill QEMU");
	r = proc_wait(pidfd, d);
	if (r < 0)
		return err_set(e, -r, "QEMU was killed, but the kernel has not let it go yet");
	proc_reap(pidfd, &status);
	return 0;
}

static int qemu_kill(struct vm *vm, const struct proc_id *id, const char *run_dir,
		     const struct deadline *d, struct err *e)
{
	AUTO_FD pidfd = -1;
	int r = 0;

	if (vm) {
		r = qemu_end_process(vm->common.pidfd, d, e);
		run_dir = vm->run_dir;
	} else if (id->pid > 0 && proc_open(id, &pidfd) == 0) {
		r = qemu_end_process(pidfd, d, e);
	}
	if (r == 0)
		qemu_names_remove(run_dir);
	return r;
}

/* ---- taking it up ------------------------------------------------------------------------------------- */

/* What it was started as. One that an earlier daemon started without a manifest runs, and cannot be saved. */
static void read_runs(struct vm *vm)
{
	AUTO_FD dir = -1;

	if (file_open_dir(AT_FDCWD, vm->run_dir, &dir, NULL) < 0 ||
	    manifest_read(dir, MANIFEST_NAME, &vm->runs, NULL) < 0)
		vm->runs = (struct manifest){0};
	vm->common.vcpus = vm->runs.vcpus;
	vm->common.memory_mib = vm->runs.memory_mib;
}

static int qemu_open(const struct proc_id *id, const char *run_dir, const struct deadline *d,
		     struct vm **ret_vm, struct err *e)
{
	AUTO_QEMU vm = qemu_vm_new(run_dir, e);
	int r;

	if (!vm)
		return e ? -e->code : -ENOMEM;
	r = proc_open(id, &vm->common.pidfd);
	if (r < 0)
		return err_set(e, -r, "QEMU process %d is gone", (int)id->pid);
	vm->common.id = *id;
	read_runs(vm);
	vm->qmp.pidfd = vm->common.pidfd;
	r = qemu_connect(vm->run_dir, &vm->qmp.fd, e);
	if (r == 0)
		r = qmp_greet(&vm->qmp, d, e);
	if (r == 0)
		r = qemu_open_console(vm->run_dir, &vm->common.console, e);
	vm->common.events = vm->qmp.fd;
	if (r == 0)
		*ret_vm = steal_ptr(&vm);
	return r;
}

const struct vm_driver qemu_driver = {
	.name = "qemu",
	.probe = qemu_probe,
	.start = qemu_start,
	.open = qemu_open,
	.close = qemu_close,
	.freeze = qemu_freeze,
	.thaw = qemu_thaw,
	.save = qemu_save,
	.check_saved = qemu_check_saved,
	.balloon = qemu_balloon,
	.forward = qemu_forward,
	.said = qemu_said,
	.disk_stopped = qemu_disk_stopped,
	.kill = qemu_kill,
	.ended = qemu_ended,
};
