/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/journal.c - the journal's line: "level=4 slot=7 pid=123 start=456 boot=ID [as=SERIAL] [net=SERIAL] [resumed=DIR:BYTES:NS] [pausing] sum=HEX" */
#include "ops/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/sum.h"

enum {
	JOURNAL_BYTES = 512, /* one sector: what a disk writes as a whole */
	BOOT_ID_SIZE = 37,   /* a UUID and a NUL */
};

static char boot_id[BOOT_ID_SIZE];
static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;

static void boot_id_load(void)
{
	AUTO_BUF b = BUF_INIT;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &b, NULL) == 0)
		(void)snprintf(boot_id, sizeof(boot_id), "%.36s", buf_text(&b));
}

static int put_resumed(const struct sbx *s, char *line, size_t size)
{
	return snprintf(line, size, " resumed=%s:%" PRIu64 ":%" PRId64,
			s->memory.dir[0] ? s->memory.dir : "-", s->resumed_data.bytes,
			s->resumed_data.mtime_ns);
}

static void get_resumed(const char *line, struct journal *ret)
{
	const char *at = strstr(line, " resumed=");

	/* NOLINTBEGIN(cert-err34-c): the sum tells whether these are the numbers that were written */
	if (at)
		ret->resumed = sscanf(at, " resumed=%15[^:]:%" SCNu64 ":%" SCNd64, ret->resumed_dir,
				      &ret->resumed_data.bytes, &ret->resumed_data.mtime_ns) == 3;
	/* NOLINTEND(cert-err34-c) */
	if (strcmp(ret->resumed_dir, "-") == 0)
		ret->resumed_dir[0] = '\0';
}

/* The number behind " KEY="; 0: it is not there. */
static uint32_t get_serial(const char *line, const char *key)
{
	const char *at = strstr(line, key);
	uint32_t serial = 0;

	/* NOLINTNEXTLINE(cert-err34-c): the sum tells whether this is the number that was written */
	return at && sscanf(at + strlen(key), "%" SCNu32, &serial) == 1 ? serial : 0;
}

int journal_write(const struct sbx *s, struct err *e)
{
	char line[JOURNAL_BYTES];
	AUTO_FD fd = -1;
	int len, r;

	r = fault_point("journal-write", NULL, e);
	if (r < 0)
		return r;
	pthread_once(&boot_id_once, boot_id_load);
	memset(line, ' ', sizeof(line));
	len = snprintf(line, sizeof(line),
		       "level=%u slot=%" PRIu32 " pid=%d start=%" PRIu64 " boot=%s", s->level,
		       s->slot.index, (int)s->vm_id.pid, s->vm_id.start, boot_id);
	if (s->made_as != s->serial)
		len += snprintf(line + len, sizeof(line) - (size_t)len, " as=%" PRIu32, s->made_as);
	if (s->slot.index != UINT32_MAX)
		len += snprintf(line + len, sizeof(line) - (size_t)len, " net=%" PRIu32,
				s->slot.serial);
	if (s->resumed)
		len += put_resumed(s, line + len, sizeof(line) - (size_t)len);
	if (s->pausing)
		len += snprintf(line + len, sizeof(line) - (size_t)len, " pausing");
	len += snprintf(line + len, sizeof(line) - (size_t)len, " sum=%08" PRIx32,
			sum_of(line, (size_t)len));
	line[len] = ' ';
	line[sizeof(line) - 1] = '\n';
	fd = sbx_open(s, "journal", O_WRONLY | O_CREAT);
	if (fd < 0)
		return err_sys(e, errno, "cannot open the journal");
	if (pwrite(fd, line, sizeof(line), 0) != (ssize_t)sizeof(line) || fdatasync(fd) < 0)
		return err_sys(e, errno ? errno : EIO, "cannot write the journal");
	return 0;
}

int journal_read(const struct sbx *s, struct journal *ret, struct err *e)
{
	AUTO_FD dir = sbx_open(s, ".", O_RDONLY | O_DIRECTORY);
	AUTO_BUF b = BUF_INIT;
	char boot[BOOT_ID_SIZE] = "";
	const char *sum_at;
	uint32_t sum;
	int r = file_read(dir, "journal", JOURNAL_BYTES, &b, e);

	*ret = (struct journal){.level = 1, .slot = UINT32_MAX};
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	pthread_once(&boot_id_once, boot_id_load);
	/* NOLINTBEGIN(cert-err34-c): the sum tells whether these are the numbers that were written */
	sum_at = strstr(buf_text(&b), " sum=");
	if (!sum_at || sscanf(sum_at, " sum=%8" SCNx32, &sum) != 1 ||
	    sum != sum_of(buf_text(&b), (size_t)(sum_at - buf_text(&b))))
		return err_set(e, EBADMSG, "its journal is damaged");
	if (sscanf(buf_text(&b), "level=%u slot=%" SCNu32 " pid=%d start=%" SCNu64 " boot=%36s",
		   &ret->level, &ret->slot, &ret->vm.pid, &ret->vm.start, boot) != 5)
		return err_set(e, EBADMSG, "its journal has another form");
	/* NOLINTEND(cert-err34-c) */
	ret->made_as = get_serial(buf_text(&b), " as=");
	ret->net = get_serial(buf_text(&b), " net=");
	get_resumed(buf_text(&b), ret);
	ret->pausing = strstr(buf_text(&b), " pausing sum=") != NULL;
	ret->same_boot = strcmp(boot, boot_id) == 0;
	return 0;
}
