/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/manifest.h - what saved memory fits to, as a JSON file beside it; private to vm/
 *
 * The same file, without files of its own, lies in the run directory of a VM: what runs there was started as it
 * says, whatever has been installed or set since.
 */
#ifndef SBXFS_VM_MANIFEST_H
#define SBXFS_VM_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "vm/vm.h"

#define MANIFEST_NAME "manifest"

enum {
	MANIFEST_FORMAT = 1,
	MANIFEST_FILES_MAX = 4,
};

struct manifest_file {
	char name[32];
	uint64_t bytes;
	char digest[DIGEST_HEX_SIZE]; /* "": not kept, as of memory: it takes too long */
};

/* Texts are "" where there is nothing to say. */
struct manifest {
	char driver[32];
	char version[64]; /* of the VMM with its package */
	char accel[8];
	char machine[64];
	char cpu[192]; /* under KVM the host's: model name and a digest of its flags */
	unsigned vcpus;
	uint64_t memory_mib;
	uint32_t tsc_khz;  /* under TCG: a guest goes on counting with the host's; 0: not known */
	char devices[256]; /* in their order, with blanks between */
	char net[8];
	char template[192]; /* NAME@DIGEST12: only to know, it need not fit */
	char memory[16];    /* how the driver keeps the memory; a word of its own */
	struct manifest_file files[MANIFEST_FILES_MAX];
	unsigned file_count;
};

/* Set all that @spec and its host tell; machine, devices, memory and files are the driver's to add. */
void manifest_fill(struct manifest *m, const struct vm_spec *spec);

/**
 * manifest_add_file() - Note a file's length, and its digest for one that is small
 * @name: a file that lies beside the manifest, complete
 * Return: 0; negative errno.
 */
int manifest_add_file(struct manifest *m, int dirfd, const char *name, bool with_digest,
		      struct err *e);

/* Write it as @name in @dirfd, durably. Return: 0; -ENOSPC, -EIO, … */
int manifest_write(const struct manifest *m, int dirfd, const char *name, struct err *e);

/* Return: 0; -ENOENT there is none; -EBADMSG damaged; -ENOTSUP a later program wrote it. */
int manifest_read(int dirfd, const char *name, struct manifest *ret, struct err *e);

/**
 * manifest_compare() - Does what was saved go on in what would be started here?
 * Return: 0; -ENOTSUP with the first thing that differs.
 */
int manifest_compare(const struct manifest *saved, const struct manifest *here, struct err *e);

/* Are the files there as they were noted? Return: 0; -EBADMSG which is not; negative errno. */
int manifest_check_files(const struct manifest *m, int dirfd, struct err *e);

#endif
