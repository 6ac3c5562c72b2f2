/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/name.h - the names that a slot has in the kernel, and how ours are told from others' */
#ifndef SBXFS_NET_NAME_H
#define SBXFS_NET_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "net/slot.h"

enum {
	INSTANCE_LEN = 4,
	ALIAS_SIZE = 32, /* "sbxfs/abcd/4294967295" and a NUL, with room */
};

#define NETNS_DIR "/run/netns"

/* The link on the host, and the namespace below NETNS_DIR: sbx<instance><serial in base 36>. */
const char *slot_name(const char *instance, uint32_t serial, char ret_name[SLOT_NAME_SIZE]);

/* What the links of a slot say about themselves (IFLA_IFALIAS): sbxfs/<instance>/<serial>. */
const char *slot_alias(const char *instance, uint32_t serial, char ret_alias[ALIAS_SIZE]);

/* Is @name exactly what slot_name() gives for some serial? Then @ret_serial is that one. */
bool slot_name_parse(const char *instance, const char *name, uint32_t *ret_serial);

/* 4 characters of a-z2-7. */
bool instance_is_valid(const char *instance);

/* The instance as a number of 20 bits, for where no text fits. */
uint32_t instance_bits(const char *instance);

#endif
