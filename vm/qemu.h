/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu.h - the QEMU driver; private to vm/ */
#ifndef SBXFS_VM_QEMU_H
#define SBXFS_VM_QEMU_H

#include "vm/vm.h"

extern const struct vm_driver qemu_driver;

/* The driver's names below run_dir: a control socket, and the two ends of a "pipe" character device. */
#define QEMU_QMP_SOCKET "qmp.sock"
#define QEMU_SERIAL     "serial"
#define QEMU_SERIAL_IN  QEMU_SERIAL ".in"  /* FIFO: what the guest reads */
#define QEMU_SERIAL_OUT QEMU_SERIAL ".out" /* symbolic link to /dev/null: the log has the output */

/* Remove what the driver made below run_dir; it may not be there. */
void qemu_names_remove(const char *run_dir);

#endif
