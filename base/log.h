/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/log.h - one line a message, to stderr with a syslog priority prefix under systemd, or to syslog
 *
 * A function either logs or returns an error, never both. A warning that the program goes on after ends
 * in "ignoring".
 */
#ifndef SBXFS_BASE_LOG_H
#define SBXFS_BASE_LOG_H

#include <stdbool.h>

/* Values are syslog's. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/**
 * log_open() - Choose where lines go; before any thread is started
 * @to_syslog: true for a daemon in the background, false for stderr
 */
void log_open(bool to_syslog);

/* Any thread, any time. Lines above the level are not written. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/**
 * log_level_parse() - "error", "warning", "info" or "debug" to its level
 * Return: 0; -EINVAL for another word.
 */
int log_level_parse(const char *word, enum log_level *ret_level);

/**
 * log_subject() - Name what this thread works on; it prefixes each of its lines
 * @name: copied, cut at 63 bytes; NULL for none
 */
void log_subject(const char *name);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
