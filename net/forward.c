/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/forward.c - forwards as text, and whether two are in each other's way */
#include "net/forward.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "net/pool.h"

enum {
	PARTS_MAX = 3,
	TEXT_MAX = 64, /* the longest is "255.255.255.255:65535:65535/udp" */
};

static const char usage[] = "[ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp], such as 8080:80";
static const char usage_place[] = "[ADDRESS:]HOSTPORT[/tcp|/udp], such as 8080";

/* What is behind the last slash, which is cut off. */
static int take_protocol(char *text, bool *ret_is_udp)
{
	char *slash = strchr(text, '/');

	*ret_is_udp = slash && strcmp(slash, "/udp") == 0;
	if (slash && !*ret_is_udp && strcmp(slash, "/tcp") != 0)
		return -EINVAL;
	if (slash)
		*slash = '\0';
	return 0;
}

static int take_port(const char *text, uint16_t *ret)
{
	uint64_t n = 0;
	int rc = parse_u64(text, 1, UINT16_MAX, &n);

	*ret = (uint16_t)n;
	return rc;
}

/* @ports: how many of the parts are ports; before them may be an address. */
static int parse(const char *text, int ports, struct forward *ret)
{
	struct forward f = {.host_addr = 0};
	char copy[TEXT_MAX];
	char *parts[PARTS_MAX + 1] = {NULL};
	char *cursor = copy;
	int n = 0, rc;

	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy))
		return -EINVAL;
	rc = take_protocol(copy, &f.is_udp);
	while (n <= PARTS_MAX && cursor)
		parts[n++] = strsep(&cursor, ":");
	if (rc < 0 || (n != ports && n != ports + 1))
		return -EINVAL;
	if (n > ports)
		rc = addr_parse(parts[0], &f.host_addr);
	if (rc == 0)
		rc = take_port(parts[n - ports], &f.host_port);
	if (rc == 0 && ports > 1)
		rc = take_port(parts[n - 1], &f.guest_port);
	if (rc < 0)
		return -EINVAL;
	*ret = f;
	return 0;
}

int forward_parse(const char *text, struct forward *ret, struct err *e)
{
	return parse(text, 2, ret) == 0 ? 0 : err_set(e, EINVAL, "%s is not %s", text, usage);
}

int forward_parse_place(const char *text, struct forward *ret, struct err *e)
{
	return parse(text, 1, ret) == 0 ? 0 : err_set(e, EINVAL, "%s is not %s", text, usage_place);
}

void forward_render(const struct forward *f, struct buf *b)
{
	char addr[SLOT_ADDR_SIZE];

	if (f->host_addr)
		buf_addf(b, "%s:", addr_text(f->host_addr, addr));
	buf_addf(b, "%u:%u/%s", f->host_port, f->guest_port, f->is_udp ? "udp" : "tcp");
}

void forward_render_place(const struct forward *f, struct buf *b)
{
	char addr[SLOT_ADDR_SIZE];

	buf_addf(b, "%sport %u", f->is_udp ? "UDP " : "", f->host_port);
	if (f->host_addr)
		buf_addf(b, " of %s", addr_text(f->host_addr, addr));
}

bool forward_same_place(const struct forward *a, const struct forward *b)
{
	return a->is_udp == b->is_udp && a->host_port == b->host_port &&
	       a->host_addr == b->host_addr;
}

bool forward_clashes(const struct forward *a, const struct forward *b)
{
	return a->is_udp == b->is_udp && a->host_port == b->host_port &&
	       (a->host_addr == b->host_addr || a->host_addr == 0 || b->host_addr == 0);
}
