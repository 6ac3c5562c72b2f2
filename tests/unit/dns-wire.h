/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/dns-wire.h - DNS messages written by hand, good ones and bad ones, and what is in them */
#ifndef SBXFS_TESTS_UNIT_DNS_WIRE_H
#define SBXFS_TESTS_UNIT_DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "net/dns-message.h"

struct wire {
	uint8_t data[65536];
	size_t len;
};

static inline void wire_number(struct wire *w, uint32_t v, unsigned bytes)
{
	while (bytes--)
		w->data[w->len++] = (uint8_t)(v >> (8 * bytes));
}

static inline void wire_bytes(struct wire *w, const void *data, size_t len)
{
	memcpy(w->data + w->len, data, len);
	w->len += len;
}

/* "" is the root. */
static inline void wire_name(struct wire *w, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, ".");

		wire_number(w, (uint32_t)len, 1);
		wire_bytes(w, text, len);
		text += len + (text[len] == '.');
	}
	wire_number(w, 0, 1);
}

/* @flags: 0x0100 a question, 0x8180 an answer; the rcode is in them. */
static inline void wire_start(struct wire *w, uint16_t id, unsigned flags)
{
	w->len = 0;
	wire_number(w, id, 2);
	wire_number(w, flags, 2);
	wire_number(w, 0, 4);
	wire_number(w, 0, 4);
}

/* One more in section @n, 0 the questions' and 3 the last. */
static inline void wire_count(struct wire *w, unsigned n)
{
	w->data[5 + 2 * n]++;
	if (w->data[5 + 2 * n] == 0)
		w->data[4 + 2 * n]++;
}

static inline void wire_question(struct wire *w, const char *name, unsigned type)
{
	wire_name(w, name);
	wire_number(w, type, 2);
	wire_number(w, 1, 2);
	wire_count(w, 0);
}

/* Up to its length, which is that of what the caller adds. @name: NULL: a pointer to the question's. */
static inline void wire_record(struct wire *w, unsigned section, const char *name, unsigned type,
			       uint32_t ttl_sec, size_t len)
{
	if (name)
		wire_name(w, name);
	else
		wire_number(w, 0xc00c, 2);
	wire_number(w, type, 2);
	wire_number(w, 1, 2);
	wire_number(w, ttl_sec, 4);
	wire_number(w, (uint32_t)len, 2);
	wire_count(w, section);
}

static inline void wire_a(struct wire *w, const char *name, uint32_t ttl_sec, uint32_t addr)
{
	wire_record(w, 1, name, DNS_TYPE_A, ttl_sec, 4);
	wire_number(w, addr, 4);
}

static inline void wire_cname(struct wire *w, const char *name, uint32_t ttl_sec, const char *to)
{
	wire_record(w, 1, name, DNS_TYPE_CNAME, ttl_sec, strlen(to) + (*to ? 2 : 1));
	wire_name(w, to);
}

static inline void wire_edns(struct wire *w, unsigned bytes, unsigned version)
{
	wire_name(w, "");
	wire_number(w, DNS_TYPE_OPT, 2);
	wire_number(w, bytes, 2);
	wire_number(w, version << 16, 4);
	wire_number(w, 0, 2);
	wire_count(w, 3);
}

static inline unsigned wire_at(const uint8_t *data, size_t at)
{
	return (unsigned)data[at] << 8 | data[at + 1];
}

static inline unsigned wire_rcode(const uint8_t *data)
{
	return data[3] & 15;
}

static inline bool wire_is_cut(const uint8_t *data)
{
	return data[2] & 2;
}

#endif
