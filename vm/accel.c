/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/accel.c - find out by trying whether KVM runs guests here
 *
 * How it works: a child process gives KVM a guest of 2 MiB that starts as a kernel does, in 32-bit protected
 * mode without paging, enters long mode by itself, runs a loop of stores and reports through a port. A
 * /dev/kvm that opens and makes virtual machines proves little: where the processor's own support is
 * missing, the code may be interpreted one instruction after the other (about two million a second, so that
 * a kernel never gets to its first message) or not go on at all. So the loop is long enough to need more
 * than the time limit at such a speed, while real hardware takes milliseconds and a guest inside an
 * emulated one a few tenths of a second. The child is killed at the limit, since a virtual CPU that hangs
 * cannot be asked to return.
 */
#include "vm/accel.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/proc.h"

enum {
	PROBE_LIMIT_MS = 2000,
	PROBE_ASKED_MS =
		20000, /* when KVM was asked for by name: a busy host is no reason to refuse then */
	PROBE_KILL_MS = 2000, /* how long a killed vCPU thread may take to go */
	PROBE_MEMORY = 2 << 20,
	PROBE_PORT = 0xf4,
	CPUID_MAX = 256, /* entries; KVM's own limit */
	/* Guest memory; code and tables as the bytes of guest_code[] know them. */
	AT_CODE = 0x1000,
	AT_PML4 = 0x2000,
	AT_PDPT = 0x3000,
	AT_PD = 0x4000,
	AT_GDT = 0x5000,
	TSC_SAMPLE_NS = 10 * 1000 * 1000,
	TSC_TRIES = 5,
};

/* Where a child stopped; its exit status. */
enum probe_end {
	PROBE_RUNS,
	PROBE_NO_VM,
	PROBE_NO_MEMORY,
	PROBE_NO_VCPU,
	PROBE_NO_STATE,
	PROBE_RUN_FAILED,
	PROBE_BAD_EXIT,
	PROBE_END_COUNT
};

static const char *const probe_end_text[] = {
	[PROBE_RUNS] = "runs",
	[PROBE_NO_VM] = "makes no virtual machine",
	[PROBE_NO_MEMORY] = "takes no memory for a guest",
	[PROBE_NO_VCPU] = "makes no virtual CPU",
	[PROBE_NO_STATE] = "refuses a virtual CPU's initial state",
	[PROBE_RUN_FAILED] = "fails to run a virtual CPU",
	[PROBE_BAD_EXIT] = "does not run 64-bit code correctly",
};
_Static_assert(sizeof(probe_end_text) / sizeof(*probe_end_text) == PROBE_END_COUNT,
	       "a text for each end");

/* clang-format off */
static const uint8_t guest_code[] = {
	/* 32-bit protected mode */
	0xb8, 0x20, 0x00, 0x00, 0x00,                   /* mov eax, CR4.PAE             */
	0x0f, 0x22, 0xe0,                               /* mov cr4, eax                 */
	0xb8, 0x00, 0x20, 0x00, 0x00,                   /* mov eax, AT_PML4             */
	0x0f, 0x22, 0xd8,                               /* mov cr3, eax                 */
	0xb9, 0x80, 0x00, 0x00, 0xc0,                   /* mov ecx, MSR_EFER            */
	0x0f, 0x32,                                     /* rdmsr                        */
	0x0d, 0x00, 0x01, 0x00, 0x00,                   /* or eax, EFER.LME             */
	0x0f, 0x30,                                     /* wrmsr                        */
	0x0f, 0x20, 0xc0,                               /* mov eax, cr0                 */
	0x0d, 0x01, 0x00, 0x00, 0x80,                   /* or eax, CR0.PG | CR0.PE      */
	0x0f, 0x22, 0xc0,                               /* mov cr0, eax                 */
	0xea, 0x30, 0x10, 0x00, 0x00, 0x08, 0x00,       /* jmp 8:0x1030                 */
	/* 0x1030: 64-bit mode */
	0x48, 0xc7, 0xc1, 0x40, 0x4b, 0x4c, 0x00,       /* mov rcx, 5000000             */
	0x48, 0x89, 0x0c, 0x25, 0x00, 0x90, 0x00, 0x00, /* again: mov [0x9000], rcx     */
	0x48, 0xff, 0xc9,                               /* dec rcx                      */
	0x75, 0xf3,                                     /* jnz again                    */
	0x48, 0xb8, 0, 0, 0, 0, 0x2a, 0, 0, 0,          /* mov rax, 42 << 32            */
	0x48, 0xc1, 0xe8, 0x20,                         /* shr rax, 32                  */
	0xe6, PROBE_PORT,                               /* out PROBE_PORT, al           */
	0xf4,                                           /* hlt                          */
};
/* clang-format on */
enum {
	GUEST_ANSWER = 42,
};
_Static_assert(AT_CODE + 48 == 0x1030, "the far jump's target");

/* Put a value of 64 bits into guest memory. */
static void put64(uint8_t *memory, size_t at, uint64_t value)
{
	memcpy(memory + at, &value, sizeof(value));
}

static uint8_t *guest_memory(int vm)
{
	struct kvm_userspace_memory_region region = {.memory_size = PROBE_MEMORY};
	const int prot = PROT_READ | PROT_WRITE;
	uint8_t *memory;

	/* cppcheck-suppress invalidFunctionArg ; -1 is right for memory without a file */
	memory = mmap(NULL, PROBE_MEMORY, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	region.userspace_addr = (uintptr_t)memory;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return NULL;
	memcpy(memory + AT_CODE, guest_code, sizeof(guest_code));
	put64(memory, AT_PML4, AT_PDPT | 3); /* present, writable */
	put64(memory, AT_PDPT, AT_PD | 3);
	put64(memory, AT_PD, 0x83);                    /* 2 MiB page at 0 */
	put64(memory, AT_GDT + 8, 0x00af9a000000ffff); /* 64-bit code */
	put64(memory, AT_GDT + 16, 0x00cf92000000ffff);
	return memory;
}

/* All that KVM can offer; without it the guest has no long mode. Memory is static: no malloc() in the child. */
static int guest_cpuid(int kvm, int vcpu)
{
	static union {
		struct kvm_cpuid2 head;
		uint8_t room[sizeof(struct kvm_cpuid2) +
			     CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;

	cpuid.head.nent = CPUID_MAX;
	return ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 ||
			       ioctl(vcpu, KVM_SET_CPUID2, &cpuid) < 0
		       ? -1
		       : 0;
}

/* Flat segments and protection on: what a boot loader by the PVH protocol hands to a kernel. */
static int guest_state(int vcpu)
{
	struct kvm_segment code = {.limit = 0xffffffff,
				   .selector = 8,
				   .type = 11,
				   .present = 1,
				   .db = 1,
				   .s = 1,
				   .g = 1};
	struct kvm_segment data = {.limit = 0xffffffff,
				   .selector = 16,
				   .type = 3,
				   .present = 1,
				   .db = 1,
				   .s = 1,
				   .g = 1};
	struct kvm_regs regs = {.rip = AT_CODE, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = AT_GDT;
	sregs.gdt.limit = 3 * 8 - 1;
	sregs.cr0 |= 1; /* PE */
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return -1;
	return 0;
}

static enum probe_end guest_run(int kvm, int vcpu)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run;
	int r;

	if (size < (int)sizeof(*run))
		return PROBE_NO_VCPU;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return PROBE_NO_VCPU;
	do
		r = ioctl(vcpu, KVM_RUN, 0);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return PROBE_RUN_FAILED;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PROBE_PORT ||
	    *((const uint8_t *)run + run->io.data_offset) != GUEST_ANSWER)
		return PROBE_BAD_EXIT;
	return PROBE_RUNS;
}

/* All of the child; nothing but system calls, since other threads of the parent may hold locks. */
static enum probe_end probe_child(int kvm)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int vcpu;

	if (vm < 0)
		return PROBE_NO_VM;
	if (!guest_memory(vm))
		return PROBE_NO_MEMORY;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return PROBE_NO_VCPU;
	if (guest_cpuid(kvm, vcpu) < 0 || guest_state(vcpu) < 0)
		return PROBE_NO_STATE;
	return guest_run(kvm, vcpu);
}

/* Wait for the child, end it at the limit. Return: 0 with its exit status; -ETIMEDOUT. */
static int probe_wait(int pidfd, int limit_ms, int *ret_status)
{
	struct deadline limit = deadline_in(limit_ms, -1);
	struct deadline grace;
	int r = proc_wait(pidfd, &limit);

	if (r < 0) {
		r = -ETIMEDOUT;
		(void)proc_kill(pidfd, SIGKILL); /* the wait below tells whether it went */
		grace = deadline_in(PROBE_KILL_MS, -1);
		if (proc_wait(pidfd, &grace) < 0) {
			log_warning("the KVM probe's process does not end, ignoring");
			return r;
		}
	}
	proc_reap(pidfd, ret_status);
	return r;
}

/* Does KVM run guests? @why says so, or why not. */
static bool kvm_works(int limit_ms, char *why, size_t size)
{
	int64_t begin = clock_ms();
	AUTO_FD pidfd = -1;
	AUTO_FD kvm = -1;
	int status = -1;
	pid_t pid;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		(void)snprintf(why, size, "/dev/kvm cannot be opened (%s)", err_name(errno));
		return false;
	}
	pid = fork();
	if (pid == 0)
		_exit((int)probe_child(kvm));
	if (pid > 0)
		pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		if (pid > 0)
			(void)kill(pid, SIGKILL); /* it ends by itself at the latest with us */
		(void)snprintf(why, size, "KVM could not be tried (%s)", err_name(errno));
		return false;
	}
	if (probe_wait(pidfd, limit_ms, &status) < 0) {
		(void)snprintf(
			why, size,
			"KVM is there, but a test guest of 15 million instructions was not through "
			"after %d s: KVM hangs or only emulates here",
			limit_ms / 1000);
		return false;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) >= PROBE_END_COUNT)
		(void)snprintf(why, size, "KVM could not be tried: its test process crashed");
	else if (WEXITSTATUS(status) != PROBE_RUNS)
		(void)snprintf(why, size, "KVM %s", probe_end_text[WEXITSTATUS(status)]);
	else
		(void)snprintf(why, size, "KVM ran a 64-bit test guest in %lld ms",
			       (long long)(clock_ms() - begin));
	return WIFEXITED(status) && WEXITSTATUS(status) == PROBE_RUNS;
}

/* Every driver asks, and a KVM that hangs takes its time: it is tried once. Before there are threads. */
static bool kvm_tried(int limit_ms, char *why, size_t size)
{
	static char found[200];
	static bool works;

	if (!found[0])
		works = kvm_works(limit_ms, found, sizeof(found));
	(void)snprintf(why, size, "%s", found);
	return works;
}

int accel_choose(enum vm_accel want, enum vm_accel *ret_accel, char *why, size_t why_size,
		 struct err *e)
{
	char found[200];

	if (want == VM_ACCEL_TCG) {
		(void)snprintf(why, why_size, "TCG was asked for");
		*ret_accel = VM_ACCEL_TCG;
		return 0;
	}
	if (kvm_tried(want == VM_ACCEL_KVM ? PROBE_ASKED_MS : PROBE_LIMIT_MS, found,
		      sizeof(found))) {
		(void)snprintf(why, why_size, "%s", found);
		*ret_accel = VM_ACCEL_KVM;
		return 0;
	}
	if (want == VM_ACCEL_KVM)
		return err_set(e, ENOTSUP,
			       "%s; load the kvm_intel or kvm_amd module, let this user open "
			       "/dev/kvm, or use --accel tcg",
			       found);
	(void)snprintf(why, why_size, "%s", found);
	*ret_accel = VM_ACCEL_TCG;
	return 0;
}

/* One reading of both clocks, the closest together of a few. Return: the counter. */
static uint64_t tsc_read(int64_t *ret_ns)
{
	uint64_t best = UINT64_MAX;
	uint64_t counter = 0;

	for (int i = 0; i < TSC_TRIES; i++) {
		struct timespec ts;
		uint64_t before = __rdtsc();
		uint64_t apart;

		(void)clock_gettime(CLOCK_MONOTONIC_RAW, &ts); /* cannot fail for this clock */
		apart = __rdtsc() - before;
		if (apart < best) {
			best = apart;
			counter = before + apart / 2;
			*ret_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
		}
	}
	return counter;
}

uint32_t accel_tsc_khz(void)
{
	const struct timespec sample = {.tv_nsec = TSC_SAMPLE_NS};
	int64_t begin_ns = 0;
	int64_t end_ns = 0;
	uint64_t begin = tsc_read(&begin_ns);
	uint64_t ticks;

	(void)nanosleep(&sample, NULL); /* woken early only makes the sample shorter */
	ticks = tsc_read(&end_ns) - begin;
	if (end_ns - begin_ns < TSC_SAMPLE_NS / 10)
		return 0;
	return (uint32_t)(ticks * 1000000 / (uint64_t)(end_ns - begin_ns));
}
