/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/find.c - finding a process that was started but not written down */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/proc.h"

enum {
	CMDLINE_MAX_BYTES = 1 << 17, /* of one process; longer ones are not ours */
};

static bool cmdline_has(int proc_fd, const char *pid, bool (*is)(const char *word, const void *arg),
			const void *arg)
{
	AUTO_BUF text = BUF_INIT;
	char path[64];
	const char *at, *end;

	(void)snprintf(path, sizeof(path), "%.32s/cmdline", pid);
	if (file_read(proc_fd, path, CMDLINE_MAX_BYTES, &text, NULL) < 0 || text.len == 0)
		return false;
	end = text.data + text.len;
	for (at = text.data; at < end; at += strlen(at) + 1)
		if (is(at, arg))
			return true;
	return false;
}

static bool runs_program(int proc_fd, const char *pid, const struct stat *program)
{
	struct stat st;
	char path[64];

	(void)snprintf(path, sizeof(path), "%.32s/exe", pid);
	return fstatat(proc_fd, path, &st, 0) == 0 && st.st_dev == program->st_dev &&
	       st.st_ino == program->st_ino;
}

static bool is_word(const char *word, const void *arg)
{
	return strcmp(word, arg) == 0;
}

int proc_find(const char *program, const char *word, struct proc_id *ret_id)
{
	return proc_find_by(program, is_word, word, ret_id);
}

int proc_find_by(const char *program, bool (*is)(const char *word, const void *arg),
		 const void *arg, struct proc_id *ret_id)
{
	struct stat st;
	AUTO_DIR proc = NULL;
	const struct dirent *entry;

	if (stat(program, &st) < 0)
		return -ESRCH;
	proc = opendir("/proc");
	if (!proc)
		return -ESRCH;
	while ((entry = readdir(proc))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		uint64_t start;

		if (pid <= 0 || !runs_program(dirfd(proc), entry->d_name, &st) ||
		    !cmdline_has(dirfd(proc), entry->d_name, is, arg) ||
		    proc_start_time(pid, &start) < 0)
			continue;
		*ret_id = (struct proc_id){.pid = pid, .start = start};
		return 0;
	}
	return -ESRCH;
}
