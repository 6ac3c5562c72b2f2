/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch-argv.c - cloud-hypervisor's command line as a pure function of what is wanted
 *
 * How it works: files come as descriptors that the process inherits, opened again through /proc/self/fd, so that
 * no path of ours but run_dir meets the program's quoting. The VM is created from the command line rather than by
 * vm.create, because only there a descriptor can be named: the API takes them with a message that an HTTP client
 * cannot send. A VM that goes on from saved memory has its devices from the configuration that was saved with it
 * (ch-save.c); of the command line only the network's descriptor is its own.
 * Memory is shared with a file of its own (shared=on): only then what was never touched takes no room when it
 * is saved. The serial line is "tty", which is standard output when that is no terminal: the only mode that
 * keeps O_APPEND, and that does not empty the log first.
 */
#include "vm/ch-argv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm/ch.h"

void ch_argv_done(struct ch_argv *a)
{
	for (unsigned i = 0; i < a->count; i++)
		free(a->args[i]);
	memset(a, 0, sizeof(*a));
}

/* Append one argument. */
__attribute__((format(printf, 2, 3))) static void arg(struct ch_argv *a, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	if (a->count + 1 >= CH_ARGS_MAX || vasprintf(&text, fmt, args) < 0)
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

static void add_boot(struct ch_argv *a, const struct vm_spec *s, const struct ch_fds *fds)
{
	opt(a, "--kernel", "/proc/self/fd/%d", fds->kernel);
	if (fds->initrd >= 0)
		opt(a, "--initramfs", "/proc/self/fd/%d", fds->initrd);
	/* panic=-1: a panic becomes a reset, and a reset the VMM's end (ch.c). */
	opt(a, "--cmdline", "console=ttyS0 panic=-1 quiet cryptomgr.notests 8250.nr_uarts=1%s%s",
	    s->cmdline && *s->cmdline ? " " : "", s->cmdline ? s->cmdline : "");
}

static void add_devices(struct ch_argv *a, const struct vm_spec *s, const struct ch_fds *fds,
			bool direct)
{
	opt(a, "--cpus", "boot=%u", s->vcpus);
	opt(a, "--memory", "size=%" PRIu64 "M,shared=on", s->memory_mib);
	/* The format is said, so that it is never guessed from what a guest wrote. */
	if (fds->disk >= 0)
		opt(a, "--disk", "id=disk0,path=/proc/self/fd/%d,image_type=raw,direct=%s",
		    fds->disk, direct ? "on" : "off");
	if (s->net == VM_NET_TAP)
		opt(a, "--net", "id=net0,fd=[%d],mac=%s", fds->tap, s->mac);
	opt(a, "--balloon", "id=balloon0,size=0,deflate_on_oom=on,free_page_reporting=on");
	opt(a, "--rng", "src=/dev/urandom");
	opt(a, "--serial", "tty");
	opt(a, "--console", "off");
	arg(a, "--pvpanic");
}

static int check(const struct vm_spec *s, struct err *e)
{
	if (s->host->accel != VM_ACCEL_KVM)
		return err_set(e, ENOTSUP, "cloud-hypervisor runs guests with KVM only");
	if (s->vcpus == 0 || s->memory_mib == 0)
		return err_set(e, EINVAL, "a VM needs at least one vCPU and some memory");
	if (s->net == VM_NET_USER)
		return err_set(e, ENOTSUP,
			       "cloud-hypervisor has no network of its own: it needs the network "
			       "driver netns, so root; or set vmm=qemu");
	if (s->net == VM_NET_TAP && !s->mac)
		return err_set(e, EINVAL, "a VM with a network needs a MAC address");
	if (s->disk && s->disk_format != VM_DISK_RAW)
		return err_set(
			e, ENOTSUP,
			"cloud-hypervisor gets no overlays here, and this sandbox's disk is "
			"one: use --storage dm, or a state directory on xfs or btrfs; or set "
			"vmm=qemu");
	if (s->saved && strpbrk(s->run_dir, ",[]\""))
		return err_set(e, EINVAL, "cloud-hypervisor cannot be given the directory %s",
			       s->run_dir);
	return 0;
}

int ch_argv_build(const struct vm_spec *spec, const struct ch_fds *fds, bool direct, bool landlock,
		  struct ch_argv *ret, struct err *e)
{
	int r = check(spec, e);

	memset(ret, 0, sizeof(*ret));
	if (r < 0)
		return r;
	arg(ret, "%s", spec->name); /* what the process list shows, and a later daemon finds */
	opt(ret, "--api-socket", "fd=%d", fds->api);
	opt(ret, "--event-monitor", "fd=%d", fds->events);
	opt(ret, "--seccomp", "true");
	if (spec->saved) {
		arg(ret, "--restore");
		if (spec->net == VM_NET_TAP)
			arg(ret, "source_url=file://%s/" CH_RESTORE ",net_fds=[net0@[%d]]",
			    spec->run_dir, fds->tap);
		else
			arg(ret, "source_url=file://%s/" CH_RESTORE, spec->run_dir);
	} else {
		add_boot(ret, spec, fds);
		add_devices(ret, spec, fds, direct);
		if (landlock)
			arg(ret, "--landlock");
		if (landlock && fds->save >= 0)
			opt(ret, "--landlock-rules", "path=/proc/self/fd/%d,access=rw", fds->save);
	}
	return ret->failed ? err_set(e, ENOMEM, "no memory for cloud-hypervisor's command line")
			   : 0;
}
