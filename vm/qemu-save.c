/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-save.c - a guest's devices and memory, saved by a QEMU and loaded by another
 *
 * How it works: for QEMU both are a migration through a file. Where the guest's memory is a memfd, the stream holds the devices
 * alone (x-ignore-shared), and memory is copied beside it by the driver, which is quicker and sparse. Where it is a private
 * mapping of saved memory only QEMU can read it, so it goes into the stream.
 * A QEMU whose migration came to an end has given its disk up and says "postmigrate", also when it failed or was cancelled:
 * it takes the disk back when it goes on, and will not save again before that.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "vm/qemu-private.h"

#define FD_NAME "state"

enum {
	CANCEL_LIMIT_MS = 10 * 1000, /* for a migration that is called off to end */
	SETTLE_PIECE_MS = 1,         /* between two questions whether it has */
};
#define MAX_BANDWIDTH ((int64_t)1 << 40) /* bytes a second: no limit */

/* ---- migration --------------------------------------------------------------------------------------- */

/* Add {"capability": @name, "state": @on} to a list. */
static int add_capability(struct json_object *list, const char *name, bool on)
{
	struct json_object *o = json_object_new_object();

	if (!o || json_add_text(o, "capability", name) < 0 || json_add_bool(o, "state", on) < 0 ||
	    json_object_array_add(list, o) < 0) {
		json_object_put(o);
		return -ENOMEM;
	}
	return 0;
}

/* Arguments with one member. NULL: no memory. */
static struct json_object *args_of(const char *key, struct json_object *value)
{
	struct json_object *o = json_object_new_object();

	if (o && value && json_object_object_add(o, key, value) == 0)
		return o;
	json_object_put(o);
	json_object_put(value);
	return NULL;
}

static struct json_object *text_args(const char *key, const char *text)
{
	return args_of(key, json_object_new_string(text));
}

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "no memory for a command to QEMU");
}

int qemu_migration_prepare(struct vm *vm, bool ignore_shared, const struct deadline *d,
			   struct err *e)
{
	struct json_object *list = json_object_new_array();
	struct json_object *args;
	int r;

	if (!list || add_capability(list, "events", true) < 0 ||
	    add_capability(list, "x-ignore-shared", ignore_shared) < 0) {
		json_object_put(list);
		return no_memory(e);
	}
	args = args_of("capabilities", list);
	if (!args)
		return no_memory(e);
	r = qmp_call(&vm->qmp, "migrate-set-capabilities", args, d, NULL, e);
	if (r < 0)
		return r;
	args = args_of("max-bandwidth", json_object_new_int64(MAX_BANDWIDTH));
	return args ? qmp_call(&vm->qmp, "migrate-set-parameters", args, d, NULL, e) : no_memory(e);
}

/* What QEMU says of a migration that failed. */
static int failed(struct vm *vm, const struct deadline *d, struct err *e)
{
	AUTO_JSON reply = NULL;
	const char *why;
	int r = qmp_call(&vm->qmp, "query-migrate", NULL, d, &reply, e);

	if (r < 0)
		return r;
	why = json_text_at(reply, "return/error-desc", "no reason given");
	return err_set(e, strstr(why, "No space left") ? ENOSPC : EIO, "QEMU failed: %.400s", why);
}

static int await(struct vm *vm, const struct deadline *d, struct err *e)
{
	int r = 0;

	while (r == 0 && vm->migration == QEMU_MIGRATION_NONE)
		r = qmp_await(&vm->qmp, d, e);
	if (r == 0 && vm->migration != QEMU_MIGRATION_COMPLETED)
		r = failed(vm, d, e);
	return r;
}

int qemu_migration_run(struct vm *vm, const char *command, const char *uri,
		       const struct deadline *d, struct err *e)
{
	struct json_object *args = text_args("uri", uri);
	int r;

	if (!args)
		return no_memory(e);
	vm->migration = QEMU_MIGRATION_NONE;
	r = qmp_call(&vm->qmp, command, args, d, NULL, e);
	return r < 0 ? r : await(vm, d, e);
}

/* ---- saving ------------------------------------------------------------------------------------------ */

/* The last event comes a moment before QEMU can go on, and nothing tells of that. */
static int settle(struct vm *vm, const struct deadline *d, struct err *e)
{
	struct qemu_status status = {.migrating = true};

	for (;;) {
		int r = qemu_query(vm, d, &status, e);

		if (r < 0 || !status.migrating)
			return r;
		r = deadline_left_ms(d) == 0 ? -ETIMEDOUT : 0;
		if (r == 0) {
			struct deadline piece = deadline_in(SETTLE_PIECE_MS, d->cancel_fd);

			r = deadline_poll(&piece, NULL, 0);
			r = r == -ETIMEDOUT ? 0 : r;
		}
		if (r < 0)
			return err_set(e, -r, "QEMU does not come to an end of saving");
	}
}

/* After a failure: QEMU is to be able to go on, whatever came of saving. */
static void call_off(struct vm *vm)
{
	struct deadline d = deadline_in(CANCEL_LIMIT_MS, -1);
	struct err e = {0};
	int r = 0;

	if (vm->migration == QEMU_MIGRATION_NONE)
		r = qmp_call(&vm->qmp, "migrate_cancel", NULL, &d, NULL, &e);
	if (r == 0)
		r = settle(vm, &d, &e);
	if (r < 0)
		log_warning("cannot call off saving memory in %s: %s", vm->run_dir, e.text);
}

/* Nobody is to save what still changes, and QEMU saves only once. */
static int check_stands(struct vm *vm, const struct deadline *d, struct err *e)
{
	struct qemu_status status = {.running = false};
	int r = qemu_query(vm, d, &status, e);

	if (r < 0)
		return r;
	if (status.running)
		return err_set(e, EBUSY, "the guest runs: only one that stands can be saved");
	if (status.migrated)
		return err_set(e, EBUSY,
			       "the guest has not gone on since it was saved, and QEMU saves only "
			       "once: let it go on, and stop it again");
	return 0;
}

static int save_state_to(struct vm *vm, int fd, const struct deadline *d, struct err *e)
{
	bool ignore_shared = strcmp(vm->runs.memory, QEMU_MEMORY_FILE) == 0;
	int r = check_stands(vm, d, e);

	if (r == 0)
		r = qemu_migration_prepare(vm, ignore_shared, d, e);
	if (r < 0)
		return r;
	r = qmp_give_fd(&vm->qmp, FD_NAME, fd, d, e);
	if (r < 0)
		return r;
	r = qemu_migration_run(vm, "migrate", "fd:" FD_NAME, d, e);
	if (r == 0)
		r = settle(vm, d, e);
	if (r < 0)
		call_off(vm);
	return r;
}

static int save_state(struct vm *vm, int dirfd, const struct deadline *d, struct err *e)
{
	AUTO_FD fd = openat(dirfd, QEMU_SAVED_STATE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot make a file for the guest's devices");
	(void)pthread_mutex_lock(&vm->lock);
	r = save_state_to(vm, fd, d, e);
	(void)pthread_mutex_unlock(&vm->lock);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? err_sys(e, errno, "cannot write the state of the guest's devices")
			     : 0;
}

static int save_memory(const struct vm *vm, int dirfd, const struct deadline *d, struct err *e)
{
	AUTO_FD ram = -1;
	int r = qemu_ram_open(vm, &ram, e);

	return r < 0 ? r : qemu_ram_save(ram, dirfd, d, e);
}

/* Devices first: nothing changes memory after that. */
int qemu_save(struct vm *vm, const struct vm_saved *to, const struct deadline *d, struct err *e)
{
	struct manifest m = vm->runs;
	bool in_file = strcmp(m.memory, QEMU_MEMORY_FILE) == 0;
	int r;

	if (m.vcpus == 0)
		return err_set(e, ENOTSUP,
			       "it is not known as what this QEMU was started, so its memory "
			       "cannot be saved; stop it and start it again");
	r = save_state(vm, to->dir_fd, d, e);
	if (r == 0 && in_file)
		r = save_memory(vm, to->dir_fd, d, e);
	if (r == 0)
		r = manifest_add_file(&m, to->dir_fd, QEMU_SAVED_STATE, in_file, e);
	if (r == 0 && in_file)
		r = manifest_add_file(&m, to->dir_fd, QEMU_SAVED_MEMORY, false, e);
	if (r == 0)
		r = manifest_write(&m, to->dir_fd, MANIFEST_NAME, e);
	return r < 0 ? err_wrap(e, "cannot save the guest's memory") : 0;
}
