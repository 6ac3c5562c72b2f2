/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/config.h - a sandbox's settings: the key table, values, and their text form */
#ifndef SBXFS_OPS_CONFIG_H
#define SBXFS_OPS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum config_key {
	CONFIG_TEMPLATE,
	CONFIG_VCPUS,
	CONFIG_MEMORY_MB,
	CONFIG_DISK_MB,
	CONFIG_VMM,
	CONFIG_PROTECT,
	CONFIG_USER,
	CONFIG_CWD,
	CONFIG_WARM,
	CONFIG_TIMEOUT_SEC,
	CONFIG_ON_TIMEOUT,
	CONFIG_MAX_AGE_SEC,
	CONFIG_RESTART,
	CONFIG_RESTART_MAX,
	CONFIG_RESTART_DELAY_MS,
	CONFIG_RESTART_DELAY_MAX_MS,
	CONFIG_AUTOSTART,
	CONFIG_AUTO_RESUME,
	CONFIG_HEALTH_CMD,
	CONFIG_HEALTH_INTERVAL_SEC,
	CONFIG_HEALTH_RETRIES,
	CONFIG_EGRESS,
	CONFIG_NET_BPS,
	CONFIG_KEY_COUNT
};

/* env.NAME and label.NAME: any number of them. */
struct config_pair {
	struct config_pair *next;
	char *key; /* with its prefix */
	char *value;
};

struct config {
	char *value[CONFIG_KEY_COUNT]; /* owned; NULL: not set, the default holds */
	struct config_pair *pairs;     /* owned, sorted by key */
};

struct config_row {
	const char *name;
	const char *fallback; /* default, when neither sandbox nor template says otherwise */
	const char *help;     /* for the help file: one line */
	int (*check)(const char *value, struct err *e);
	bool restart; /* a change takes effect at the next start */
	bool live;    /* a change takes effect at once: net_apply() */
};

/* Indexed by enum config_key. */
extern const struct config_row config_rows[CONFIG_KEY_COUNT];

void config_done(struct config *c);
int config_copy(const struct config *from, struct config *ret);

/**
 * config_set() - Set or unset one key
 * @key:   a row's name, env.NAME or label.NAME
 * @value: "" or NULL: unset
 * @ret_restart: set to true when the key needs a restart; otherwise untouched; NULL allowed
 * Return: 0; -EINVAL unknown key or bad value, nothing changed.
 */
int config_set(struct config *c, const char *key, const char *value, bool *ret_restart,
	       struct err *e);

/* Does this version know the setting, whatever its value? */
bool config_is_key(const char *key);

/* The value that is set, or NULL. */
const char *config_get(const struct config *c, const char *key);

/* "KEY=VALUE" of a label selector against label.KEY. */
bool config_has_label(const struct config *c, const char *key, const char *value);

/**
 * config_effective() - The value that holds
 * @c: the sandbox's own; @base: its template's defaults, NULL allowed
 * Return: never NULL; "" when there is no default. Borrowed.
 */
const char *config_effective(const struct config *c, const struct config *base,
			     enum config_key key);
uint64_t config_number(const struct config *c, const struct config *base, enum config_key key);

/* The text of the config file: what is set, then "# defaults" and the rest. */
void config_render(const struct config *c, const struct config *base, struct buf *b);

/**
 * config_apply_text() - Apply KEY=VALUE lines to a copy: all or nothing
 * @base: the defaults that config_render() was given: a line behind "# defaults" that says what holds anyway sets nothing
 * Return: 0 with @ret_config the new one (old one untouched); -EINVAL.
 */
int config_apply_text(const struct config *c, const struct config *base, char *text,
		      struct config *ret_config, bool *ret_restart, struct err *e);

#endif
