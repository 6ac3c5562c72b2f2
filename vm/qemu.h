/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu.h - the QEMU driver's parts; private to vm/ */
#ifndef SBXFS_VM_QEMU_H
#define SBXFS_VM_QEMU_H

#include "base/deadline.h"
#include "base/err.h"
#include "vm/qemu-argv.h"
#include "vm/vm.h"

extern const struct vm_driver qemu_driver;

/* vm/qemu-probe.c: the driver's probe(). */
int qemu_probe(enum vm_accel want, struct vm_host *ret, struct err *e);

/* vm/qemu-save.c: the driver's save(), check_saved() and balloon(). */
int qemu_save(struct vm *vm, const struct vm_saved *to, const struct deadline *d, struct err *e);
int qemu_check_saved(const struct vm_spec *spec, struct err *e);
int qemu_balloon(struct vm *vm, uint64_t keep_mib, const struct deadline *d, uint64_t *ret_mib,
		 struct err *e);

/* The driver's names below run_dir: a control socket, and the two ends of a "pipe" character device. */
#define QEMU_QMP_SOCKET "qmp.sock"
#define QEMU_SERIAL     "serial"
#define QEMU_SERIAL_IN  QEMU_SERIAL ".in"  /* FIFO: what the guest reads */
#define QEMU_SERIAL_OUT QEMU_SERIAL ".out" /* symbolic link to /dev/null: the log has the output */

/* Everything that a QEMU inherits, open in this process. */
struct qemu_files {
	int qmp, ram, kernel, initrd, disk, base; /* owned; -1: none */
	struct qemu_image disk_image, base_image;
};

/**
 * qemu_files_open() - Open kernel, initrd and disk, make the memory, the control socket and the console's pipe
 * @ret: to be released with qemu_files_close(), on failure too
 * Return: 0; negative errno with what could not be opened.
 */
int qemu_files_open(const struct vm_spec *spec, struct qemu_files *ret, struct err *e);
void qemu_files_close(struct qemu_files *f);

/* Remove what the driver made below run_dir; it may not be there. */
void qemu_names_remove(const char *run_dir);

/**
 * qemu_connect() - Connect to the control socket
 * Return: 0 and @ret_fd, non-blocking; negative errno.
 */
int qemu_connect(const char *run_dir, int *ret_fd, struct err *e);

/**
 * qemu_open_console() - Open the way into the guest's serial line; QEMU must have it open
 * Return: 0 and @ret_fd, write only, non-blocking; negative errno.
 */
int qemu_open_console(const char *run_dir, int *ret_fd, struct err *e);

#endif
