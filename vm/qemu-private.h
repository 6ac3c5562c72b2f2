/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-private.h - the QEMU driver's parts, for vm/qemu*.c alone */
#ifndef SBXFS_VM_QEMU_PRIVATE_H
#define SBXFS_VM_QEMU_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/deadline.h"
#include "base/err.h"
#include "vm/manifest.h"
#include "vm/qemu-argv.h"
#include "vm/qemu.h"
#include "vm/qmp.h"
#include "vm/vm.h"

/* How the last saving or loading ended. */
enum qemu_migration {
	QEMU_MIGRATION_NONE, /* not yet */
	QEMU_MIGRATION_COMPLETED,
	QEMU_MIGRATION_FAILED,
	QEMU_MIGRATION_CANCELLED,
};

enum {
	QEMU_RUN_DIR_SIZE = 96,
};

struct vm {
	struct vm_common common; /* first */
	char run_dir[QEMU_RUN_DIR_SIZE];
	struct manifest runs; /* what it was started as; vcpus 0: not known */
	pthread_mutex_t lock; /* guards qmp and what follows */
	struct qmp qmp;
	enum vm_end end;
	enum qemu_migration migration;
	atomic_uint said; /* a set of vm_said; without the lock */
};

/* A VM without a process. NULL: @e says why. */
struct vm *qemu_vm_new(const char *run_dir, struct err *e);

/* The driver's close(). */
void qemu_close(struct vm *vm);

static inline void cleanup_qemu(struct vm **vm)
{
	qemu_close(*vm);
}
#define AUTO_QEMU __attribute__((cleanup(cleanup_qemu))) struct vm *

struct qemu_status {
	bool running;   /* the vCPUs do */
	bool disk;      /* they stand because of the disk */
	bool migrating; /* its memory is being saved */
	bool migrated;  /* it was saved, or nearly, and did not go on since */
};

/* Ask QEMU. Context: with the lock. Return: 0; negative errno. */
int qemu_query(struct vm *vm, const struct deadline *d, struct qemu_status *ret, struct err *e);

/* Kill and reap. Return: 0, also when it had ended; negative errno. */
int qemu_end_process(int pidfd, const struct deadline *d, struct err *e);

/* vm/qemu-probe.c: the driver's probe(). */
int qemu_probe(enum vm_accel want, struct vm_host *ret, struct err *e);

/* vm/qemu-start.c: the driver's start(). */
int qemu_start(const struct vm_spec *spec, const struct deadline *d, struct vm **ret_vm,
	       struct err *e);

/* vm/qemu-save.c: the driver's save(). */
int qemu_save(struct vm *vm, const struct vm_saved *to, const struct deadline *d, struct err *e);

/* vm/qemu-saved.c: the driver's check_saved(). */
int qemu_check_saved(const struct vm_spec *spec, struct err *e);

/* vm/qemu-balloon.c: the driver's balloon(). */
int qemu_balloon(struct vm *vm, uint64_t keep_mib, const struct deadline *d, uint64_t *ret_mib,
		 struct err *e);

/* vm/qemu-forward.c: the driver's forward(). */
int qemu_forward(struct vm *vm, const struct vm_forward *list, size_t count,
		 const struct deadline *d, struct err *e);

/* Take what `info usernet` of QEMU says apart. Return: number of forwards, and @ret up to @max of them. */
size_t qemu_forward_parse(const char *text, struct vm_forward *ret, size_t max);

/* Files of saved memory, and the words for manifest.memory. */
#define QEMU_SAVED_STATE                                                                           \
	"state" /* QEMU's own stream: devices, and memory too where it is QEMU_MEMORY_STREAM */
#define QEMU_SAVED_MEMORY  "memory" /* the guest's, from address 0 on, sparse */
#define QEMU_MEMORY_FILE   "file"
#define QEMU_MEMORY_STREAM "stream"

/* vm/qemu-saved.c: what a QEMU for @spec is, as far as saved memory has to fit it. Return: 0; -EINVAL, -ENOMEM. */
int qemu_manifest(const struct vm_spec *spec, struct manifest *ret, struct err *e);

/* vm/qemu-saved.c: check_saved() with what is here and what was saved. */
int qemu_read_saved(const struct vm_spec *spec, const struct manifest *here, struct manifest *ret,
		    struct err *e);

/* vm/qemu-ram.c: a new memory file of the guest's size, whose length is sealed. Return: 0 and @ret_fd; negative errno. */
int qemu_ram_make(const struct vm_spec *spec, int *ret_fd, struct err *e);

/* vm/qemu-ram.c: the memory file of a QEMU that runs. Return: 0 and @ret_fd, read only; negative errno. */
int qemu_ram_open(const struct vm *vm, int *ret_fd, struct err *e);

/**
 * qemu_ram_save() - Copy a guest's memory into a new file, durably, blocks of zeroes left out
 * Return: 0; -ENOSPC; -ETIMEDOUT; -ECANCELED; -EIO, ….
 */
int qemu_ram_save(int ram, int dirfd, const struct deadline *d, struct err *e);

/* Copy saved memory into an empty memory file. Return: as before. */
int qemu_ram_load(int dirfd, int ram, const struct deadline *d, struct err *e);

/**
 * qemu_migration_prepare() - Tell QEMU how memory is saved or loaded
 * @ignore_shared: memory is not in the stream
 * Context: with the lock, like the next.
 */
int qemu_migration_prepare(struct vm *vm, bool ignore_shared, const struct deadline *d,
			   struct err *e);

/* Give a command that begins saving or loading through @uri, and wait for its end. Return: 0; -EIO; -ETIMEDOUT; -ECANCELED. */
int qemu_migration_run(struct vm *vm, const char *command, const char *uri,
		       const struct deadline *d, struct err *e);

/* Everything that a QEMU inherits, open in this process. */
struct qemu_files {
	int qmp, ram, kernel, initrd, disk, base, state; /* owned; -1: none */
	bool ram_private; /* ram is the saved file, never to be written */
	struct qemu_image disk_image, base_image;
};

/**
 * qemu_files_open() - Open kernel, initrd and disk or what is saved, make the memory, the control socket and the console's pipe
 * @saved: what is saved, NULL: boot
 * @ret: to be released with qemu_files_close(), on failure too
 * Return: 0; negative errno with what could not be opened.
 */
int qemu_files_open(const struct vm_spec *spec, const struct manifest *saved,
		    struct qemu_files *ret, struct err *e);
void qemu_files_close(struct qemu_files *f);

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
