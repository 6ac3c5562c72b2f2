/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fuzz/fuzz-record.c - damaged records and journals: refused, or good to be saved and read again */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/record.h"
#include "ops/registry-private.h"

static const char *const files[] = {"sandboxes/1/record", "sandboxes/1/journal"};

/* In memory where that can be: it is written for every input. */
static void state_dir_remove(void)
{
	(void)file_remove_tree(AT_FDCWD, host.state_dir, NULL);
}

static void state_dir_make(void)
{
	char path[256];

	(void)snprintf(host.state_dir, sizeof(host.state_dir), "%s/sbxfs-fuzz-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(host.state_dir))
		abort();
	(void)snprintf(path, sizeof(path), "%s/sandboxes/1", host.state_dir);
	if (file_mkdirs(path, 0700, NULL) < 0 ||
	    file_open_dir(AT_FDCWD, host.state_dir, &host.state_fd, NULL) < 0 ||
	    file_open_dir(host.state_fd, "sandboxes", &host.sandboxes_fd, NULL) < 0)
		abort();
	(void)atexit(state_dir_remove);
}

static void file_write(const char *name, const uint8_t *data, size_t size)
{
	AUTO_FD fd = openat(host.state_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || file_write_all(fd, data, size) < 0)
		abort();
}

/* Once read, it can be saved, and then says the same. */
static void record_judge(struct sbx *s)
{
	struct sbx *again = sbx_new(1, NULL);
	AUTO_BUF first = BUF_INIT;
	AUTO_BUF second = BUF_INIT;

	if (!again || record_save(s, NULL) < 0 ||
	    file_read(host.state_fd, files[0], 1 << 24, &first, NULL) < 0)
		abort();
	if (record_load(again, NULL) < 0 || record_save(again, NULL) < 0 ||
	    file_read(host.state_fd, files[0], 1 << 24, &second, NULL) < 0)
		abort();
	if (strcmp(buf_text(&first), buf_text(&second)) != 0 || strcmp(s->name, again->name) != 0)
		abort();
	sbx_put(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says which of the two files it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	struct journal j;
	struct sbx *s;

	if (host.state_fd < 0)
		state_dir_make();
	s = sbx_new(1, NULL);
	if (!s || size == 0) {
		sbx_put(s);
		return 0;
	}
	file_write(files[data[0] == 'j'], data + 1, size - 1);
	if (data[0] == 'j') {
		if (journal_read(s, &j, &e) < 0 && e.text[0] == '\0')
			abort();
	} else if (record_load(s, &e) == 0) {
		record_judge(s);
	} else if (e.text[0] == '\0') {
		abort();
	}
	sbx_put(s);
	return 0;
}
