/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/host.h - the daemon as a whole: options, drivers chosen, promises counted, start and shutdown */
#ifndef SBXFS_OPS_HOST_H
#define SBXFS_OPS_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/slot.h"
#include "storage/volume.h"
#include "vm/vm.h"

struct host_options {
	const char *state_dir;                   /* absolute */
	const char *mountpoint;                  /* absolute */
	const char *accel, *vmm, *storage, *net; /* "auto" or a name */
	const char *cloud_hypervisor;            /* path of the program; NULL: in PATH */
};

struct host {
	char state_dir[192], mountpoint[256];
	int state_fd; /* the state directory; its lock is held through lock_fd */
	int lock_fd;
	_Atomic bool mounted;           /* fs/ has the mount up */
	int sandboxes_fd, templates_fd; /* directories below it */
	char run_dir[80];               /* for sockets of VMMs: short, gone after a reboot */
	char instance[5];
	int64_t started_ms; /* wall clock */
	const struct vm_driver
		*vm; /* the default; NULL: none works here; vm_why says what to install */
	struct vm_host vm_host;             /* what its probe found */
	struct vm_host vms[VM_DRIVERS_MAX]; /* of all that work here; driver NULL: not this one */
	char vm_refusals[VM_DRIVERS_MAX][512]; /* why not; as vm_drivers[] */
	char vm_why[1024];                     /* one line about all */
	const struct volume_driver *volume;
	char volume_why[256];
	const struct slot_driver *net;
	char net_why[512];
	char net_blocked
		[512]; /* what other programs' rules do to guests, and what helps; "": nothing */
	uint32_t slots_total;
	uint64_t memory_total_mib, memory_reserve_mib; /* of the host; of it, for the host itself */
};

/* Filled by host_init() before there are threads, constant afterwards. */
extern struct host host;

/**
 * host_prepare() - All of host_init() that can be judged while another daemon has the state directory
 * Return: 0; as host_init().
 */
int host_prepare(const struct host_options *o, struct err *e);

/**
 * host_init() - Take the state directory, choose drivers, load templates and records, recover
 * Return: 0; -EBUSY another daemon has this state directory; -EINVAL it lies inside the mount, or is of a newer format; -EIO.
 */
int host_init(const struct host_options *o, struct err *e);

/**
 * host_socket() - Where the daemon of a state directory listens for the next one
 * @ret: the path
 * Context: also before host_init(), and while another daemon has the state directory.
 * Return: 0; -ENOENT there was never a daemon; -EBADMSG; -EINVAL.
 */
int host_socket(const char *state_dir, char *ret, size_t size, struct err *e);

/* What the next daemon has to fit, for host_fits(): a few words. */
void host_describe(struct buf *b);

/**
 * host_fits() - Can what runs under another daemon go on under this one?
 * @text: its host_describe()
 * Context: after host_prepare().
 * Return: 0; -EINVAL with what does not fit.
 */
int host_fits(const char *text, struct err *e);

/**
 * host_promise() - Count @mib of memory as promised to a VM
 * Return: 0; -ENOMEM when the host has not that much left beyond its reserve.
 */
int host_promise(uint64_t mib, struct err *e);
void host_promise_running(
	uint64_t mib); /* of a VM that has it already, whatever was promised besides */
void host_promise_drop(uint64_t mib);
uint64_t host_promised(void);

/* How long a start may take if nobody says: 30 s, emulated 120 s. */
int64_t host_start_ms(void);

/**
 * host_down() - Before the daemon ends: stop or pause all sandboxes side by side, or leave them as they are
 * @how: SHUTDOWN_… of settings.h; what is on its way is called off, and what is the daemon's own goes, in any case
 * Context: blocks; a worker or the main thread.
 * Return: 0; a failure.
 */
int host_down(uint64_t how, struct err *e);

/* Was host_down() told to leave all as it is? */
bool host_is_left(void);

/* After the mount has gone. */
void host_done(void);

/* fs/ says what ends the mount; host_end() calls that. It must not block. */
void host_set_end(void (*fn)(void));
void host_end(void);

/**
 * host_check() - What this host can do: a line for each driver, with what is missing; changes nothing
 * @o: state_dir is where the stores are tried, or its nearest parent that exists
 * Return: 0; -ENOTSUP when no VM can run here.
 */
int host_check(const struct host_options *o, struct buf *b);

/* The texts of .status, .status.json and .ps. */
void host_status(struct buf *b);
void host_status_json(struct buf *b);
void host_ps(struct buf *b);

#endif
