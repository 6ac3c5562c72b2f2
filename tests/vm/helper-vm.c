/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/helper-vm.c - drive a VMM's driver from a shell test
 *
 * helper-vm probe [auto|kvm|tcg]
 * helper-vm DIR KERNEL INITRD VERB...
 *
 * DIR holds run/ (sockets), console, stderr, and disk.qcow2 or disk.raw where the VM is to have one. Verbs are carried out one after
 * the other on one VM; the first that fails ends the program with 1. `fails ERRNO VERB…` is a verb that is to fail like that;
 * `cancel MS VERB…` one that is called off after so long, `limit MS VERB…` one that may take so long. The environment has
 * ACCEL, HOST_PORT, CMDLINE, MEMORY_MIB, VCPUS; DRIVER: its name; PROGRAM: a VMM that is taken as it is, without a probe, as if
 * KVM worked; SAVE_DIR: where the VMM may write to.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "vm/vm.h"

enum {
	VERB_LIMIT_MS = 240 * 1000, /* a boot in an emulated host that is busy */
	CONSOLE_MAX = 64 << 20,
	MEMORY_MIB = 128,
	GUEST_PORT = 49983,
};

struct world {
	const char *dir;
	char run[80], disk[256];
	struct vm_host host;
	struct vm_spec spec;
	struct vm *vm;
	struct proc_id id;
	int64_t began;      /* the last start */
	int64_t limit_ms;   /* for the next verb; 0: as ever */
	int64_t cancel_ms;  /* the same; 0: not at all */
	const char *wanted; /* name of the errno that the next verb is to end with; NULL: none */
};

static const struct vm_driver *driver(void)
{
	const char *name = getenv("DRIVER");

	return name ? vm_driver_named(name) : vm_drivers[0];
}

/* A VMM that is no real one cannot be probed. */
static int find_host(struct vm_host *host, enum vm_accel accel, struct err *e)
{
	const char *program = getenv("PROGRAM");

	if (!driver())
		return err_set(e, EINVAL, "there is no driver %s", getenv("DRIVER"));
	if (!program)
		return driver()->probe(accel, host, e);
	*host = (struct vm_host){.driver = driver(), .accel = VM_ACCEL_KVM, .version = "99.0"};
	(void)snprintf(host->program, sizeof(host->program), "%s", program);
	return 0;
}

static int do_start(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	int r;

	(void)arg;
	w->began = clock_ms();
	r = driver()->start(&w->spec, d, &w->vm, e);
	if (r < 0)
		return r;
	w->id = vm_common(w->vm)->id;
	(void)printf("start_ms=%lld pid=%d\n", (long long)(clock_ms() - w->began), (int)w->id.pid);
	return 0;
}

/* Open a directory of saved memory, make it first when that is asked. */
static int open_saved(struct world *w, const char *name, bool make, char path[256],
		      struct vm_saved *ret, struct err *e)
{
	(void)snprintf(path, 256, "%s/%s", w->dir, name);
	if (make && mkdir(path, 0700) < 0)
		return err_sys(e, errno, "cannot make %s", path);
	ret->dir = path;
	return file_open_dir(AT_FDCWD, path, &ret->dir_fd, e);
}

static int do_save(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	struct vm_saved to = {.dir_fd = -1};
	char path[256];
	int64_t begin = clock_ms();
	int r = open_saved(w, arg, true, path, &to, e);

	if (r == 0)
		r = driver()->save(w->vm, &to, d, e);
	fd_close(to.dir_fd);
	if (r == 0)
		(void)printf("save_ms=%lld\n", (long long)(clock_ms() - begin));
	return r;
}

/* Start from what is saved, or see whether that would do. */
static int from_saved(struct world *w, const char *arg, enum vm_memory memory, bool check,
		      const struct deadline *d, struct err *e)
{
	struct vm_saved from = {.dir_fd = -1, .memory = memory};
	struct vm_spec bare = w->spec;
	char path[256];
	int r = open_saved(w, arg, false, path, &from, e);

	bare.name = bare.disk ? NULL : bare.name; /* as one asks before the disk is there */
	bare.disk = NULL;
	w->spec.saved = bare.saved = &from;
	if (r == 0)
		r = check ? driver()->check_saved(&bare, e) : do_start(w, NULL, d, e);
	w->spec.saved = NULL;
	fd_close(from.dir_fd);
	return r;
}

static int do_restore(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	return from_saved(w, arg, VM_MEMORY_OWN, false, d, e);
}

static int do_share(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	return from_saved(w, arg, VM_MEMORY_SHARED, false, d, e);
}

static int do_check(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	return from_saved(w, arg, VM_MEMORY_OWN, true, d, e);
}

static int do_balloon(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	int64_t begin = clock_ms();
	uint64_t now = 0;
	int r = driver()->balloon(w->vm, (uint64_t)atoi(arg), d, &now, e);

	if (r == 0)
		(void)printf("balloon=%llu balloon_ms=%lld\n", (unsigned long long)now,
			     (long long)(clock_ms() - begin));
	return r;
}

static int do_size(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	const struct vm_common *c = vm_common(w->vm);
	char size[40];

	(void)d;
	(void)snprintf(size, sizeof(size), "%u:%llu", c->vcpus, (unsigned long long)c->memory_mib);
	return strcmp(size, arg) == 0 ? 0 : err_set(e, EIO, "it is %s, not %s", size, arg);
}

static int do_freeze(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	(void)arg;
	return driver()->freeze(w->vm, d, e);
}

static int do_thaw(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	(void)arg;
	return driver()->thaw(w->vm, d, e);
}

/* Kill through the VM, and give it back. */
static int do_kill(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	int r = driver()->kill(w->vm, NULL, NULL, d, e);

	(void)arg;
	driver()->close(w->vm);
	w->vm = NULL;
	return r;
}

static int do_forget(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	(void)arg;
	(void)d;
	(void)e;
	driver()->close(w->vm);
	w->vm = NULL;
	return 0;
}

static int do_open(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	(void)arg;
	return driver()->open(&w->id, w->run, d, &w->vm, e);
}

/* Kill by its identity alone. */
static int do_kill_id(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	(void)arg;
	return driver()->kill(NULL, &w->id, w->run, d, e);
}

/* End QEMU behind the driver's back. */
static int do_crash(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	(void)arg;
	(void)d;
	(void)e;
	return proc_kill(vm_common(w->vm)->pidfd, SIGKILL);
}

/* Wait for the VMM's end with an ear for what it says, as the daemon has; check what was heard of it, and clean up. */
static int do_ended(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	static const char *const names[VM_END_COUNT] = {"unknown", "shutdown", "reset", "panic"};
	struct pollfd p[] = {{.fd = vm_common(w->vm)->pidfd, .events = POLLIN},
			     {.fd = vm_common(w->vm)->events, .events = POLLIN}};
	const char *end;
	int r;

	while ((r = deadline_poll(d, p, 2)) > 0 && !p[0].revents)
		(void)driver()->said(w->vm);
	if (r < 0)
		return err_set(e, -r, "the VMM does not end");
	end = names[vm_ended(w->vm)];
	if (strcmp(end, arg) != 0)
		return err_set(e, EIO, "ended by %s, not %s", end, arg);
	return do_kill(w, NULL, d, e);
}

static int do_send(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	int fd = vm_common(w->vm)->console;

	(void)d;
	if (file_write_all(fd, arg, strlen(arg)) < 0 || file_write_all(fd, "\n", 1) < 0)
		return err_sys(e, errno, "cannot write to the console");
	return 0;
}

/* Wait until the console file has a text. */
static int do_expect(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	AUTO_FD watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char path[256], changes[4096];

	(void)snprintf(path, sizeof(path), "%s/console", w->dir);
	if (inotify_add_watch(watch, path, IN_MODIFY) < 0)
		return err_sys(e, errno, "cannot watch %s", path);
	for (;;) {
		AUTO_BUF text = BUF_INIT;
		struct pollfd p[] = {
			{.fd = watch, .events = POLLIN},
			{.fd = vm_common(w->vm)->pidfd, .events = POLLIN},
		};
		bool over = poll(&p[1], 1, 0) > 0; /* asked before the last look */
		int r = file_read(AT_FDCWD, path, CONSOLE_MAX, &text, e);

		if (r < 0)
			return r;
		if (strstr(buf_text(&text), arg))
			return printf("said_ms=%lld\n", (long long)(clock_ms() - w->began)) < 0;
		if (over)
			return err_set(e, EIO, "QEMU ended before the guest said %s", arg);
		r = deadline_poll(d, p, 2);
		if (r < 0)
			return err_set(e, -r, "the guest did not say %s", arg);
		while (read(watch, changes, sizeof(changes)) > 0)
			;
	}
}

static int count_fds(void)
{
	AUTO_DIR dir = opendir("/proc/self/fd");
	int n = 0;

	/* cppcheck-suppress readdirCalled ; a stream of our own */
	while (dir && readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		n++;
	return n;
}

/* Start and kill, so many times; a failing start is repeated too. Nothing may be left open. */
static int do_cycle(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	int n = atoi(arg), fds = count_fds(), r = 0;

	for (int i = 0; i < n; i++)
		r = do_start(w, NULL, d, e) < 0 ? -e->code : do_kill(w, NULL, d, e);
	if (count_fds() != fds)
		return err_set(e, EMFILE, "%d descriptors, before there were %d", count_fds(), fds);
	return r;
}

/* Run a shell command with the VM as it is; its failure is ours. */
static int do_sh(struct world *w, const char *arg, const struct deadline *d, struct err *e)
{
	char pid[16];
	const char *const argv[] = {"sh", "-c", arg, "sh", w->dir, pid, NULL};
	int status = 0, r;

	(void)snprintf(pid, sizeof(pid), "%d", (int)w->id.pid);
	r = proc_run(argv, d, &status, e);
	if (r == 0 && status != 0)
		r = err_set(e, EIO, "status %d of: %s", status, arg);
	return r;
}

/* clang-format off */
static const struct verb {
	const char *name;
	bool has_arg;
	int (*run)(struct world *w, const char *arg, const struct deadline *d, struct err *e);
} verbs[] = {
	{ "start",   false, do_start },
	{ "freeze",  false, do_freeze },
	{ "thaw",    false, do_thaw },
	{ "kill",    false, do_kill },
	{ "forget",  false, do_forget },
	{ "open",    false, do_open },
	{ "kill-id", false, do_kill_id },
	{ "crash",   false, do_crash },
	{ "ended",   true,  do_ended },
	{ "send",    true,  do_send },
	{ "expect",  true,  do_expect },
	{ "cycle",   true,  do_cycle },
	{ "sh",      true,  do_sh },
	{ "save",    true,  do_save },
	{ "restore", true,  do_restore },
	{ "share",   true,  do_share },
	{ "check",   true,  do_check },
	{ "balloon", true,  do_balloon },
	{ "size",    true,  do_size },
};
/* clang-format on */

/* What the next verb is to be like. Return: whether @word says such a thing. */
static bool take_prefix(struct world *w, const char *word, const char *arg)
{
	if (strcmp(word, "limit") == 0)
		w->limit_ms = atoi(arg);
	else if (strcmp(word, "cancel") == 0)
		w->cancel_ms = atoi(arg);
	else if (strcmp(word, "fails") == 0)
		w->wanted = arg;
	else
		return false;
	return true;
}

/* Carry one verb out with what was said before it. Return: 0; negative errno, after saying why. */
static int run_one(struct world *w, const struct verb *v, const char *arg)
{
	int64_t cancel_ms = w->cancel_ms;
	AUTO_FD cancel = cancel_ms ? timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC) : -1;
	struct itimerspec when = {
		.it_value = {.tv_sec = cancel_ms / 1000, .tv_nsec = cancel_ms % 1000 * 1000000}};
	struct deadline d = deadline_in(w->limit_ms ? w->limit_ms : VERB_LIMIT_MS, cancel);
	const char *wanted = w->wanted;
	struct err e = {0};
	int r;

	if (cancel >= 0)
		(void)timerfd_settime(cancel, 0, &when, NULL); /* a descriptor of ours */
	w->wanted = NULL;
	w->limit_ms = w->cancel_ms = 0;
	r = v->run(w, arg, &d, &e);
	if (r < 0)
		(void)printf("%s: %s: %s\n", v->name, err_name(e.code), e.text);
	if (!wanted)
		return r;
	if (r < 0 && strcmp(err_name(e.code), wanted) == 0)
		return 0;
	(void)printf("%s: it did not fail with %s\n", v->name, wanted);
	return -EIO;
}

/* Carry one verb out. Return: the arguments used; 0 when it failed, after saying why. */
static int run_verb(struct world *w, char **args)
{
	if (args[1] && take_prefix(w, args[0], args[1]))
		return 2;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		const struct verb *v = &verbs[i];

		if (strcmp(v->name, args[0]) != 0 || (v->has_arg && !args[1]))
			continue;
		if (run_one(w, v, args[1]) < 0)
			return 0;
		return v->has_arg ? 2 : 1;
	}
	(void)printf("%s: no such verb\n", args[0]);
	return 0;
}

static int open_log(const char *dir, const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void find_disk(struct world *w)
{
	(void)snprintf(w->disk, sizeof(w->disk), "%s/disk.qcow2", w->dir);
	w->spec.disk_format = VM_DISK_QCOW2;
	if (access(w->disk, F_OK) < 0) {
		(void)snprintf(w->disk, sizeof(w->disk), "%s/disk.raw", w->dir);
		w->spec.disk_format = VM_DISK_RAW;
	}
	w->spec.disk = access(w->disk, F_OK) == 0 ? w->disk : NULL;
}

/* Parse "auto", "kvm", "tcg"; AUTO for what is none of them. */
static enum vm_accel accel_of(const char *word)
{
	for (enum vm_accel i = VM_ACCEL_KVM; word && i < VM_ACCEL_COUNT; i++)
		if (strcmp(word, vm_accel_name(i)) == 0)
			return i;
	return VM_ACCEL_AUTO;
}

/* A number from the environment. */
static unsigned number(const char *name, unsigned fallback)
{
	const char *text = getenv(name);

	return text ? (unsigned)atoi(text) : fallback;
}

static int probe(const char *word)
{
	struct vm_host host;
	struct err e = {0};

	if (driver()->probe(accel_of(word), &host, &e) < 0) {
		(void)printf("%s: %s\n", err_name(e.code), e.text);
		return 1;
	}
	(void)printf("accel=%s\naccel_why=%s\nprogram=%s\nversion=%s\ntsc_khz=%u\n",
		     vm_accel_name(host.accel), host.accel_why, host.program, host.version,
		     host.tsc_khz);
	return 0;
}

int main(int argc, char **argv)
{
	struct world w = {0};
	struct err e = {0};
	const char *port;
	int at = 4, used = 1;

	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* only changes when lines appear */
	if (argc >= 2 && strcmp(argv[1], "probe") == 0)
		return probe(argv[2]);
	if (argc < 5 || http_init() < 0 || find_host(&w.host, accel_of(getenv("ACCEL")), &e) < 0) {
		(void)printf("cannot begin: %s\n", e.text);
		return 1;
	}
	port = getenv("HOST_PORT");
	w.dir = argv[1];
	(void)snprintf(w.run, sizeof(w.run), "%s/run", w.dir);
	w.spec = (struct vm_spec){.name = "sbxtest-1",
				  .host = &w.host,
				  .vcpus = number("VCPUS", 1),
				  .template = "test@0123456789ab",
				  .memory_mib = number("MEMORY_MIB", MEMORY_MIB),
				  .kernel = argv[2],
				  .initrd = argv[3],
				  .cmdline = getenv("CMDLINE"),
				  .net = port ? VM_NET_USER : VM_NET_NONE,
				  .tap_fd = -1,
				  .host_addr = "127.0.0.1",
				  .host_port = (uint16_t)(port ? atoi(port) : 0),
				  .guest_port = GUEST_PORT,
				  .mac = "02:00:00:00:00:01",
				  .netns_fd = -1,
				  .console_fd = open_log(w.dir, "console"),
				  .stderr_fd = open_log(w.dir, "stderr"),
				  .run_dir = w.run,
				  .save_dir = getenv("SAVE_DIR")};
	find_disk(&w);
	while (at < argc && used > 0) {
		used = run_verb(&w, argv + at);
		at += used;
	}
	if (w.vm)
		(void)run_verb(&w, (char *[]){(char[]){"kill"}, NULL});
	return used > 0 ? 0 : 1;
}
