// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/settings.c - the daemon's own settings: the table, and the file that fills it
 *
 * How it works: the file is read into a copy of the defaults, and only a whole file without an error becomes what holds. Then
 * the numbers are stored one by one, and texts with the lock.
 */
#include "ops/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fetch.h"
#include "base/file.h"
#include "base/parse.h"
#include "net/pool.h"

enum {
	SETTINGS_MAX_BYTES = 1 << 20, /* of the file */
};

/* What holds where the file says nothing; 0 and "" where this does not. */
#define DEFAULTS                                                                                   \
	{                                                                                          \
		.memory_overcommit_pct = 100, .warm = SETTING_AUTO, .slots_ready = 2               \
	}

struct settings settings = DEFAULTS;
static const struct settings defaults = DEFAULTS;

static pthread_mutex_t settings_lock = PTHREAD_MUTEX_INITIALIZER; /* memory only; all below too */
static uint64_t reads_begun, read_shown; /* numbers of reads of the file; shown: what holds */

static char
	file_path[PATH_MAX]; /* of the file, absolute; "": none. Constant once there are threads */
static bool file_is_optional;

static const char *const switch_words[] = {
	[SETTING_NO] = "no", [SETTING_AUTO] = "auto", [SETTING_AUTO + 1] = NULL};

static const char *const shutdown_words[] = {[SHUTDOWN_STOP] = "stop",
					     [SHUTDOWN_PAUSE] = "pause",
					     [SHUTDOWN_LEAVE] = "leave",
					     [SHUTDOWN_LEAVE + 1] = NULL};

static const char *const on_lost_words[] = {
	[ON_LOST_NONE] = "none", [ON_LOST_PAUSE_ALL] = "pause-all", [ON_LOST_PAUSE_ALL + 1] = NULL};

static bool is_url(const char *text)
{
	return !text[0] || fetch_check_url(text, NULL) == 0;
}

static bool is_path(const char *text)
{
	return !text[0] || text[0] == '/';
}

static bool is_address_pool(const char *text)
{
	struct addr_range range;

	return !text[0] || pool_parse(text, &range) == 0;
}

enum {
	AT_START = 1 << 0, /* a change takes effect at the next start of the daemon */
	SECRET = 1 << 1,   /* its value is not shown */
};

/* clang-format off */
static const struct row {
	const char *name;
	_Atomic uint64_t *value;
	uint64_t min, max;
	const char *what; /* for a message: it is … */
	const char *const *words; /* in the place of numbers: of 0, 1, …; NULL-terminated */
	char *text; /* in the place of a number: @max bytes with the NUL */
	bool (*is_good)(const char *text);
	unsigned flags;
} rows[] = {
	{ "address_pool",      NULL, 0, sizeof(settings.address_pool),
	  "an IPv4 range for guests such as 10.90.0.0/20, with a prefix of 16 to 28, or nothing", NULL,
	  settings.address_pool, is_address_pool, AT_START },
	{ "disk_overcommit",   &settings.disk_overcommit_pct,   0, 1000000,
	  "percent of the file system, 0 to 1000000, 0 to go by its size", NULL, NULL, NULL, 0 },
	{ "disk_reserve_mb",   &settings.disk_reserve_mb,       0, UINT32_MAX,
	  "MiB, 0 to 4294967295, 0 to go by the size of the file system", NULL, NULL, NULL, 0 },
	{ "memory_overcommit", &settings.memory_overcommit_pct, 1, 10000,
	  "percent of the host's memory, 1 to 10000", NULL, NULL, NULL, 0 },
	{ "on_shutdown",       &settings.on_shutdown,           0, 0,
	  "stop, pause or leave", shutdown_words, NULL, NULL, 0 },
	{ "pool",              &settings.pool,                  0, 1000,
	  "a number of sandboxes, 0 to 1000", NULL, NULL, NULL, 0 },
	{ "slots_ready",       &settings.slots_ready,           0, 1000,
	  "a number of network slots, 0 to 1000", NULL, NULL, NULL, 0 },
	{ "warm",              &settings.warm,                  0, 0,
	  "auto or no", switch_words, NULL, NULL, 0 },
	{ "webhook_lost",      &settings.webhook_lost,          0, 1000000,
	  "seconds, 0 to 1000000, 0 for never", NULL, NULL, NULL, 0 },
	{ "webhook_on_lost",   &settings.webhook_on_lost,       0, 0,
	  "none or pause-all", on_lost_words, NULL, NULL, 0 },
	{ "webhook_secret_file", NULL, 0, sizeof(settings.webhook_secret_file),
	  "the absolute path of a file, of 1023 bytes at most, or nothing", NULL,
	  settings.webhook_secret_file, is_path, AT_START },
	{ "webhook_url",       NULL, 0, sizeof(settings.webhook_url),
	  "a URL of http or https without user and password, of 1023 bytes at most, or nothing", NULL,
	  settings.webhook_url, is_url, AT_START | SECRET },
};
/* clang-format on */

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

/* Where a line is, for messages, which keys came before it, and what they fill. */
struct place {
	const char *path;
	unsigned line;
	bool seen[ROW_COUNT];
	struct settings *to;
};

/* The same field of other settings. */
static void *field_in(struct settings *s, const void *field)
{
	const char *first = (const void *)&settings;

	return (char *)s + ((const char *)field - first);
}

static _Atomic uint64_t *number_in(struct settings *s, const struct row *row)
{
	return field_in(s, row->value);
}

static char *text_in(struct settings *s, const struct row *row)
{
	return field_in(s, row->text);
}

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\r");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]))
		text[--len] = '\0';
	return text;
}

static int parse_word(const char *const *words, const char *value, uint64_t *ret)
{
	for (uint64_t i = 0; words[i]; i++) {
		if (strcmp(words[i], value) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_value(struct settings *to, const struct row *row, const char *value)
{
	uint64_t number;
	int r;

	if (row->text) {
		if (strlen(value) >= row->max || !row->is_good(value))
			return -EINVAL;
		(void)snprintf(text_in(to, row), row->max, "%s", value); /* fits */
		return 0;
	}
	r = row->words ? parse_word(row->words, value, &number)
		       : parse_u64(value, row->min, row->max, &number);
	if (r == 0)
		*number_in(to, row) = number;
	return r;
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
	if (parse_value(at->to, &rows[i], value) < 0)
		return err_set(e, EINVAL, "%s:%u: %s=%s: it is %s", at->path, at->line, key,
			       rows[i].flags & SECRET ? "…" : value, rows[i].what);
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

/* The whole of the file into @to, which has the defaults. */
static int read_file(const char *path, bool optional, struct settings *to, struct err *e)
{
	struct place at = {.path = path, .to = to};
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

/* ---- what holds ------------------------------------------------------------------------------------------ */

static void add_value(struct buf *b, struct settings *s, const struct row *row)
{
	uint64_t number = row->text ? 0 : *number_in(s, row);
	const char *text = row->text ? text_in(s, row) : NULL;

	if (row->words)
		text = row->words[number];
	if (row->flags & SECRET && (!text || text[0]))
		buf_adds(b, "…");
	else if (!text)
		buf_addf(b, "%" PRIu64, number);
	else if (text[0])
		buf_add_escaped(b, text);
	else
		buf_adds(b, "\"\"");
}

static bool is_same(struct settings *a, struct settings *b, const struct row *row)
{
	return row->text ? strcmp(text_in(a, row), text_in(b, row)) == 0
			 : *number_in(a, row) == *number_in(b, row);
}

/* With the lock. @changes: a line for each; NULL. */
static void show(struct settings *fresh, struct buf *changes)
{
	for (const struct row *row = rows; row < rows + ROW_COUNT; row++) {
		if (is_same(&settings, fresh, row))
			continue;
		if (changes) {
			buf_addf(changes, "%s: ", row->name);
			add_value(changes, &settings, row);
			buf_adds(changes, " -> ");
			add_value(changes, fresh, row);
			buf_adds(changes, row->flags & AT_START
						  ? " (takes effect at the next start of sbxfs)\n"
						  : "\n");
		}
		if (row->text)
			memcpy(row->text, text_in(fresh, row), row->max);
		else
			*row->value = *number_in(fresh, row);
	}
}

/* From where it is read again, whatever the working directory is then. */
static int remember(const char *path, bool optional, struct err *e)
{
	char here[PATH_MAX] = "";
	int len;

	if (path[0] != '/' && !getcwd(here, sizeof(here)))
		return err_sys(e, errno, "cannot tell where %s is", path);
	len = snprintf(file_path, sizeof(file_path), "%s%s%s", here, here[0] ? "/" : "", path);
	if (len < 0 || (size_t)len >= sizeof(file_path))
		return err_set(e, ENAMETOOLONG, "the path of the configuration is too long");
	file_is_optional = optional;
	return 0;
}

int settings_load(const char *path, bool optional, struct err *e)
{
	struct settings fresh = defaults;
	int r = read_file(path, optional, &fresh, e);

	if (r == 0)
		r = remember(path, optional, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&settings_lock);
	show(&fresh, NULL);
	pthread_mutex_unlock(&settings_lock);
	return 0;
}

int settings_reload(struct buf *changes, struct err *e)
{
	struct settings fresh = defaults;
	uint64_t number;
	int r;

	if (!file_path[0])
		return err_set(e, ENOENT, "there is no configuration file to read");
	pthread_mutex_lock(&settings_lock);
	number = ++reads_begun;
	pthread_mutex_unlock(&settings_lock);
	r = read_file(file_path, file_is_optional, &fresh, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&settings_lock);
	if (number > read_shown) { /* else a later read has found the same or something newer */
		show(&fresh, changes);
		read_shown = number;
	}
	pthread_mutex_unlock(&settings_lock);
	return 0;
}

void settings_copy(struct settings *ret)
{
	pthread_mutex_lock(&settings_lock);
	*ret = settings;
	pthread_mutex_unlock(&settings_lock);
}

int settings_shutdown_parse(const char *word, uint64_t *ret)
{
	return parse_word(shutdown_words, word, ret);
}

void settings_dump(struct buf *b)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		buf_addf(b, "setting %s\n", rows[i].name);
}
