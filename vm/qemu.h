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

enum {
	QEMU_PATH_SIZE = 108, /* of sockaddr_un */
};

/* The driver's sockets below run_dir. */
#define QEMU_QMP_SOCKET    "qmp.sock"
#define QEMU_SERIAL_SOCKET "serial.sock"

/* Everything that a QEMU inherits, open in this process. */
struct qemu_files {
	int qmp, serial, ram, kernel, initrd, disk, base; /* owned; -1: none */
	struct qemu_image disk_image, base_image;
};

/**
 * qemu_files_open() - Open kernel, initrd and disk, make the memory and the listening sockets
 * @ret: to be released with qemu_files_close(), on failure too
 * Return: 0; negative errno with what could not be opened.
 */
int qemu_files_open(const struct vm_spec *spec, struct qemu_files *ret, struct err *e);
void qemu_files_close(struct qemu_files *f);

/* Remove the driver's sockets; they may not be there. */
void qemu_sockets_remove(const char *run_dir);

/**
 * qemu_connect() - Connect to one of the driver's sockets
 * Return: 0 and @ret_fd, non-blocking; negative errno.
 */
int qemu_connect(const char *run_dir, const char *name, int *ret_fd, struct err *e);

#endif
