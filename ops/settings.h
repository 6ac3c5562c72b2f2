/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/settings.h - the daemon's own settings: KEY=VALUE lines of its configuration file
 *
 * One row a key in settings.c; sbxfs(8) describes them. An unknown key or a bad value is an error with file and line: a daemon that
 * guessed would run with other limits than the operator believes.
 */
#ifndef SBXFS_OPS_SETTINGS_H
#define SBXFS_OPS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Of settings that are words. */
enum { SETTING_NO, SETTING_AUTO };

/* Of on_shutdown: what becomes of what runs when the daemon ends. */
enum { SHUTDOWN_STOP, SHUTDOWN_PAUSE, SHUTDOWN_LEAVE };

struct settings {
	uint64_t
		disk_overcommit_pct; /* of the state directory's file system that may be promised to disks; 0: chosen by its size */
	uint64_t disk_reserve_mb; /* of it that stays free; 0: chosen by its size */
	uint64_t
		memory_overcommit_pct; /* of the host's memory, less the reserve, that may be promised to guests */
	uint64_t
		warm; /* SETTING_NO: no memory image is made or used for warm starts; SETTING_AUTO */
	uint64_t on_shutdown; /* SHUTDOWN_… */
	uint64_t pool; /* sandboxes of the version started last that are kept ready; 0: none */
	uint64_t slots_ready; /* network slots that are kept ready; 0: none */
	char address_pool
		[32]; /* CIDR from which slots have their addresses; "": the first of a list that is free */
};

extern struct settings settings; /* filled before there are threads */

/**
 * settings_load() - Read the file over the defaults
 * @path:     of the file
 * @optional: one that is not there is as good as an empty one
 * Return: 0; -EINVAL with file and line; -ENOENT, -EACCES, ….
 */
int settings_load(const char *path, bool optional, struct err *e);

/* A word of on_shutdown. Return: 0 and @ret; -EINVAL. */
int settings_shutdown_parse(const char *word, uint64_t *ret);

/* `setting NAME` for each key: for the check of the manual. */
void settings_dump(struct buf *b);

#endif
