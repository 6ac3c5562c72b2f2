/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/settings.h - the daemon's own settings: KEY=VALUE lines of its configuration file
 *
 * One row a key in settings.c; sbxfs(8) describes them. An unknown key or a bad value is an error with file and line: a daemon that
 * guessed would run with other limits than the operator believes.
 *
 * The file may be read again at any time, so any thread may read a number, and finds the old or the new one; texts, and what has to
 * fit together, are read by settings_copy(). Who has to do something about a change is told by ops/reload.c.
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

/* Of webhook_on_lost: what is done when events could not be delivered for webhook_lost seconds. */
enum { ON_LOST_NONE, ON_LOST_PAUSE_ALL };

struct settings {
	/* of the state directory's file system that may be promised to disks; 0: chosen by its size */
	_Atomic uint64_t disk_overcommit_pct;
	_Atomic uint64_t disk_reserve_mb; /* of it that stays free; 0: chosen by its size */
	/* of the host's memory, less the reserve, that may be promised to guests */
	_Atomic uint64_t memory_overcommit_pct;
	/* SETTING_NO: no memory image is made or used for warm starts; SETTING_AUTO */
	_Atomic uint64_t warm;
	_Atomic uint64_t on_shutdown; /* SHUTDOWN_… */
	_Atomic uint64_t pool; /* sandboxes of the version started last kept ready; 0: none */
	_Atomic uint64_t slots_ready; /* network slots that are kept ready; 0: none */
	/* CIDR from which slots have their addresses; "": the first of a list that is free */
	char address_pool[32];            /* read at the start only */
	_Atomic uint64_t webhook_lost;    /* seconds; 0: never */
	_Atomic uint64_t webhook_on_lost; /* ON_LOST_… */
	/* Where events are sent to, and the path of the file with the secret that they are signed with; "": none. At the start only. */
	char webhook_url[1024], webhook_secret_file[1024];
};

extern struct settings settings; /* texts: before there are threads, or by settings_copy() */

/**
 * settings_load() - Read the file over the defaults, before there are threads
 * @path:     of the file
 * @optional: one that is not there is as good as an empty one
 *
 * It is remembered, for settings_reload().
 * Return: 0; -EINVAL with file and line; -ENOENT, -EACCES, …; then the settings are as they were.
 */
int settings_load(const char *path, bool optional, struct err *e);

/**
 * settings_reload() - Read the same file again, over the defaults
 * @changes: gets a line "KEY: OLD -> NEW" for each setting that is another now
 * Context: any thread; blocks for the file.
 * Return: as settings_load(); -ENOENT also when none was loaded.
 */
int settings_reload(struct buf *changes, struct err *e);

/* All as they are at one moment. */
void settings_copy(struct settings *ret);

/* A word of on_shutdown. Return: 0 and @ret; -EINVAL. */
int settings_shutdown_parse(const char *word, uint64_t *ret);

/* `setting NAME` for each key: for the check of the manual. */
void settings_dump(struct buf *b);

#endif
