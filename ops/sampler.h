/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/sampler.h - the thread that reads once a second what has gone through each guest's network
 *
 * What a sandbox has received and sent adds up over all slots that it has had. The totals are in its record, which is written when
 * it starts and stops and whenever else: a daemon that takes a running guest up goes on from there with what the kernel has
 * counted since. What is lost with a daemon is what went through a guest that nobody has taken up.
 */
#ifndef SBXFS_OPS_SAMPLER_H
#define SBXFS_OPS_SAMPLER_H

#include "base/err.h"
#include "ops/sbx.h"

struct json_object;

/* At start and end; without workers. */
int sampler_init(struct err *e);
void sampler_done(void);

/* Look at a sandbox from now on: with the turn, with a slot. @adopted: of an earlier daemon; otherwise what the slot counted before is not its. */
void sampler_add(struct sbx *s, bool adopted);
/* A last look, and no more: before its slot is released. Content when it was not looked at. */
void sampler_remove(struct sbx *s);

/* The member `traffic` of a record. Context: with s->lock, or before anybody knows @s. Return: 0; -ENOMEM. */
int sampler_add_json(const struct sbx *s, struct json_object *o);
void sampler_from_json(struct sbx *s, struct json_object *o);

#endif
