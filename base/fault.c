/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/fault.c - named places where a test can make the daemon fail, die or hang
 *
 * How it works: the file is read anew at every point, so that a test can change it while the daemon runs.
 * How often each point was passed is counted here, for "after=N". Only in builds for tests.
 */
#include "base/fault.h"

#ifdef SBXFS_FAULTS

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"

enum {
	POINTS_MAX = 256,    /* different names */
	NAME_SIZE = 48,      /* of a point's name, with its NUL */
	FILE_MAX = 64 << 10, /* bytes of the fault file */
	ERRNO_MAX = 134,     /* one more than the last that Linux knows */
};

static struct {
	char name[NAME_SIZE]; /* "" when not used yet */
	uint64_t passed;
} points[POINTS_MAX]; /* guarded by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Count this pass. Return: the how-manieth it is. */
static uint64_t count_pass(const char *name)
{
	uint64_t n = 0;

	(void)pthread_mutex_lock(&lock); /* a valid default mutex cannot fail, here and below */
	for (size_t i = 0; i < POINTS_MAX && n == 0; i++) {
		if (!points[i].name[0])
			(void)snprintf(points[i].name, NAME_SIZE, "%s", name);
		if (strncmp(points[i].name, name, NAME_SIZE - 1) == 0)
			n = ++points[i].passed;
	}
	(void)pthread_mutex_unlock(&lock);
	return n;
}

static void log_pass(const char *name)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment is never changed once threads run */
	const char *path = getenv("SBXFS_FAULT_LOG");
	AUTO_BUF line = BUF_INIT;
	AUTO_FD fd = -1;

	if (!path)
		return;
	buf_addf(&line, "%s\n", name);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0) /* the test sees what is missing */
		(void)file_write_all(fd, buf_text(&line), line.len);
}

/* "EIO" to EIO; @fallback for another word. */
static int errno_by_name(const char *word, int fallback)
{
	for (int code = 1; code < ERRNO_MAX; code++)
		if (strcmp(err_name(code), word) == 0)
			return code;
	return fallback;
}

static int act(const char *name, char **words, const struct deadline *d, struct err *e)
{
	const struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};
	int code = words[2] ? errno_by_name(words[2], EIO) : EIO;
	int r;

	if (strcmp(words[1], "die") == 0)
		(void)kill(getpid(), SIGKILL); /* does not return */
	if (strcmp(words[1], "hang") == 0) {
		r = deadline_poll(d ? d : &never, NULL, 0);
		return err_sys(e, -r, "fault point %s hung", name);
	}
	return err_set(e, code, "fault point %s failed as asked for", name);
}

/* Does this line speak of this pass? Takes "after=N" away from the words. */
static bool line_matches(const char *name, uint64_t pass, char **words, int count)
{
	uint64_t after = 1;

	if (count < 2 || strcmp(words[0], name) != 0)
		return false;
	if (strncmp(words[count - 1], "after=", strlen("after=")) == 0) {
		if (parse_u64(words[count - 1] + strlen("after="), 1, UINT64_MAX, &after) < 0)
			return false;
		words[count - 1] = NULL;
	}
	return words[1] && pass >= after;
}

int fault_point(const char *name, const struct deadline *d, struct err *e)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): as above */
	const char *path = getenv("SBXFS_FAULT_FILE");
	uint64_t pass = count_pass(name);
	AUTO_BUF text = BUF_INIT;
	char *cursor, *line;

	log_pass(name);
	if (!path || file_read(AT_FDCWD, path, FILE_MAX, &text, NULL) < 0)
		return 0;
	cursor = text.data;
	while ((line = parse_line(&cursor))) {
		AUTO_FREE char **words = NULL;
		int count;

		if (words_split(line, &words, &count, NULL) < 0)
			continue;
		if (line_matches(name, pass, words, count))
			return act(name, words, d, e);
	}
	return 0;
}

#endif
