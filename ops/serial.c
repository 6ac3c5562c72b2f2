/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/serial.c - the counter of serials
 *
 * How it works: the file holds the first number that was not set aside yet. They are set aside 64 at a
 * time, durably, before the first of them is given out; a crash loses at most those, never repeats one.
 */
#include "ops/serial.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "ops/host.h"

enum {
	SERIAL_BATCH = 64,
	EVENT_BATCH =
		1000000000, /* more than one daemon ever has: a hundred a second for a hundred days */
};

static pthread_mutex_t serial_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t next_serial = 1, aside_end = 1;

int serial_file_read(const char *file, uint64_t max, uint64_t *ret, struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	int r = file_read(host.state_fd, file, 32, &b, e);

	if (r < 0)
		return r;
	if (b.len > 0 && b.data[b.len - 1] == '\n')
		b.data[b.len - 1] = '\0';
	return parse_u64(buf_text(&b), 1, max, ret) < 0 ? -EBADMSG : 0;
}

int serial_file_write(const char *file, uint64_t n, struct err *e)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64 "\n", n); /* always fits */
	return file_replace(host.state_fd, file, 0600, text, strlen(text), e);
}

int serial_init(struct err *e)
{
	uint64_t n = 1;
	int r = serial_file_read("serial", UINT32_MAX - SERIAL_BATCH, &n, e);

	if (r == -EBADMSG)
		return err_set(
			e, EBADMSG,
			"%s/serial is damaged: write the highest number in sandboxes/ plus 1 there",
			host.state_dir);
	if (r == 0)
		next_serial = aside_end = (uint32_t)n;
	return r == -ENOENT ? 0 : r;
}

static int serial_reserve(struct err *e)
{
	if (aside_end > UINT32_MAX - 2 * SERIAL_BATCH)
		return err_set(e, ENOSPC, "all serials of this state directory have been used");
	return serial_file_write("serial", aside_end + SERIAL_BATCH, e);
}

int serial_of_events(const struct event_log_numbers *known, uint64_t *ret_first, struct err *e)
{
	uint64_t n = 1, first;
	int r = serial_file_read("event", INT64_MAX - EVENT_BATCH, &n, e);

	if (r == -EBADMSG)
		return err_set(e, EBADMSG,
			       "%s/event is damaged: remove it to count on from the log",
			       host.state_dir);
	if (r < 0 && r != -ENOENT)
		return r;
	/* A daemon that knew of no log has set aside numbers behind its back. */
	if (known->next > 0 && known->next < n && n - known->next <= EVENT_BATCH)
		first = known->next;
	else
		first = n > known->above ? n : known->above;
	*ret_first = first;
	return first < n && n - first > EVENT_BATCH / 2
		       ? 0
		       : serial_file_write("event", first + EVENT_BATCH, e);
}

int serial_take(uint32_t *ret_serial, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&serial_lock);
	if (next_serial == aside_end) {
		r = serial_reserve(e);
		if (r == 0)
			aside_end += SERIAL_BATCH;
	}
	if (r == 0)
		*ret_serial = next_serial++;
	pthread_mutex_unlock(&serial_lock);
	return r;
}

void serial_seen(uint32_t serial)
{
	pthread_mutex_lock(&serial_lock);
	if (serial >= aside_end)
		next_serial = aside_end = serial + 1;
	pthread_mutex_unlock(&serial_lock);
}
