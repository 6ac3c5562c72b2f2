/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/name.c - the names that a slot has in the kernel, and how ours are told from others' */
#include "net/name.h"

#include <stdio.h>
#include <string.h>

static const char digits36[] = "0123456789abcdefghijklmnopqrstuvwxyz";
static const char digits32[] = "abcdefghijklmnopqrstuvwxyz234567";

enum {
	SERIAL_DIGITS = 7, /* of 2^32 - 1 in base 36 */
};
_Static_assert(sizeof("sbx") - 1 + INSTANCE_LEN + SERIAL_DIGITS < SLOT_NAME_SIZE,
	       "every name must fit a link's name");

const char *slot_name(const char *instance, uint32_t serial, char ret_name[SLOT_NAME_SIZE])
{
	char text[SERIAL_DIGITS + 1];
	char *p = text + SERIAL_DIGITS;

	*p = '\0';
	do {
		*--p = digits36[serial % 36];
		serial /= 36;
	} while (serial);
	(void)snprintf(ret_name, SLOT_NAME_SIZE, "sbx%.*s%s", INSTANCE_LEN, instance,
		       p); /* fits: see the assertion above */
	return ret_name;
}

const char *slot_alias(const char *instance, uint32_t serial, char ret_alias[ALIAS_SIZE])
{
	(void)snprintf(ret_alias, ALIAS_SIZE, "sbxfs/%.*s/%u", INSTANCE_LEN, instance,
		       serial); /* always fits */
	return ret_alias;
}

bool slot_name_parse(const char *instance, const char *name, uint32_t *ret_serial)
{
	const size_t head = sizeof("sbx") - 1 + INSTANCE_LEN;
	char back[SLOT_NAME_SIZE];
	uint64_t serial = 0;

	if (strlen(name) <= head || strlen(name) > head + SERIAL_DIGITS)
		return false;
	for (const char *p = name + head; *p; p++) {
		const char *digit = strchr(digits36, *p);

		if (!digit)
			return false;
		serial = serial * 36 + (uint64_t)(digit - digits36);
	}
	if (serial > UINT32_MAX || strcmp(name, slot_name(instance, (uint32_t)serial, back)) != 0)
		return false;
	*ret_serial = (uint32_t)serial;
	return true;
}

bool instance_is_valid(const char *instance)
{
	return strlen(instance) == INSTANCE_LEN && strspn(instance, digits32) == INSTANCE_LEN;
}

uint32_t instance_bits(const char *instance)
{
	uint32_t bits = 0;

	for (const char *p = instance; *p; p++) {
		const char *digit = strchr(digits32, *p);

		bits = bits << 5 | (digit ? (uint32_t)(digit - digits32) : 0);
	}
	return bits;
}
