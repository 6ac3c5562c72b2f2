// SPDX-License-Identifier: GPL-2.0-or-later
/* storage/dm-look.c - questions about device-mapper devices, asked of the kernel directly
 *
 * How it works
 * libdevmapper may be used by one thread at a time, and a thread that makes a device may keep it for long.
 * What is asked for every running sandbox several times a second must not wait for that: it is one
 * ioctl here, with its answer on the stack. Our names need none of the library's mangling.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "storage/dm.h"

enum { ANSWER_BYTES = 1024 }; /* two targets with their lines need half of it */

union question {
	struct dm_ioctl head;
	char bytes[sizeof(struct dm_ioctl) + ANSWER_BYTES];
};

/* Ask for the status or the table of @name. Return: 0; -ENXIO there is none; -EIO, …. */
static int ask(const char *name, unsigned flags, union question *q, struct err *e)
{
	AUTO_FD control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

	memset(q, 0, sizeof(*q));
	if (control < 0)
		return err_sys(e, errno, "cannot open /dev/mapper/control");
	q->head.version[0] = DM_VERSION_MAJOR; /* the rest stays 0: any kernel of that number */
	q->head.data_size = sizeof(*q);
	q->head.data_start = sizeof(q->head);
	q->head.flags = DM_NOFLUSH_FLAG | flags;
	(void)snprintf(q->head.name, sizeof(q->head.name), "%s", name); /* ours are shorter */
	if (ioctl(control, DM_TABLE_STATUS, q) < 0)
		return err_sys(e, errno, "cannot ask about device %s", name);
	return 0;
}

/* The first line of the answer. Return: NULL without a table; @ret_text is NUL-terminated, within @q. */
static const struct dm_target_spec *first_line(union question *q, const char **ret_text)
{
	const struct dm_target_spec *line = (const void *)(q->bytes + q->head.data_start);
	size_t least = q->head.data_start + sizeof(*line);

	if (!q->head.target_count || least >= sizeof(*q) || (q->head.flags & DM_BUFFER_FULL_FLAG))
		return NULL;
	q->bytes[sizeof(*q) - 1] = '\0';
	*ret_text = q->bytes + least;
	return line;
}

/* "used/total metadata"; otherwise Overflow, Invalid, "Merge failed" or Unknown. */
static void read_status(const char *text, struct dmdev_state *ret)
{
	char *end;

	if (!strncmp(text, "Overflow", strlen("Overflow"))) {
		ret->health = DMDEV_HEALTH_OVERFLOW;
		return;
	}
	ret->health = DMDEV_HEALTH_INVALID;
	ret->used_sectors = strtoull(text, &end, 10);
	if (end == text || *end != '/')
		return;
	ret->total_sectors = strtoull(end + 1, &end, 10);
	if (*end == ' ')
		ret->health = DMDEV_HEALTH_OK;
}

int dmdev_state(const char *name, struct dmdev_state *ret, struct err *e)
{
	const struct dm_target_spec *line;
	const char *text = "";
	union question q;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = ask(name, 0, &q, e);
	if (r < 0)
		return r == -ENXIO ? 0 : r;
	ret->exists = true;
	ret->live = (q.head.flags & DM_ACTIVE_PRESENT_FLAG) && !(q.head.flags & DM_SUSPEND_FLAG);
	ret->dev = q.head.dev;
	ret->open_count = q.head.open_count;
	(void)snprintf(ret->uuid, sizeof(ret->uuid), "%s", q.head.uuid); /* of the same size */
	line = first_line(&q, &text);
	if (!line)
		return 0;
	ret->sectors = line->sector_start + line->length;
	(void)snprintf(ret->target, sizeof(ret->target), "%s", line->target_type); /* likewise */
	if (!strcmp(line->target_type, "snapshot"))
		read_status(text, ret);
	return 0;
}

int dmdev_params(const char *name, char *ret, size_t size, struct err *e)
{
	const struct dm_target_spec *line;
	const char *text = "";
	union question q;
	int r;

	r = ask(name, DM_STATUS_TABLE_FLAG, &q, e);
	if (r < 0)
		return r;
	line = first_line(&q, &text);
	if (!line)
		return err_set(e, EIO, "the device %s has no table", name);
	if (strlen(text) >= size)
		return err_set(e, EIO, "the table of device %s is longer than ours are", name);
	memcpy(ret, text, strlen(text) + 1);
	return 0;
}
