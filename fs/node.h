/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/node.h - node ids: what the kernel calls a file or directory, packed so that nothing is stored for it */
#ifndef SBXFS_FS_NODE_H
#define SBXFS_FS_NODE_H

#include <stdint.h>

/* The values are part of node ids, which outlive the process: they are never changed or reused, and
 * stay below 8 so that st_ino is positive as a signed number too. */
enum node_kind {
	NODE_ROOT = 0,          /* the mount itself; as a kind of children: none */
	NODE_HOST_FILE = 1,     /* .ctl, …, and .templates */
	NODE_TEMPLATE = 2,      /* .templates/NAME */
	NODE_TEMPLATE_FILE = 3, /* below it */
	NODE_SBX = 4,           /* NAME */
	NODE_SBX_FILE = 5,      /* below it */
	NODE_NET_FILE = 6,      /* NAME/net/… */
	NODE_KIND_COUNT
};

enum {
	NODE_GENERATIONS = 256, /* inodes that one command file can have at once */
};

struct node {
	enum node_kind kind;
	unsigned generation; /* below NODE_GENERATIONS: which of a command file's inodes */
	uint32_t serial;     /* of the sandbox or template; 0 for the daemon's own */
	uint32_t
		index; /* row of the kind's table plus 1, below 2^20; 0 for directories of objects */
};

/* The id that the kernel gets. The root is FUSE_ROOT_ID. */
uint64_t node_id(const struct node *n);
struct node node_of(uint64_t id);

/* st_ino: the id without its generation. */
uint64_t node_ino(const struct node *n);

#endif
