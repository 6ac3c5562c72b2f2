/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/drop.h - taking slots down */
#ifndef SBXFS_NET_DROP_H
#define SBXFS_NET_DROP_H

#include <stdbool.h>

#include "base/deadline.h"
#include "base/err.h"
#include "net/side.h"
#include "net/slot.h"
#include "net/track.h"

/* As slot_driver.down_all(). */
void drop_slots(struct slot *const *s, unsigned count, const struct deadline *d, int *ret_rcs,
		struct err *errs);

/**
 * drop_forget() - What the host knows of connections does not outlive the guest: its address comes again
 * Return: 0, also when the kernel tells nobody of connections; negative errno.
 */
int drop_forget(const struct track_ends *ends, size_t count, struct err *e);

/* Of the slot with this index. */
struct track_ends drop_ends(const struct net_side *h, uint32_t index);

/**
 * drop_begin() - Cut a slot off, take its name away, close its descriptors
 * @s:            index and serial set; with a netns_fd it is known to be ours, otherwise that is found out
 * @ret_has_link: there is a link of ours that will go: drop_wait(), without the lock
 * Return: 0; negative errno.
 */
int drop_begin(struct net_side *h, struct slot *s, bool *ret_has_link, struct err *e);

/**
 * drop_wait() - Wait for the host's link to go after its namespace was dropped; delete it if it does not
 * @watch_fd: from nlr_watch_open(), opened before drop_begin()
 * Context: takes the lock.
 * Return: 0 when it is gone; negative errno.
 */
int drop_wait(int watch_fd, const char *name, const struct deadline *d, struct err *e);

/* All that is ours and whose serial is not wanted. Takes the lock. Return: number removed; negative errno. */
int drop_unwanted(bool (*wanted)(uint32_t serial, void *arg), void *arg, struct err *e);

#endif
