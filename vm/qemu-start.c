/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-start.c - start a QEMU, to boot a guest or to load a saved one
 *
 * How it works: a guest that was saved gets the very same devices, a new memory file into which the saved one is copied
 * while QEMU starts, and the stream of its devices by descriptor. Or the saved memory file itself, mapped privately, for
 * as many guests at once as there are: then a filter keeps QEMU from punching holes into it (seccomp.c). QEMU says
 * so for every page that its guest gives back, so what it says there goes into a file that does not grow, for which
 * a start that fails is the only reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "vm/qemu-private.h"
#include "vm/seccomp.h"

enum {
	START_LIMIT_MS = 30 * 1000, /* until QEMU's greeting, on a busy host */
	UNDO_LIMIT_MS = 10 * 1000,  /* for the end of a QEMU whose start failed */
	END_LIMIT_MS = 2 * 1000,    /* for one that said that it ends */
	LAST_WORDS = 1024,          /* bytes of stderr in an error */
	QUIET_SIZE = 64 << 10,      /* bytes of stderr that one with shared memory has */
};

/* What goes into one start. */
struct start {
	const struct vm_spec *spec;
	struct manifest saved; /* where spec->saved is */
	struct qemu_files files;
	int quiet;     /* instead of its stderr; owned; -1: none */
	int stderr_fd; /* what it has; borrowed; -1: it was not started */
	off_t said;    /* bytes in there before */
	int state;     /* number of the saved stream's descriptor in QEMU; -1: none */
};

/* How far the VMM's stderr has been written; -1 when it is no file. */
static off_t stderr_end(const struct start *s)
{
	struct stat st;

	if (s->quiet >= 0)
		return lseek(s->quiet, 0, SEEK_CUR); /* it is one description with QEMU's */
	return s->stderr_fd >= 0 && fstat(s->stderr_fd, &st) == 0 && S_ISREG(st.st_mode)
		       ? st.st_size
		       : -1;
}

/* Add to the error what QEMU has written to stderr: the last of it. */
static void add_last_words(const struct start *s, struct err *e)
{
	char path[40];
	char text[LAST_WORDS + 1];
	off_t from = s->said, end = stderr_end(s);
	AUTO_FD file = -1;
	ssize_t n;

	if (!e || from < 0 || end <= from)
		return;
	if (end - from > LAST_WORDS)
		from = end - LAST_WORDS;
	/* The descriptor may be open for writing only. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", s->stderr_fd); /* fits */
	file = open(path, O_RDONLY | O_CLOEXEC);
	n = file < 0 ? -1 : pread(file, text, (size_t)(end - from), from);
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

static int spawn(struct vm *vm, struct start *s, struct err *e)
{
	const struct vm_spec *spec = s->spec;
	const struct qemu_files *f = &s->files;
	struct handed h = {.count = 0};
	struct qemu_fds fds = {
		.qmp = hand_over(&h, f->qmp),
		.console = hand_over(&h, spec->console_fd),
		.ram = hand_over(&h, f->ram),
		.ram_private = f->ram_private,
		.kernel = hand_over(&h, f->kernel),
		.initrd = hand_over(&h, f->initrd),
		.disk = hand_over(&h, f->disk),
		.base = hand_over(&h, f->base),
		.tap = hand_over(&h, spec->net == VM_NET_TAP ? spec->tap_fd : -1),
	};
	struct qemu_argv argv;
	struct proc_spec proc = {
		.stdin_fd = -1,
		.stdout_fd = s->stderr_fd,
		.stderr_fd = s->stderr_fd,
		.fds = h.fds,
		.netns_fd = spec->netns_fd,
		.cgroup = spec->cgroup,
		.child = f->ram_private ? seccomp_no_punch : NULL,
	};
	int r = qemu_argv_build(spec, &fds, &f->disk_image, &f->base_image, &argv, e);

	s->state = hand_over(&h, f->state);
	proc.fd_count = h.count;
	if (r == 0) {
		proc.argv = (const char *const *)argv.args;
		r = proc_spawn(&proc, &vm->common.id, &vm->common.pidfd, e);
	}
	qemu_argv_done(&argv);
	vm->qmp.pidfd = vm->common.pidfd;
	return r == -ENOENT ? err_wrap(e, "install qemu-system-x86") : r;
}

/* ---- what is saved ----------------------------------------------------------------------------------- */

/* Whether the load failed of itself: then QEMU ends with 1, and nobody killed it. */
static bool ended_by_itself(const struct vm *vm)
{
	struct deadline d = deadline_in(END_LIMIT_MS, -1);
	int status = -1;

	if (proc_wait(vm->common.pidfd, &d) < 0)
		return false;
	proc_reap(vm->common.pidfd, &status);
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static int load(struct vm *vm, const struct start *s, const struct deadline *d, struct err *e)
{
	bool ignore_shared = strcmp(s->saved.memory, QEMU_MEMORY_FILE) == 0;
	char uri[32];
	int r = qemu_migration_prepare(vm, ignore_shared, d, e);

	if (r < 0)
		return r;
	(void)snprintf(uri, sizeof(uri), "fd:%d", s->state); /* fits */
	r = qemu_migration_run(vm, "migrate-incoming", uri, d, e);
	if (r == -EIO && ended_by_itself(vm))
		return err_set(e, EBADMSG, "QEMU does not take the saved state of its devices");
	return r;
}

/* What it is, and whether what is saved fits it. */
static int know(struct vm *vm, struct start *s, struct err *e)
{
	const struct vm_spec *spec = s->spec;
	int r = qemu_manifest(spec, &vm->runs, e);

	if (r == 0 && spec->saved)
		r = qemu_read_saved(spec, &vm->runs, &s->saved, e);
	vm->common.vcpus = spec->vcpus;
	vm->common.memory_mib = spec->memory_mib;
	return r;
}

/* For a later daemon. */
static int write_runs(const struct vm *vm, struct err *e)
{
	AUTO_FD dir = -1;
	int r = file_open_dir(AT_FDCWD, vm->run_dir, &dir, e);

	return r < 0 ? r : manifest_write(&vm->runs, dir, MANIFEST_NAME, e);
}

/* A file that takes its first bytes and no more. */
static int make_quiet(const struct vm_spec *spec, int *ret_fd, struct err *e)
{
	AUTO_FD fd = memfd_create(spec->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, QUIET_SIZE) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(e, errno, "cannot make a file for QEMU's messages");
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* ---- start ------------------------------------------------------------------------------------------- */

/* Wait for QEMU's greeting and see that the guest runs, or load it. */
static int await_ready(struct vm *vm, const struct start *s, const struct deadline *d,
		       struct err *e)
{
	struct deadline limit = deadline_within(d, START_LIMIT_MS);
	struct qemu_status status = {.running = false};
	int r = qmp_greet(&vm->qmp, &limit, e);

	if (r == 0 && s->spec->saved)
		r = load(vm, s, d, e);
	if (r == 0)
		r = qemu_query(vm, &limit, &status, e);
	if (r == 0 && status.running == !!s->spec->saved && vm->end == VM_END_UNKNOWN)
		r = err_set(e, EIO, "QEMU is up, but the guest %s",
			    status.running ? "runs already" : "does not run");
	if (r == 0)
		r = qemu_open_console(vm->run_dir, &vm->common.console, e);
	vm->common.events = vm->qmp.fd;
	return r < 0 ? err_wrap(e, "cannot start the VM %s", vm->run_dir) : 0;
}

/* The listening socket is closed by the caller once QEMU has it: its end is then the end of the connection. */
static int start_in(struct vm *vm, struct start *s, const struct deadline *d, struct err *e)
{
	const struct vm_spec *spec = s->spec;
	int r = qemu_files_open(spec, spec->saved ? &s->saved : NULL, &s->files, e);

	if (s->files.ram_private) /* then only QEMU can read all of it */
		(void)snprintf(vm->runs.memory, sizeof(vm->runs.memory), QEMU_MEMORY_STREAM);
	if (r == 0)
		r = write_runs(vm, e);
	if (r == 0)
		r = qemu_connect(vm->run_dir, &vm->qmp.fd, e);
	if (r == 0 && s->files.ram_private)
		r = make_quiet(spec, &s->quiet, e);
	if (r == 0) {
		s->stderr_fd = s->quiet >= 0 ? s->quiet : spec->stderr_fd;
		s->said = stderr_end(s);
		r = spawn(vm, s, e);
		if (r == 0)
			r = fault_point("vm-spawned", d, e);
	}
	fd_close(steal_fd(&s->files.qmp));
	if (r == 0 && spec->saved && !s->files.ram_private &&
	    strcmp(s->saved.memory, QEMU_MEMORY_FILE) == 0)
		r = qemu_ram_load(spec->saved->dir_fd, s->files.ram, d, e);
	return r == 0 ? await_ready(vm, s, d, e) : r;
}

static void undo(struct vm *vm, const struct vm_spec *spec)
{
	struct deadline d = deadline_in(UNDO_LIMIT_MS, -1);

	if (vm->common.pidfd >= 0 && qemu_end_process(vm->common.pidfd, &d, NULL) < 0)
		log_warning("QEMU process %d does not end, ignoring", (int)vm->common.id.pid);
	qemu_names_remove(spec->run_dir);
}

int qemu_start(const struct vm_spec *spec, const struct deadline *d, struct vm **ret_vm,
	       struct err *e)
{
	struct start s = {.spec = spec, .stderr_fd = -1, .quiet = -1, .state = -1};
	AUTO_QEMU vm = qemu_vm_new(spec->run_dir, e);
	int r;

	if (!vm)
		return e ? -e->code : -ENOMEM;
	r = know(vm, &s, e);
	if (r < 0) /* before anything was made, and without an earlier one's names being touched */
		return r;
	r = start_in(vm, &s, d, e);
	qemu_files_close(&s.files);
	if (r == 0) {
		*ret_vm = steal_ptr(&vm);
	} else {
		undo(vm, spec);
		add_last_words(&s, e);
	}
	fd_close(s.quiet);
	return r;
}
