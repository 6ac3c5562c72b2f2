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
#include "vm/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vm/qmp.h"

enum {
	START_LIMIT_MS = 30 * 1000, /* until QEMU's greeting, on a busy host */
	UNDO_LIMIT_MS = 10 * 1000,  /* for the end of a QEMU whose start failed */
	RUN_DIR_SIZE = 96,
	LAST_WORDS = 1024, /* bytes of stderr in an error */
};

struct vm {
	struct vm_common common; /* first */
	char run_dir[RUN_DIR_SIZE];
	pthread_mutex_t lock; /* guards qmp and end */
	struct qmp qmp;
	enum vm_end end;
	atomic_uint said; /* a set of vm_said */
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

static void note_event(void *arg, const char *name, struct json_object *message)
{
	struct vm *vm = arg;

	if (strcmp(name, "BLOCK_IO_ERROR") == 0)
		note_disk_error(vm, message);
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

static struct vm *vm_new(const char *run_dir, struct err *e)
{
	struct vm *vm;

	if (strlen(run_dir) >= RUN_DIR_SIZE) {
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

static void qemu_close(struct vm *vm)
{
	if (!vm)
		return;
	qmp_done(&vm->qmp);
	fd_close(vm->common.pidfd);
	fd_close(vm->common.console);
	(void)pthread_mutex_destroy(&vm->lock); /* nobody has it any more */
	free(vm);
}

static void cleanup_vm(struct vm **vm)
{
	qemu_close(*vm);
}
#define AUTO_VM __attribute__((cleanup(cleanup_vm))) struct vm *

/* ---- running or not ---------------------------------------------------------------------------------- */

/* Do the vCPUs run, and if not, because of the disk? Return: 0 and @ret_running, @ret_disk; negative errno. */
static int query(struct vm *vm, const struct deadline *d, bool *ret_running, bool *ret_disk,
		 struct err *e)
{
	AUTO_JSON reply = NULL;
	int r = qmp_call(&vm->qmp, "query-status", NULL, d, &reply, e);

	if (r < 0)
		return r;
	if (ret_running)
		*ret_running = json_bool_at(reply, "return/running", false);
	if (ret_disk)
		*ret_disk = strcmp(json_text_at(reply, "return/status", ""), "io-error") == 0;
	return 0;
}

/* Give @command and see that it did what it says. */
static int set_running(struct vm *vm, const char *command, bool wanted, const struct deadline *d,
		       struct err *e)
{
	bool running = !wanted, disk = false;
	int r;

	(void)pthread_mutex_lock(&vm->lock);
	r = qmp_call(&vm->qmp, command, NULL, d, NULL, e);
	if (r == 0)
		r = query(vm, d, &running, &disk, e);
	(void)pthread_mutex_unlock(&vm->lock);
	if (r == 0 && wanted && disk)
		r = err_set(
			e, EIO,
			"its disk fails a request again as soon as it goes on; the host's kernel log "
			"says why: mend that, then thaw it");
	else if (r == 0 && running != wanted)
		r = err_set(e, EIO, "QEMU took the command %s, but its vCPUs %s", command,
			    running ? "go on" : "do not run");
	return r;
}

static int qemu_freeze(struct vm *vm, const struct deadline *d, struct err *e)
{
	return set_running(vm, "stop", false, d, e);
}

static int qemu_thaw(struct vm *vm, const struct deadline *d, struct err *e)
{
	return set_running(vm, "cont", true, d, e);
}

static int qemu_disk_stopped(struct vm *vm, const struct deadline *d, bool *ret, struct err *e)
{
	int r;

	(void)pthread_mutex_lock(&vm->lock);
	r = query(vm, d, NULL, ret, e);
	(void)pthread_mutex_unlock(&vm->lock);
	return r;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static int end_process(int pidfd, const struct deadline *d, struct err *e)
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
		r = end_process(vm->common.pidfd, d, e);
		run_dir = vm->run_dir;
	} else if (id->pid > 0 && proc_open(id, &pidfd) == 0) {
		r = end_process(pidfd, d, e);
	}
	if (r == 0)
		qemu_names_remove(run_dir);
	return r;
}

/* ---- start ------------------------------------------------------------------------------------------- */

/* Length of the VMM's stderr now; -1 when it is no file. */
static off_t stderr_length(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

/* Add to the error what QEMU wrote to stderr since the file had @from bytes: the last of it. */
static void add_last_words(int fd, off_t from, struct err *e)
{
	char path[40];
	char text[LAST_WORDS + 1];
	off_t end = stderr_length(fd);
	AUTO_FD file = -1;
	ssize_t n;

	if (!e || from < 0 || end <= from)
		return;
	if (end - from > LAST_WORDS)
		from = end - LAST_WORDS;
	/* The descriptor may be open for writing only. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fits */
	file = open(path, O_RDONLY | O_CLOEXEC);
	n = file < 0 ? -1 : pread(file, text, LAST_WORDS, from);
	while (n > 0 && strchr("\r\n ", text[n - 1]))
		n--;
	if (n > 0) {
		size_t have = strlen(e->text);

		text[n] = '\0';
		(void)snprintf(e->text + have, sizeof(e->text) - have, "; it said: %s", text);
	}
}

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

static int spawn(struct vm *vm, const struct vm_spec *spec, const struct qemu_files *f,
		 struct err *e)
{
	struct handed h = {.count = 0};
	struct qemu_fds fds = {
		.qmp = hand_over(&h, f->qmp),
		.console = hand_over(&h, spec->console_fd),
		.ram = hand_over(&h, f->ram),
		.kernel = hand_over(&h, f->kernel),
		.initrd = hand_over(&h, f->initrd),
		.disk = hand_over(&h, f->disk),
		.base = hand_over(&h, f->base),
		.tap = hand_over(&h, spec->net == VM_NET_TAP ? spec->tap_fd : -1),
	};
	struct qemu_argv argv;
	struct proc_spec proc = {
		.stdin_fd = -1,
		.stdout_fd = spec->stderr_fd,
		.stderr_fd = spec->stderr_fd,
		.fds = h.fds,
		.fd_count = h.count,
		.netns_fd = spec->netns_fd,
		.cgroup = spec->cgroup,
	};
	int r = qemu_argv_build(spec, &fds, &f->disk_image, &f->base_image, &argv, e);

	if (r == 0) {
		proc.argv = (const char *const *)argv.args;
		r = proc_spawn(&proc, &vm->common.id, &vm->common.pidfd, e);
	}
	qemu_argv_done(&argv);
	vm->qmp.pidfd = vm->common.pidfd;
	return r == -ENOENT ? err_wrap(e, "install qemu-system-x86") : r;
}

/* Wait for QEMU's greeting and see that the guest runs. */
static int await_running(struct vm *vm, const struct deadline *d, struct err *e)
{
	struct deadline limit = deadline_within(d, START_LIMIT_MS);
	bool running = false;
	int r = qmp_greet(&vm->qmp, &limit, e);

	if (r == 0)
		r = query(vm, &limit, &running, NULL, e);
	if (r == 0 && !running && vm->end == VM_END_UNKNOWN)
		r = err_set(e, EIO, "QEMU is up, but the guest does not run");
	if (r == 0)
		r = qemu_open_console(vm->run_dir, &vm->common.console, e);
	vm->common.events = vm->qmp.fd;
	return r < 0 ? err_wrap(e, "cannot start the VM %s", vm->run_dir) : 0;
}

/* The listening socket is closed here once QEMU has it: its end is then the end of the connection. */
static int start_in(struct vm *vm, const struct vm_spec *spec, struct err *e)
{
	struct qemu_files files;
	int r = qemu_files_open(spec, &files, e);

	if (r == 0)
		r = qemu_connect(vm->run_dir, &vm->qmp.fd, e);
	if (r == 0)
		r = spawn(vm, spec, &files, e);
	qemu_files_close(&files);
	return r;
}

static int qemu_start(const struct vm_spec *spec, const struct deadline *d, struct vm **ret_vm,
		      struct err *e)
{
	off_t stderr_from = stderr_length(spec->stderr_fd);
	AUTO_VM vm = vm_new(spec->run_dir, e);
	struct deadline undo;
	int r;

	if (!vm)
		return e ? -e->code : -ENOMEM;
	vm->common.vcpus = spec->vcpus;
	vm->common.memory_mib = spec->memory_mib;
	r = start_in(vm, spec, e);
	if (r == 0)
		r = await_running(vm, d, e);
	if (r == 0) {
		*ret_vm = steal_ptr(&vm);
		return 0;
	}
	undo = deadline_in(UNDO_LIMIT_MS, -1);
	if (vm->common.pidfd >= 0 && end_process(vm->common.pidfd, &undo, NULL) < 0)
		log_warning("QEMU process %d does not end, ignoring", (int)vm->common.id.pid);
	qemu_names_remove(spec->run_dir);
	add_last_words(spec->stderr_fd, stderr_from, e);
	return r;
}

static int qemu_open(const struct proc_id *id, const char *run_dir, const struct deadline *d,
		     struct vm **ret_vm, struct err *e)
{
	AUTO_VM vm = vm_new(run_dir, e);
	int r;

	if (!vm)
		return e ? -e->code : -ENOMEM;
	r = proc_open(id, &vm->common.pidfd);
	if (r < 0)
		return err_set(e, -r, "QEMU process %d is gone", (int)id->pid);
	vm->common.id = *id;
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
	.said = qemu_said,
	.disk_stopped = qemu_disk_stopped,
	.kill = qemu_kill,
	.ended = qemu_ended,
};
