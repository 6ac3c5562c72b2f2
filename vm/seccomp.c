/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/seccomp.c - the filter under which a QEMU cannot punch holes into files
 *
 * How it works: QEMU gives memory back that a guest put into its balloon with fallocate(FALLOC_FL_PUNCH_HOLE) on the file
 * behind that memory. Where that file is saved memory, mapped privately by several guests, one of them would so
 * destroy the memory of all others: it chooses the pages. So every mode of fallocate() that changes what is in a file is
 * refused, and the other ways to the same: MADV_REMOVE, io_uring, and the numbers of the x32 system calls.
 * The answer is EOPNOTSUPP, as of a file system that has no holes: for a disk the block layer then writes zeroes
 * instead; EPERM would reach the guest as a failed disk and stop it.
 */
#include "vm/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCH    AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000
#elif defined(__aarch64__)
#define ARCH    AUDIT_ARCH_AARCH64
#define X32_BIT 0x40000000 /* none has it */
#else
/* cppcheck-suppress preprocessorErrorDirective ; it knows of no architecture */
#error "which audit architecture is this?"
#endif

/* The low half of an argument, on a little-endian machine. */
#define ARG(n) ((unsigned)offsetof(struct seccomp_data, args[n]))

int seccomp_no_punch(void *arg)
{
	/* clang-format off */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), /* its numbers mean other calls */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 8, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 7, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(1)),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (unsigned)~FALLOC_FL_KEEP_SIZE, 5, 3),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(2)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_REMOVE, 2, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
	};
	/* clang-format on */
	struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

	(void)arg;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return -errno;
	return 0;
}
