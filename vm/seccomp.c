/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/seccomp.c - the filter under which a QEMU cannot punch holes into files
 *
 * How it works: QEMU gives memory back that a guest put into its balloon with
 * fallocate(FALLOC_FL_PUNCH_HOLE) on the file behind that memory. Where that file is a saved memory image
 * mapped privately by several clones, one guest would so destroy the memory of all others. The answer is
 * EOPNOTSUPP, as of a file system that has no holes: the block layer then writes zeroes instead of
 * discarding; EPERM would reach the guest as a failed disk and stop it.
 */
#include "vm/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum {
	/* The low half of fallocate's second argument, on a little-endian machine. */
	MODE_AT = offsetof(struct seccomp_data, args[1]),
};

int seccomp_no_punch(void *arg)
{
	/* clang-format off */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), /* its numbers mean other calls */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, MODE_AT),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FALLOC_FL_PUNCH_HOLE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
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
