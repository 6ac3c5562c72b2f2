/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/slot.h - one face for every kind of network: a slot is what one sandbox needs to be reached and to reach out
 *
 * A slot has an index, and everything about it follows from the index and the instance. Inside, every guest
 * has the same address, so that a saved memory image can go on in any slot.
 */
#ifndef SBXFS_NET_SLOT_H
#define SBXFS_NET_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"

enum {
	SLOT_AGENT_PORT =
		49983, /* TCP port of the guest agent, inside the guest; what agents of this protocol listen on */
	SLOT_ADDR_SIZE = 46, /* INET6_ADDRSTRLEN */
	SLOT_MAC_SIZE = 18,
	SLOT_NAME_SIZE = 16, /* IFNAMSIZ */
};

/* Everything but the descriptors is text for status files; all filled by up(). */
struct slot {
	uint32_t index;
	uint32_t serial; /* in its names: its own, no other slot or sandbox ever has it; 0: none */
	char host_ip[SLOT_ADDR_SIZE];    /* where the host reaches the guest */
	char agent_addr[SLOT_ADDR_SIZE]; /* where the host reaches the agent: address … */
	uint16_t agent_port;             /* … and port */
	char guest_ip[SLOT_ADDR_SIZE];   /* what the guest has */
	unsigned guest_prefix;           /* its prefix length */
	char gateway[SLOT_ADDR_SIZE];    /* the guest's default route */
	char dns[SLOT_ADDR_SIZE];        /* the guest's resolver; "" for none */
	char mac[SLOT_MAC_SIZE];         /* the guest's */
	char netns[64];                  /* how to enter it: a path below /run/netns, or "" */
	char link[SLOT_NAME_SIZE];       /* host side link, or "" */
	int netns_id;                    /* counters()' own; 0: not asked for yet */
	int netns_fd;                    /* -1: none; owned by the slot */
	int tap_fd;                      /* -1: none; owned by the slot */
};

/* What has gone through the guest's own link, as the guest sees it. */
struct slot_counters {
	uint64_t rx_bytes, rx_packets; /* received by the guest */
	uint64_t tx_bytes, tx_packets; /* sent by it */
};

struct egress;  /* net/egress.h */
struct forward; /* net/forward.h */

struct slot_driver {
	const char *name; /* "netns", "user" */
	bool is_user;     /* the VMM's own user-mode network is to be used (tap_fd is -1) */

	/**
	 * probe() - Can this kind of network work here? Changes nothing that stays.
	 * Return: 0 and @why, one line for .status; -ENOTSUP with what is missing.
	 */
	int (*probe)(char *why, size_t why_size, struct err *e);

	/**
	 * init() - Once, before the first up(): the host's own side (tables, forwarding), address pool
	 * @instance:     4 characters a-z2-7
	 * @address_pool: CIDR for the slots' addresses, as pool_parse() takes it; "" for one of the driver's own list. Not
	 *                heeded while slots of this instance are up, which keep theirs
	 * Return: 0 and @ret_total, the number of slots; -EIO; -EADDRINUSE no free address pool, or the route that overlaps it in @e.
	 */
	int (*init)(const char *instance, const char *address_pool, uint32_t *ret_total,
		    struct err *e);
	void (*done)(void); /* undo init() when no slot is up; leaves what others use */

	/**
	 * blocked() - Would rules of other programs on this host drop what guests send? Changes nothing; NULL: they cannot
	 * @ret: "" or one line: which rules, and the command that lets guests through
	 */
	void (*blocked)(char *ret, size_t size);

	/**
	 * up() - Build slot @index (0..total-1) for sandbox @serial
	 * @ret: filled on success
	 * Context: any thread (drivers serialise what must be).
	 * Owner:  @ret is the caller's until down(); a failed call leaves nothing.
	 * Return: 0; -EADDRINUSE this index is still in the kernel's hands, try another; -EIO; -ECANCELED; -ETIMEDOUT.
	 */
	int (*up)(uint32_t index, uint32_t serial, const struct deadline *d, struct slot *ret,
		  struct err *e);

	/**
	 * drain() - Wait until nobody has a connection through the slot, new ones being refused; cut what is left when @d is over
	 * Context: blocks; the slot is of no use for anything but the agent afterwards: down() follows, or undrain().
	 * Return: 0, also when connections were cut; -ECANCELED; -EIO.
	 */
	int (*drain)(const struct slot *s, const struct deadline *d, struct err *e);
	int (*undrain)(const struct slot *s, struct err *e); /* let connections in again */

	/**
	 * egress() - From now on the guest may send what @rules say, in place of what held before; all of it or nothing
	 * @rules: the defaults when it has none
	 * Return: 0; -ENOTSUP this kind of network cannot do it, with what it can in @e; -EIO; -ETIMEDOUT.
	 */
	int (*egress)(const struct slot *s, const struct egress *rules, const struct deadline *d,
		      struct err *e);
	/**
	 * egress_count() - Fill in how often each rule has been used; of those that egress() was given last, in their order
	 * @s: a copy without descriptors will do
	 * Context: does not wait for what up() and down() of others do.
	 * Return: 0; -ENOENT it is not there any more; another negative errno.
	 */
	int (*egress_count)(const struct slot *s, struct egress *rules, struct err *e);

	/**
	 * forward() - From now on these ports of the host lead to the guest, in place of those before; all of them or nothing changes
	 * @list: @count of them
	 * Return: 0; -EADDRINUSE somebody has one of them, named in @e; -ENOTSUP the VMM has to do it (vm.h); -EIO.
	 */
	int (*forward)(const struct slot *s, const struct forward *list, size_t count,
		       const struct deadline *d, struct err *e);

	/* At most so many bytes a second, each way; 0: no limit. Return: 0; -ENOTSUP; -EIO. */
	int (*limit)(const struct slot *s, uint64_t bytes_per_sec, const struct deadline *d,
		     struct err *e);

	/**
	 * counters() - What has gone through it since up() or recycle()
	 * @s: a copy without descriptors will do; what makes the next question cheaper is remembered in it
	 * Context: does not wait for what up() and down() of others do.
	 * Return: 0; -ENODEV it is not there any more; -ENOTSUP; another negative errno.
	 */
	int (*counters)(struct slot *s, struct slot_counters *ret, struct err *e);

	/**
	 * recycle() - Make it as up() left it, for another sandbox: no connection, rule, forward, limit or packet of the one before
	 * @s: its VM has ended
	 * It keeps index, serial and names; its descriptors may be others.
	 * Return: 0, verified; a negative errno: it is good for nothing but down().
	 */
	int (*recycle)(struct slot *s, const struct deadline *d, struct err *e);

	/**
	 * down() - Take it down; closes its descriptors
	 * @s: from up(), or with @index and @serial set and both descriptors -1 after a crash of the daemon
	 * Return: 0 when nothing is left, also when nothing was there; -EBUSY, -EIO: keep the slot as dirty.
	 */
	int (*down)(struct slot *s, const struct deadline *d, struct err *e);

	/* down() for @count of them, side by side: @ret_rcs and @ret_errs have what it would have returned of each. NULL: one by one. */
	void (*down_all)(struct slot *const *s, unsigned count, const struct deadline *d,
			 int *ret_rcs, struct err *ret_errs);

	/* Is it there, as up() left it? Asked in recovery with @index and @serial set; fills the text and opens the
	 * descriptors, but for a tap that the VMM still has: it takes one opener, and tap_fd is -1 then.
	 * Its guest's questions for names wait until egress() has said what it may ask for. */
	bool (*alive)(struct slot *s);

	/* Remove what bears this instance's name and whose serial is not wanted. Return: number removed; negative errno. */
	int (*sweep)(const char *instance, bool (*wanted)(uint32_t serial, void *arg), void *arg,
		     struct err *e);
};

/* All drivers, best first, NULL-terminated. */
extern const struct slot_driver *const slot_drivers[];

#endif
