/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/vm.h - one face for every virtual machine monitor
 *
 * A driver takes descriptors rather than paths wherever its program can: what a guest's VMM may open is
 * then what it was handed. Nothing above this header asks which driver it is; what one cannot do is
 * -ENOTSUP with the reason.
 */
#ifndef SBXFS_VM_VM_H
#define SBXFS_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"
#include "base/proc.h"

enum vm_accel {
	VM_ACCEL_AUTO, /* as an order only: KVM if it truly runs guests, else TCG */
	VM_ACCEL_KVM,
	VM_ACCEL_TCG,
	VM_ACCEL_COUNT
};

/* "auto", "kvm", "tcg". */
const char *vm_accel_name(enum vm_accel accel);

enum vm_disk_format { VM_DISK_RAW, VM_DISK_QCOW2 };

enum vm_net_kind {
	VM_NET_NONE,
	VM_NET_TAP, /* tap_fd */
	VM_NET_USER, /* the VMM's own user-mode network, host_addr:host_port leads to the guest's agent port */
};

struct vm_driver;

/* What a host can do, found once at start by the driver's probe. */
struct vm_host {
	const struct vm_driver *driver; /* whose probe it was */
	enum vm_accel accel;            /* KVM or TCG */
	char accel_why[256];            /* one line for .status: why this one */
	char program[256];              /* path of the VMM */
	char version[64]; /* of the VMM with its package, such as "7.2.22 (Debian 1:7.2+dfsg-7)" */
	uint32_t tsc_khz; /* of the host, for tsc_early_khz= under TCG; 0: not known */
};

/* Where the memory of a guest that goes on comes from. */
enum vm_memory {
	VM_MEMORY_OWN, /* a copy of its own: it can be saved again cheaply, and gives back what its guest frees */
	VM_MEMORY_SHARED, /* the saved file itself, mapped privately: pages come as they are touched, the file never changes. For
			   * those that are thrown away: saving one again writes all of its memory */
};

/* A port of the host that leads to one of the guest's. */
struct vm_forward {
	uint32_t host_addr; /* in host byte order; 0: every one that the host has */
	uint16_t host_port, guest_port;
	bool is_udp;
};

/* What save() wrote, to go on from. */
struct vm_saved {
	const char *dir; /* absolute path of the directory */
	int dir_fd;      /* the same, open; borrowed */
	enum vm_memory memory;
};

struct vm_spec {
	const struct vm_saved *
		saved; /* NULL: boot. Else go on from there: kernel, initrd and cmdline are not looked at */
	const char *template; /* NAME@DIGEST12, for the manifest: which kernel the guest runs */
	const char *name;     /* for the process title only, such as "sbxab12-1f" */
	const struct vm_host *host;
	unsigned vcpus;
	uint64_t memory_mib;
	const char *kernel; /* path; the driver opens it */
	const char *initrd;
	const char *
		cmdline; /* the template's and ops's part; the driver adds console, tsc_early_khz, … */
	const char *disk; /* block device or image file */
	enum vm_disk_format disk_format;
	enum vm_net_kind net;
	int tap_fd; /* VM_NET_TAP: opened with IFF_TAP|IFF_NO_PI|IFF_VNET_HDR; borrowed */
	const char *host_addr; /* VM_NET_USER */
	uint16_t host_port, guest_port;
	const char *mac; /* "02:…" */
	int netns_fd;    /* namespace that the VMM runs in; -1: ours */
	int console_fd; /* regular file opened O_WRONLY|O_APPEND: everything the guest writes to its serial line; borrowed */
	int stderr_fd;  /* the VMM's own messages; borrowed */
	const char *
		run_dir; /* directory for the driver's sockets; at most 80 bytes; outlives the VM */
	const char *cgroup; /* NULL: none */
	const char *
		save_dir; /* directory for the VMM alone, on the file system that save() will write to; empty, outlives the VM;
			       * NULL: the VMM writes to save()'s own directory, if it may */
};

struct vm; /* a VMM process and its control channel */

/* Why a VM ended, as far as its driver was told before. */
enum vm_end {
	VM_END_UNKNOWN,  /* nothing was heard: it crashed or was killed */
	VM_END_SHUTDOWN, /* the guest powered off */
	VM_END_RESET,    /* the guest reset (we run with no reboot) */
	VM_END_PANIC,    /* guest panic */
	VM_END_COUNT
};

/* What a VMM said by itself since it was last asked; a set. */
enum vm_said {
	VM_SAID_DISK_ERROR =
		1, /* the disk failed a request, and the vCPUs were stopped because of it */
	VM_SAID_DISK_FULL = 2, /* with the above: for want of room */
};

struct vm_driver {
	const char *name; /* "qemu" */
	bool keeps_dirs; /* its VMM knows save_dir by its name for life: it cannot be given to another sandbox */

	/**
	 * probe() - Find the program and what it can do here
	 * @want: AUTO, or the one that the operator insists on
	 * Context: a second or so: it runs 64-bit guest code in KVM with a time limit before believing in it.
	 * Return: 0 and @ret; -ENOTSUP with what to install or to change.
	 */
	int (*probe)(enum vm_accel want, struct vm_host *ret, struct err *e);

	/**
	 * start() - Start a VMM and let its guest run
	 *
	 * With @spec->saved the guest is loaded instead, and its vCPUs stand when this returns: thaw() lets it go on. Until then it has
	 * not written anything.
	 * Owner:  @ret_vm is the caller's, to be given to close() in the end; a failed call leaves no process and no
	 *         socket behind.
	 * Return: 0; -ENOTSUP no program, or what is saved is not for this host (check_saved()); -EBADMSG what is saved is
	 *         damaged; -EIO with the VMM's last words; -ETIMEDOUT; -ECANCELED.
	 */
	int (*start)(const struct vm_spec *spec, const struct deadline *d, struct vm **ret_vm,
		     struct err *e);

	/**
	 * open() - Take up a VM that an earlier process started
	 * @id:  from its record
	 * Return: 0; -ESRCH when that process is gone.
	 */
	int (*open)(const struct proc_id *id, const char *run_dir, const struct deadline *d,
		    struct vm **ret_vm, struct err *e);

	/* Forget it: closes descriptors, ends nothing. Takes NULL. */
	void (*close)(struct vm *vm);

	/*
	 * Stop and go on with the vCPUs. Return: 0, also when already so; -EIO; -ETIMEDOUT. After a freeze it can be saved:
	 * one that stands as it was saved before may go on for a moment for that.
	 */
	int (*freeze)(struct vm *vm, const struct deadline *d, struct err *e);
	int (*thaw)(struct vm *vm, const struct deadline *d, struct err *e);

	/**
	 * save() - Write memory, devices and a manifest of what they fit to, durably
	 * @to: an empty directory; its files are never changed afterwards, and may be shared by hard links
	 *
	 * Context: blocks; vCPUs stopped by freeze(). They stay so, and thaw() goes on with it, whatever the result. Pages of zeroes take
	 *          no room.
	 * Return: 0; -ENOSPC; -ENOTSUP; -ETIMEDOUT; -ECANCELED; -EIO. What is left in @to is the caller's to remove.
	 */
	int (*save)(struct vm *vm, const struct vm_saved *to, const struct deadline *d,
		    struct err *e);

	/**
	 * check_saved() - Would start() with this spec take what is saved there, as far as can be told without a VMM?
	 * @spec: without a name there is nothing yet that the guest will be connected to: then it has a disk, and network as said
	 * Return: 0; -ENOTSUP what differs (program's version, accelerator, CPU, vCPUs, memory, devices, network); -EBADMSG damaged; -ENOENT
	 *         nothing is saved there.
	 */
	int (*check_saved)(const struct vm_spec *spec, struct err *e);

	/**
	 * balloon() - Have the guest keep no more than @keep_mib of its memory; all of it: gives everything back
	 * @ret_mib: what it has now; NULL allowed
	 * Context: waits for the device's events until the guest has done it, has not moved for a second, or @d is over; the
	 *          balloon stays where it was asked to go.
	 * Return: 0, also when the guest gives less; -ENOTSUP; -EIO; -ECANCELED.
	 */
	int (*balloon)(struct vm *vm, uint64_t keep_mib, const struct deadline *d,
		       uint64_t *ret_mib, struct err *e);

	/**
	 * forward() - From now on these ports of the host lead to the guest and no others; all of it or nothing changes
	 * @list: @count of them, the way to the agent among them (host_addr, host_port, guest_port of its start)
	 * Context: with VM_NET_USER.
	 * Return: 0; -EADDRINUSE, -EACCES, -EADDRNOTAVAIL one that cannot be had, named in @e; -ENOTSUP; -EIO; -ETIMEDOUT.
	 */
	int (*forward)(struct vm *vm, const struct vm_forward *list, size_t count,
		       const struct deadline *d, struct err *e);

	/**
	 * said() - What has the VMM said since the last call?
	 * Context: any thread while the VM is open; never waits: while another thread talks to the VMM the answer is what was heard
	 *          so far.
	 * Return: a set of vm_said.
	 */
	unsigned (*said)(struct vm *vm);

	/* Do the vCPUs stand because a request to the disk failed? Return: 0 and @ret; -EIO; -ETIMEDOUT. */
	int (*disk_stopped)(struct vm *vm, const struct deadline *d, bool *ret, struct err *e);

	/**
	 * kill() - End the VMM at once, reap it, remove its sockets
	 * @id, @run_dir: used instead of @vm when that is NULL (after a crash of the daemon)
	 * Return: 0, also when it had ended or never ran; -ETIMEDOUT when the kernel does not let it go.
	 */
	int (*kill)(struct vm *vm, const struct proc_id *id, const char *run_dir,
		    const struct deadline *d, struct err *e);

	/* For vm_ended(). */
	enum vm_end (*ended)(struct vm *vm);
};

/* Common to all drivers: each struct vm begins with this. */
struct vm_common {
	const struct vm_driver *driver;
	struct proc_id id;
	unsigned vcpus; /* of the guest, as it was started: settings may have changed since */
	uint64_t memory_mib;
	int pidfd; /* readable when the VMM has ended; owned */
	int events; /* readable when the VMM may have said something; -1: never (any more); borrowed by all */
	int console; /* write only, non-blocking: the guest's serial input, -1: none; what the guest writes is in the log
	              * file alone (the guest never waits for a reader); SIGPIPE once the VMM has ended; owned */
};

const struct vm_common *vm_common(const struct vm *vm);

/* Whose it is. */
const struct vm_driver *vm_driver_of(const struct vm *vm);

/* The driver of that name, as records have it; NULL: there is none. */
const struct vm_driver *vm_driver_named(const char *name);

/**
 * vm_set_program() - Say where a driver's program is, rather than to have it looked up in PATH
 * @driver: its name
 * @path:   borrowed for good
 * Context: before any probe.
 */
void vm_set_program(const char *driver, const char *path);

/* What was said, for drivers; NULL: look in PATH. */
const char *vm_program(const char *driver);

/* What the driver heard of the end; call after pidfd became readable and before close(). */
enum vm_end vm_ended(struct vm *vm);

/* All drivers, best first, NULL-terminated. */
extern const struct vm_driver *const vm_drivers[];
enum { VM_DRIVERS_MAX = 4 };

#endif
