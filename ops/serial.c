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
};

static pthread_mutex_t serial_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t next_serial = 1, aside_end = 1;

int serial_init(struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	uint64_t n;
	int r = file_read(host.state_fd, "serial", 32, &b, e);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (b.len > 0 && b.data[b.len - 1] == '\n')
		b.data[b.len - 1] = '\0';
	if (parse_u64(buf_text(&b), 1, UINT32_MAX - SERIAL_BATCH, &n) < 0)
		return err_set(
			e, EBADMSG,
			"%s/serial is damaged: write the highest number in sandboxes/ plus 1 there",
			host.state_dir);
	next_serial = aside_end = (uint32_t)n;
	return 0;
}

static int serial_reserve(struct err *e)
{
	char text[16];

	if (aside_end > UINT32_MAX - 2 * SERIAL_BATCH)
		return err_set(e, ENOSPC, "all serials of this state directory have been used");
	(void)snprintf(text, sizeof(text), "%" PRIu32 "\n", aside_end + SERIAL_BATCH);
	return file_replace(host.state_fd, "serial", 0600, text, strlen(text), e);
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
