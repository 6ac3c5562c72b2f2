// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/settings.c - the daemon's own settings: the table, and the file that fills it */
#include "ops/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "net/pool.h"

enum {
	SETTINGS_MAX_BYTES = 1 << 20, /* of the file */
};

struct settings settings = {.memory_overcommit_pct = 100, .warm = SETTING_AUTO, .slots_ready = 2};

static const char *const switch_words[] = {
	[SETTING_NO] = "no", [SETTING_AUTO] = "auto", [SETTING_AUTO + 1] = NULL};

static const char *const shutdown_words[] = {[SHUTDOWN_STOP] = "stop",
					     [SHUTDOWN_PAUSE] = "pause",
					     [SHUTDOWN_LEAVE] = "leave",
					     [SHUTDOWN_LEAVE + 1] = NULL};

static bool is_address_pool(const char *text)
{
	struct addr_range range;

	return !text[0] || pool_parse(text, &range) == 0;
}

/* clang-format off */
static const struct row {
	const char *name;
	uint64_t *value;
	uint64_t min, max;
	const char *what; /* for a message: it is … */
	const char *const *words; /* in the place of numbers: of 0, 1, …; NULL-terminated */
	char *text; /* in the place of a number: @max bytes with the NUL */
	bool (*is_good)(const char *text);
} rows[] = {
	{ "address_pool",      NULL, 0, sizeof(settings.address_pool),
	  "an IPv4 range for guests such as 10.90.0.0/20, with a prefix of 16 to 28, or nothing", NULL,
	  settings.address_pool, is_address_pool },
	{ "disk_overcommit",   &settings.disk_overcommit_pct,   0, 1000000,
	  "percent of the file system, 0 to 1000000, 0 to go by its size", NULL, NULL, NULL },
	{ "disk_reserve_mb",   &settings.disk_reserve_mb,       0, UINT32_MAX,
	  "MiB, 0 to 4294967295, 0 to go by the size of the file system", NULL, NULL, NULL },
	{ "memory_overcommit", &settings.memory_overcommit_pct, 1, 10000,
	  "percent of the host's memory, 1 to 10000", NULL, NULL, NULL },
	{ "on_shutdown",       &settings.on_shutdown,           0, 0,
	  "stop, pause or leave", shutdown_words, NULL, NULL },
	{ "pool",              &settings.pool,                  0, 1000,
	  "a number of sandboxes, 0 to 1000", NULL, NULL, NULL },
	{ "slots_ready",       &settings.slots_ready,           0, 1000,
	  "a number of network slots, 0 to 1000", NULL, NULL, NULL },
	{ "warm",              &settings.warm,                  0, 0,
	  "auto or no", switch_words, NULL, NULL },
};
/* clang-format on */

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

/* Where a line is, for messages, and which keys came before it. */
struct place {
	const char *path;
	unsigned line;
	bool seen[ROW_COUNT];
};

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\r");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]))
		text[--len] = '\0';
	return text;
}

static int parse_value(const struct row *row, const char *value)
{
	if (row->text) {
		if (strlen(value) >= row->max || !row->is_good(value))
			return -EINVAL;
		(void)snprintf(row->text, row->max, "%s", value); /* fits */
		return 0;
	}
	if (!row->words)
		return parse_u64(value, row->min, row->max, row->value);
	for (uint64_t i = 0; row->words[i]; i++) {
		if (strcmp(row->words[i], value) == 0) {
			*row->value = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int take_pair(struct place *at, const char *key, const char *value, struct err *e)
{
	size_t i = 0;

	while (i < ROW_COUNT && strcmp(rows[i].name, key) != 0)
		i++;
	if (i == ROW_COUNT)
		return err_set(e, EINVAL, "%s:%u: there is no setting %s; sbxfs(8) lists them",
			       at->path, at->line, key);
	if (at->seen[i])
		return err_set(e, EINVAL, "%s:%u: %s is given twice", at->path, at->line, key);
	at->seen[i] = true;
	if (parse_value(&rows[i], value) < 0)
		return err_set(e, EINVAL, "%s:%u: %s=%s: it is %s", at->path, at->line, key, value,
			       rows[i].what);
	return 0;
}

static int take_line(struct place *at, char *line, struct err *e)
{
	char *equals;

	line = trim(line);
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return err_set(e, EINVAL, "%s:%u: a line is KEY=VALUE, or begins with #", at->path,
			       at->line);
	*equals = '\0';
	return take_pair(at, trim(line), trim(equals + 1), e);
}

int settings_load(const char *path, bool optional, struct err *e)
{
	struct place at = {.path = path};
	AUTO_BUF text = BUF_INIT;
	char *cursor, *line;
	int r = file_read(AT_FDCWD, path, SETTINGS_MAX_BYTES, &text, e);

	if (r == -ENOENT && optional)
		return 0;
	if (r < 0)
		return err_wrap(e, "cannot read the configuration %s", path);
	if (text.len > 0 && memchr(text.data, '\0', text.len))
		return err_set(e, EINVAL, "%s is not a text", path);
	cursor = text.data;
	while (r == 0 && cursor && (line = parse_line(&cursor))) {
		at.line++;
		r = take_line(&at, line, e);
	}
	return r;
}

int settings_shutdown_parse(const char *word, uint64_t *ret)
{
	uint64_t value = 0;
	const struct row row = {.value = &value, .words = shutdown_words};
	int r = parse_value(&row, word);

	if (r == 0)
		*ret = value;
	return r;
}

void settings_dump(struct buf *b)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		buf_addf(b, "setting %s\n", rows[i].name);
}
