/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/log.c - one line a message, to stderr or to syslog
 *
 * How it works: a line is made whole and written by one write(), so that threads never mix theirs.
 * Control characters in it are escaped, because a guest may have chosen them.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

enum {
	SUBJECT_SIZE = 64, /* bytes with the NUL: a sandbox's name */
};

static atomic_int level_now = LOG_LEVEL_INFO;
static bool use_syslog;   /* written before any thread */
static bool use_priority; /* stderr is the journal; the same */
static _Thread_local char subject[SUBJECT_SIZE];

/* Is stderr the very stream that systemd connected to the journal? ($JOURNAL_STREAM: "DEVICE:INODE") */
static bool stderr_is_journal(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread, see log_open() */
	const char *stream = getenv("JOURNAL_STREAM");
	char mine[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	(void)snprintf(mine, sizeof(mine), "%ju:%ju", (uintmax_t)st.st_dev,
		       (uintmax_t)st.st_ino); /* 2 × 20 digits fit */
	return strcmp(mine, stream) == 0;
}

void log_open(bool to_syslog)
{
	use_syslog = to_syslog;
	use_priority = !to_syslog && stderr_is_journal();
	if (to_syslog)
		openlog("sbxfs", LOG_PID, LOG_DAEMON);
}

void log_set_level(enum log_level level)
{
	atomic_store(&level_now, (int)level);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load(&level_now);
}

int log_level_parse(const char *word, enum log_level *ret_level)
{
	static const struct {
		const char *word;
		enum log_level level;
	} words[] = {
		{"error", LOG_LEVEL_ERROR},
		{"warning", LOG_LEVEL_WARNING},
		{"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i].word) == 0) {
			*ret_level = words[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

void log_subject(const char *name)
{
	(void)snprintf(subject, sizeof(subject), "%s", name ? name : ""); /* cut as promised */
}

void log_write(enum log_level level, const char *fmt, ...)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF line = BUF_INIT;
	int saved = errno;
	va_list args;

	if ((int)level > atomic_load(&level_now))
		return;
	va_start(args, fmt);
	buf_addv(&text, fmt, args);
	va_end(args);
	if (use_priority)
		buf_addf(&line, "<%d>", (int)level);
	if (subject[0])
		buf_addf(&line, "%s: ", subject);
	buf_add_escaped(&line, buf_text(&text));
	if (use_syslog) {
		syslog((int)level, "%s", buf_text(&line));
	} else {
		ssize_t n;

		buf_addc(&line, '\n');
		/* There is nowhere left to report a failing log to. */
		n = write(STDERR_FILENO, buf_text(&line), line.len);
		(void)n;
	}
	errno = saved;
}
