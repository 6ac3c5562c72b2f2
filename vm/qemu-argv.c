/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-argv.c - QEMU's command line as a pure function of what is wanted
 *
 * How it works: files come as descriptors that the process inherits, opened again through /proc/self/fd, so
 * that hardly a path of ours meets QEMU's quoting. The machine is microvm with ACPI: without it a stock
 * kernel finds no virtio device. Its devices sit on virtio-mmio slots taken in the order of the command
 * line. There is no hotplug on it.
 */
#include "vm/qemu-argv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/qemu.h"

void qemu_argv_done(struct qemu_argv *a)
{
	for (unsigned i = 0; i < a->count; i++)
		free(a->args[i]);
	memset(a, 0, sizeof(*a));
}

/* Append one argument. */
__attribute__((format(printf, 2, 3))) static void arg(struct qemu_argv *a, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	if (a->count + 1 >= QEMU_ARGS_MAX || vasprintf(&text, fmt, args) < 0)
		a->failed = true;
	else
		a->args[a->count++] = text;
	va_end(args);
}

/* Append an option and its value. */
#define opt(a, name, ...)                                                                          \
	do {                                                                                       \
		arg((a), "%s", (name));                                                            \
		arg((a), __VA_ARGS__);                                                             \
	} while (0)

static void add_machine(struct qemu_argv *a, const struct vm_spec *s, const struct qemu_fds *fds)
{
	bool kvm = s->host->accel == VM_ACCEL_KVM;

	arg(a, "%s", s->host->program);
	opt(a, "-name", "%s", s->name);
	/* Without a clock, its default under KVM, a stock kernel waits for one a whole second at each boot. */
	opt(a, "-machine", QEMU_MACHINE ",memory-backend=ram0,dump-guest-core=off");
	opt(a, "-accel", "%s", kvm ? "kvm" : "tcg");
	/* The whole of what the accelerator has: many distributions need more than QEMU's default CPU. */
	opt(a, "-cpu", "%s", kvm ? "host" : "max");
	opt(a, "-m", "%" PRIu64 "M", s->memory_mib);
	opt(a, "-smp", "%u", s->vcpus);
	arg(a, "-nodefaults");
	arg(a, "-no-user-config");
	opt(a, "-display", "none");
	arg(a, "-no-reboot");
	opt(a, "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	opt(a, "-object",
	    "memory-backend-file,id=ram0,size=%" PRIu64 "M,mem-path=/proc/self/fd/%d,share=%s",
	    s->memory_mib, fds->ram, fds->ram_private ? "off" : "on");
}

/* Append the JSON of a file or device in the host. */
static void add_host_file(struct buf *b, int fd, const struct qemu_image *image, bool read_only)
{
	buf_addf(
		b,
		"{\"driver\":\"%s\",\"filename\":\"/proc/self/fd/%d\",\"read-only\":%s,"
		"\"discard\":\"unmap\",\"aio\":\"%s\",\"cache\":{\"direct\":%s,\"no-flush\":false}}",
		image->is_device ? "host_device" : "file", fd, read_only ? "true" : "false",
		image->direct ? "native" : "threads", image->direct ? "true" : "false");
}

/* Each layer's format is said, so that QEMU never guesses one from what a guest wrote. */
static int add_disk(struct qemu_argv *a, const struct vm_spec *s, const struct qemu_fds *fds,
		    const struct qemu_image *disk, const struct qemu_image *base)
{
	AUTO_BUF b = BUF_INIT;

	buf_addf(&b,
		 "{\"node-name\":\"d0\",\"driver\":\"%s\",\"discard\":\"unmap\","
		 "\"detect-zeroes\":\"unmap\",\"file\":",
		 s->disk_format == VM_DISK_QCOW2 ? "qcow2" : "raw");
	add_host_file(&b, fds->disk, disk, false);
	if (s->disk_format == VM_DISK_QCOW2 && fds->base >= 0) {
		buf_adds(&b, ",\"backing\":{\"driver\":\"raw\",\"read-only\":true,\"file\":");
		add_host_file(&b, fds->base, base, true);
		buf_adds(&b, "}");
	}
	buf_adds(&b, "}");
	if (buf_error(&b) < 0)
		return -ENOMEM;
	opt(a, "-blockdev", "%s", buf_text(&b));
	/* A full host must not become a guest's damaged file system: it stops and goes on after thaw. */
	opt(a, "-device", "virtio-blk-device,drive=d0,id=blk0,werror=stop,rerror=stop");
	return 0;
}

static void add_net(struct qemu_argv *a, const struct vm_spec *s, const struct qemu_fds *fds)
{
	if (s->net == VM_NET_NONE)
		return;
	if (s->net == VM_NET_TAP)
		opt(a, "-netdev", "tap,id=n0,fd=%d", fds->tap);
	else
		opt(a, "-netdev", "user,id=n0,hostfwd=tcp:%s:%u-:%u", s->host_addr,
		    (unsigned)s->host_port, (unsigned)s->guest_port);
	opt(a, "-device", "virtio-net-device,netdev=n0,id=net0,mac=%s", s->mac);
}

/* A path as QEMU's option parser takes it: commas doubled. */
static void add_path(struct buf *b, const char *path)
{
	for (; *path; path++) {
		if (*path == ',')
			buf_addc(b, ',');
		buf_addc(b, *path);
	}
}

/* The log gets every byte that the guest writes, and the guest never waits for a reader. */
static int add_channels(struct qemu_argv *a, const struct vm_spec *s, const struct qemu_fds *fds)
{
	AUTO_BUF b = BUF_INIT;

	opt(a, "-chardev", "socket,id=qmp,fd=%d,server=on,wait=off", fds->qmp);
	opt(a, "-mon", "chardev=qmp,mode=control");
	buf_adds(&b, "pipe,id=ser,path=");
	add_path(&b, s->run_dir);
	buf_addf(&b, "/%s,logfile=/proc/self/fd/%d,logappend=on", QEMU_SERIAL, fds->console);
	if (buf_error(&b) < 0)
		return -ENOMEM;
	opt(a, "-chardev", "%s", buf_text(&b));
	opt(a, "-serial", "chardev:ser");
	return 0;
}

/*
 * panic=-1 turns a panic into a reset, which -no-reboot turns into QEMU's end; reboot=t, because under KVM
 * this machine's guests do not come out of the kernel's other ways to reset. The crypto self-tests are
 * two thirds of all instructions that a stock kernel runs until its first process.
 * Under TCG the machine has no timer good enough to calibrate the TSC against on a busy host; a kernel that
 * fails at it hangs at once. Nor is there one to judge the TSC by, which is the host's: compared with ticks, some of
 * which are lost each time when the process has to wait for a processor, it is found wrong, and from then on the guest
 * counts ticks. Its clock is several times too slow then, and so is all that sleeps in it.
 */
static void add_kernel(struct qemu_argv *a, const struct vm_spec *s, const struct qemu_fds *fds)
{
	char tsc[60] = "";

	if (s->host->accel == VM_ACCEL_TCG && s->host->tsc_khz)
		(void)snprintf(tsc, sizeof(tsc), " tsc_early_khz=%" PRIu32 " tsc=reliable",
			       s->host->tsc_khz);
	opt(a, "-kernel", "/proc/self/fd/%d", fds->kernel);
	if (fds->initrd >= 0)
		opt(a, "-initrd", "/proc/self/fd/%d", fds->initrd);
	opt(a, "-append",
	    "console=ttyS0 panic=-1 reboot=t quiet cryptomgr.notests 8250.nr_uarts=1%s%s%s", tsc,
	    s->cmdline && *s->cmdline ? " " : "", s->cmdline ? s->cmdline : "");
}

/* The guest has its kernel in memory. It stands until it is told to go on, and how to load is said over QMP. */
static void add_incoming(struct qemu_argv *a)
{
	arg(a, "-S");
	opt(a, "-incoming", "defer");
}

static int check(const struct vm_spec *s, struct err *e)
{
	if (strchr(s->name, ','))
		return err_set(e, EINVAL, "a VM's name cannot hold a comma: %s", s->name);
	if (s->vcpus == 0 || s->memory_mib == 0)
		return err_set(e, EINVAL, "a VM needs at least one vCPU and some memory");
	if (s->net != VM_NET_NONE && !s->mac)
		return err_set(e, EINVAL, "a VM with a network needs a MAC address");
	if (s->net == VM_NET_USER && !s->host_addr)
		return err_set(e, EINVAL, "a VM with user networking needs a host address");
	return 0;
}

int qemu_argv_build(const struct vm_spec *spec, const struct qemu_fds *fds,
		    const struct qemu_image *disk, const struct qemu_image *base,
		    struct qemu_argv *ret, struct err *e)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = check(spec, e);
	if (r < 0)
		return r;
	add_machine(ret, spec, fds);
	if (fds->disk >= 0 && add_disk(ret, spec, fds, disk, base) < 0)
		ret->failed = true;
	opt(ret, "-device", "virtio-rng-device,id=rng0");
	opt(ret, "-device", "virtio-balloon-device,id=bal0,free-page-reporting=on");
	add_net(ret, spec, fds);
	opt(ret, "-device", "pvpanic");
	if (add_channels(ret, spec, fds) < 0)
		ret->failed = true;
	if (spec->saved)
		add_incoming(ret);
	else
		add_kernel(ret, spec, fds);
	if (ret->failed)
		return err_set(e, ENOMEM, "no memory for QEMU's command line");
	return 0;
}
