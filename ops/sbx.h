/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/sbx.h - what a sandbox is, its states, and the locks of ops/
 *
 * Locks, in the order in which they may be taken:
 *   registry lock (registry.c)   names and serials to sandboxes
 *   template lock (template.c)   the list of templates and each one's current version
 *   lane lock (lane.c)           every lane's queue and running job, and the pool's list of work
 *   sbx->lock                    the fields marked [lock] below: what readers show
 *   event lock (event.c)         the ring of events; before it, with no other, the lock of their log is held over a write()
 *   slot locks (slots-keep.c, slots.c)  who has which network slot
 * None is held over a call that can block for longer than memory takes; no callback is called under one.
 *
 * save_lock (record.c) is held over the whole of a save, so it is taken before any of these; snapshot_lock
 * (snapshot.c) over a change of the snapshots on disk and in memory, before save_lock.
 *
 * The fields marked [turn] belong to whoever has the sandbox's turn: the one lifecycle job that runs,
 * or recovery before there are any. Aside jobs read them only through sbx_running_guest().
 */
#ifndef SBXFS_OPS_SBX_H
#define SBXFS_OPS_SBX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/deadline.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/proc.h"
#include "guest/guest.h"
#include "net/egress.h"
#include "net/slot.h"
#include "ops/config.h"
#include "ops/lane.h"

enum sbx_state {
	SBX_CREATED, /* defined, never started: no data */
	SBX_RUNNING,
	SBX_FROZEN,  /* vCPUs stopped, nothing released */
	SBX_PAUSED,  /* memory saved, VM and network released */
	SBX_STOPPED, /* disk kept */
	SBX_ERROR, /* something would not be undone, or the VM crashed; the reason is in last_error, exit_reason */
	SBX_STARTING,
	SBX_PAUSING,
	SBX_RESUMING,
	SBX_STOPPING,
	SBX_DESTROYING,
	SBX_STATE_COUNT
};

/* A set of states, for verb tables. */
#define IN(state) (1u << (state))

/* "created" … */
const char *sbx_state_name(enum sbx_state state);
int sbx_state_parse(const char *name, enum sbx_state *ret); /* 0; -EINVAL */

/* Who wrote a command, as the kernel told with the request. */
struct writer {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* thread id; 0 when it cannot be seen */
	unsigned group_count;
	gid_t groups[64]; /* supplementary */
};

/* A guest's memory and devices, saved: what goes with the directory that a VMM's driver wrote them to; ops/memory.h. */
struct memory_saved {
	char dir[16]; /* below the directory of whose it is; "": there is none */
	char vmm[24]; /* the driver that wrote it */
	char net[8];  /* the kind of network that the guest had */
	unsigned vcpus;
	uint64_t mib;
	char token[GUEST_TOKEN_SIZE]; /* that its agent obeys */
	bool foreign; /* saved of another sandbox, or before this one was made: its identity is made new when it goes on */
	bool shared;  /* its memory is to be mapped privately rather than copied */
	bool stale;   /* its disk has been written to since: it must not go on */
};

/* What tells whether a data file has been written to. */
struct data_stamp {
	uint64_t bytes;
	int64_t mtime_ns; /* 0: there is nothing to compare with, so it may have been */
};

/* What has gone through its network, as the guest sees it; ops/sampler.h. */
struct traffic {
	bool known;                  /* it has had a slot that counts */
	uint64_t rx_bytes, tx_bytes; /* over all slots */
	uint32_t slot;               /* serial of the last, … */
	uint64_t slot_rx, slot_tx;   /* … and what that had counted at the last look */
};

struct forward;
struct snapshot;
struct volume;
struct volume_driver;
struct vm;
struct vm_driver;
struct template_version;

/* What the daemon does by itself; a bit each. */
enum {
	POLICY_RESTART = 1u << 0,
	POLICY_IDLE = 1u << 1,
	POLICY_AGE = 1u << 2,
	POLICY_HEALTH = 1u << 3,
};

/* Somebody who waits for a change of a sandbox: an eventfd that each change adds to. */
struct sbx_waiter {
	int fd; /* borrowed */
	struct sbx_waiter *next;
};

struct sbx {
	atomic_uint refs; /* registry.c */
	uint32_t serial;  /* never reused; constant */
	char *dir;        /* its directory below the state directory, absolute; constant; owned */
	struct lane lane;
	struct sbx *name_next; /* [registry] in its name's bucket */
	bool listed;           /* [registry] found by its name */
	bool hidden; /* of the daemon's own: in no listing, without events; constant; warm.h */

	pthread_mutex_t
		snapshot_lock; /* snapshot.c: one change of what snapshots there are at a time */
	pthread_mutex_t save_lock; /* record.c: one save at a time */
	pthread_mutex_t lock;
	char name[NAME_MAX_LEN + 1]; /* [lock] */
	enum sbx_state state;        /* [lock] */
	unsigned
		change; /* [lock] counts changes of state, status or config: what poll() compares */
	uid_t uid;      /* [lock] owner */
	gid_t gid;      /* [lock] */
	mode_t mode;    /* [lock] permission bits of the directory */
	struct config config; /* [lock]; changed only with the turn */
	char template_pin[NAME_MAX_LEN + 1 +
			  13]; /* [lock] NAME@DIGEST12 since the first start, "" before */
	char data_dir
		[16]; /* [lock], changed with the turn; of its disk's data, below dir: data.h; "" for dir itself */
	uint64_t
		data_mib; /* [lock], changed with the turn; the largest disk that its data was one of; 0: not known */
	struct memory_saved
		memory; /* [lock], changed with the turn; of a paused one, or one in error: ops/memory.h */
	struct forward *
		ports; /* [lock], changed with the turn; of the host that lead to its guest; ports.h; owned */
	struct traffic traffic;                 /* [lock] */
	size_t port_count;                      /* [lock] */
	struct snapshot *snapshots;             /* [lock] oldest first; snapshot.h; owned */
	char snapshot_parent[NAME_MAX_LEN + 1]; /* [lock] the one that it goes on from; "" none */
	char cloning
		[40]; /* [lock] what it is on its way for as long as that is there; "": it is no clone, or real; clone.h */
	int64_t created_ms, started_ms, active_ms; /* [lock] wall clock, 0: never */
	struct {
		unsigned queued;       /* POLICY_… that a job is queued for */
		int64_t touched_ms;    /* clock_ms(): as active_ms, and when it began to run */
		int64_t up_ms;         /* when it began to run; 0: it does not */
		int64_t due_ms;        /* clock_ms(): when the thread looks at it again */
		int64_t not_before_ms; /* what failed is not tried again before this */
		int64_t restart_at_ms; /* 0: no restart is planned */
		uint64_t tries;        /* restarts in a row without a good run */
		uint64_t restarts;     /* all that there were */
		int64_t health_ms;     /* when it was asked last how it is */
		unsigned health_fails; /* in a row */
		bool unhealthy;
	} policy;             /* [lock] policy.h; times by clock_ms() */
	char exit_reason[32]; /* [lock] "" while it runs for the first time */
	char last_error[512]; /* [lock] */
	struct {
		uint64_t id; /* 0: there was none */
		char verb[24];
		enum job_shown { JOB_RUNNING, JOB_QUEUED, JOB_DONE, JOB_FAILED } state;
		int64_t since_ms;
	} job;                        /* [lock] the last lifecycle command */
	struct guest_facts facts;     /* [lock] */
	char token[GUEST_TOKEN_SIZE]; /* [lock] "" until the first start */
	struct slot
		shown; /* [lock] copy of slot for readers, descriptors -1; host_ip "" when there is none */
	struct proc_id shown_vm; /* [lock] pid 0 when there is none */
	struct egress
		egress; /* [lock] what its slot was told last, and what that has counted; net.h */
	uint32_t egress_serial;                   /* [lock] of that slot; 0: there was none */
	uint64_t cow_used_bytes, cow_total_bytes; /* [lock] 0: not known */
	uint64_t mem_used_bytes;                  /* [lock] 0: not known */
	struct sbx_waiter *waiters;               /* [lock] */
	bool recovering; /* [lock] whether an earlier daemon's guest goes on is being found out */
	int console_fd;  /* [lock] the guest's serial line, for input; -1: none; owned */
	bool gone;       /* [lock] its name is free again; the teardown goes on under the serial */

	bool held;       /* [turn] its guest holds its file systems, and nobody told it to let go */
	bool was_frozen; /* [turn] its record says that its vCPUs were stopped */
	bool was_up;     /* [turn] its record says that it ran, its agent having answered */
	uint32_t
		made_as; /* [turn] the serial in the names of what its steps hold: its own, unless it was taken from the pool; pool.h */
	bool damaged;   /* its record could not be read; constant; nothing but destroy touches it */
	unsigned level; /* [turn] steps [0, level) may hold something; ops/journal.h */
	const struct volume_driver
		*store;        /* [lock] of its data, changed with the turn; NULL: it has none */
	struct volume *volume; /* [turn] */
	struct slot slot;      /* [turn] index 0xffffffff: none */
	uint64_t slot_bps;     /* [turn] that it is limited to; UINT64_MAX: not known; net.c */
	bool slot_ports;       /* [turn] perhaps ports lead to it */
	struct vm *vm;         /* [turn] */
	const struct vm_driver *vmm; /* [lock] of its VM, changed with the turn; NULL: not chosen */
	bool resumed; /* [turn] the saved memory of its record has gone on: the disk may have changed since; journal.h */
	struct data_stamp resumed_data; /* [turn] its data just before that */
	bool moved; /* [turn] its attached disk's data is still in moved_from: the record names other data already; snapshot-place.c */
	char moved_from[16]; /* [turn] */
	bool warm; /* [turn] s->memory is for this start alone, from its template: not in its record; warm.h */
	bool pausing; /* [turn] its slot lets nobody in, its guest was made small; journal.h */
	pthread_mutex_t
		vm_use; /* held by an aside that talks to the VMM: agent_down() waits for it */
	struct proc_id vm_id;    /* [turn] */
	uint64_t promised_mib;   /* [turn] memory counted for it in host.c */
	uint64_t promised_bytes; /* disk counted for it: room-space.c */
	struct template_version
		*version;      /* [turn] what it starts from; NULL: not looked up; owned */
	int watch_fd;          /* [turn] watch.c's own pidfd of the VM; -1: not watched */
	int64_t console_start; /* [turn] length of console.log when this start began */
	void *unknown; /* [turn] members of its record that this version does not know; record.c */
};

/* Take and drop a reference. sbx_put() takes NULL. */
struct sbx *sbx_get(struct sbx *s);
void sbx_put(struct sbx *s);

/**
 * sbx_set_state() - The one setter: checks, counts the change, tells listeners, writes an event
 * Context: without locks.
 */
void sbx_set_state(struct sbx *s, enum sbx_state state);

enum sbx_state sbx_state(struct sbx *s);

/* Its name at this moment: a rename does not wait for anybody's turn. */
void sbx_name(struct sbx *s, char ret_name[NAME_MAX_LEN + 1]);

/**
 * sbx_open() - Open a file of its directory below the state directory
 * @name: "." for the directory itself
 * Return: a descriptor, O_CLOEXEC and O_NOFOLLOW; -1 with errno.
 */
int sbx_open(const struct sbx *s, const char *name, int flags);

/* Something that status shows has changed: count it and tell listeners. Without locks. */
void sbx_changed(struct sbx *s);

/* It was used: resets the idle timer. */
void sbx_touch(struct sbx *s);

/**
 * sbx_template() - The version of a template that it was begun from, or would be now
 * @ret: what template_version_find() fills; to be given to template_version_done()
 * Return: 0; -ENOENT with how to make it.
 */
int sbx_template(struct sbx *s, struct template_version *ret, struct err *e);

/**
 * sbx_wait() - Wait until something that status shows of it is so
 * @is_so: asked at once and after each change, without locks
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EMFILE or -ENFILE. Fills no error: the caller knows what it waited for.
 */
int sbx_wait(struct sbx *s, bool (*is_so)(struct sbx *s, const void *arg), const void *arg,
	     const struct deadline *d);

/* Register and forget a waiter; its descriptor is signalled once at the beginning. */
void sbx_wait_add(struct sbx *s, struct sbx_waiter *w);
void sbx_wait_remove(struct sbx *s, struct sbx_waiter *w);

/* Record why something failed, for status; NULL clears. */
void sbx_set_error(struct sbx *s, const char *text);

/* The store of its data, or the one that would be used; NULL when this host has none. */
const struct volume_driver *sbx_store(struct sbx *s);

/* How to reach its agent, with the turn; borrows from @s. */
struct guest sbx_agent(const struct sbx *s);

/**
 * sbx_running_guest() - How to reach the agent of a running sandbox
 * @addr, @token: filled; the guest borrows them
 * Return: 0; -EBUSY frozen; -EHOSTDOWN otherwise, with the state in @e.
 */
int sbx_running_guest(struct sbx *s, char addr[SLOT_ADDR_SIZE], char token[GUEST_TOKEN_SIZE],
		      struct guest *ret, struct err *e);

/**
 * sbx_console_write() - Input to the guest's serial line
 * Context: does not block; what the guest does not take at once is refused.
 * Return: number of bytes taken; -EHOSTDOWN not running; -EBUSY frozen; -EAGAIN the guest does not read.
 */
int sbx_console_write(struct sbx *s, const void *data, size_t len, struct err *e);

/* Where what is kept of a console.log begins: older output is cut off by a hole. @fd: the log. */
off_t sbx_console_begin(int fd);

/* Everything that status, .ps and metrics show, taken at one moment. */
struct sbx_view {
	uint32_t serial;
	char name[NAME_MAX_LEN + 12]; /* NAME, or NAME~SERIAL when gone */
	enum sbx_state state;
	unsigned change;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	char id[16]; /* instance-serial, such as "ab2x-1f" */
	char template_name[NAME_MAX_LEN + 1 + 13];
	const char *vmm, *accel, *storage, *network; /* static; "" when it has none now */
	unsigned vcpus;
	uint64_t memory_mb, disk_mb;
	pid_t pid; /* 0: none */
	char host_ip[SLOT_ADDR_SIZE], guest_ip[SLOT_ADDR_SIZE], gateway[SLOT_ADDR_SIZE];
	char mac[SLOT_MAC_SIZE], netns[64];
	int64_t created_ms, started_ms, active_ms;
	unsigned timeout_sec, restart_count;
	char exit_reason[32], health[16];
	struct guest_facts facts;
	const char *vmm_version;
	uint64_t cow_used_bytes, cow_total_bytes, mem_used_bytes; /* 0: not known */
	struct traffic traffic;
	char job[96]; /* "" or "ID VERB STATE since=TIME" */
	char last_error[512];
	char token[GUEST_TOKEN_SIZE];
};

/* Bounded time, from memory only. */
void sbx_view(struct sbx *s, struct sbx_view *ret);

#endif
