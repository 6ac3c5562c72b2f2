/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/slot-command.h - what commands share: answers, and the slots with their guests; for helper-slot.c */
#ifndef SBXFS_TESTS_VM_SLOT_COMMAND_H
#define SBXFS_TESTS_VM_SLOT_COMMAND_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/vm/slot-guest.h"

enum {
	GUESTS_MAX = 64,
};

static struct guest guests[GUESTS_MAX];

static inline int64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

__attribute__((format(printf, 1, 2))) static inline int answer(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vprintf(fmt, args); /* the test sees a missing answer */
	va_end(args);
	(void)putchar('\n');
	(void)fflush(stdout);
	return strncmp(fmt, "ok", 2) == 0 ? 0 : 1;
}

static inline int failed(const struct err *e)
{
	return answer("err %s %s", err_name(e->code), e->text);
}

static inline struct guest *guest_of(uint32_t serial)
{
	for (size_t i = 0; i < GUESTS_MAX; i++)
		if (guests[i].is_up && guests[i].slot.serial == serial)
			return &guests[i];
	return NULL;
}

static inline struct guest *guest_new(void)
{
	for (size_t i = 0; i < GUESTS_MAX; i++)
		if (!guests[i].is_up)
			return &guests[i];
	return NULL;
}

static inline uint32_t number(const char *text)
{
	return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

#endif
