/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/text.h - what files read as; each renders one file of the tables in files.c
 *
 * All: bounded time, from memory only. Return: 0; negative errno for read(2).
 */
#ifndef SBXFS_FS_TEXT_H
#define SBXFS_FS_TEXT_H

#include "fs/files.h"

int text_host_status(const struct object *o, struct buf *b);
int text_host_status_json(const struct object *o, struct buf *b);
int text_host_ps(const struct object *o, struct buf *b);
int text_host_metrics(const struct object *o, struct buf *b); /* metrics.c, as text_metrics() */
int text_version(const struct object *o, struct buf *b);

int text_template_status(const struct object *o, struct buf *b);
int text_template_status_json(const struct object *o, struct buf *b);
int text_template_config(const struct object *o, struct buf *b);

int text_state(const struct object *o, struct buf *b);
int text_status(const struct object *o, struct buf *b);
int text_status_json(const struct object *o, struct buf *b);
int text_config(const struct object *o, struct buf *b);
int text_metrics(const struct object *o, struct buf *b);
int text_snapshot(const struct object *o, struct buf *b);
int text_token(const struct object *o, struct buf *b);
int text_net_address(const struct object *o, struct buf *b);
int text_net_gateway(const struct object *o, struct buf *b);
int text_net_mac(const struct object *o, struct buf *b);
int text_net_egress(const struct object *o, struct buf *b);
int text_net_netns(const struct object *o, struct buf *b);
int text_net_ports(const struct object *o, struct buf *b);

/* The keys of a sandbox's status, for files_dump(): "status NAME" lines. */
void text_dump_keys(struct buf *b);

#endif
