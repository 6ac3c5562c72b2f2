/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-cmdline.c - the sbxfs.* words of the kernel's command line
 *
 * How it works: one row a key. An unknown sbxfs. key is an error and not passed over: the host and the
 * agent come from one build, and a guest that boots without what was asked for is harder to understand
 * than one that says why it did not. Quotes are not handled, because no value can hold a blank.
 */
#include "agent/boot-cmdline.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char PREFIX[] = "sbxfs.";

/* A value out of the command line: not NUL-terminated. */
struct word {
	const char *text;
	size_t len;
};

static int copy(const struct word *w, char *to, size_t size)
{
	if (w->len == 0 || w->len >= size)
		return -EINVAL;
	memcpy(to, w->text, w->len);
	to[w->len] = '\0';
	return 0;
}

static int address(const struct word *w, struct in_addr *ret)
{
	char text[INET_ADDRSTRLEN];

	if (copy(w, text, sizeof(text)) != 0 || inet_pton(AF_INET, text, ret) != 1)
		return -EINVAL;
	return 0;
}

static int set_ip(struct boot_args *a, const struct word *w)
{
	const char *slash = memchr(w->text, '/', w->len);
	struct word addr = {w->text, 0};
	struct word bits;
	char digits[3];
	char *end = NULL;

	if (!slash)
		return -EINVAL;
	addr.len = (size_t)(slash - w->text);
	bits = (struct word){slash + 1, w->len - addr.len - 1};
	if (copy(&bits, digits, sizeof(digits)) != 0 || digits[0] < '0' || digits[0] > '9')
		return -EINVAL;
	a->prefix = (unsigned)strtoul(digits, &end, 10);
	if (*end != '\0' || a->prefix > 32 || address(&addr, &a->ip) != 0)
		return -EINVAL;
	a->has_ip = true;
	return 0;
}

static int set_gw(struct boot_args *a, const struct word *w)
{
	a->has_gw = true;
	return address(w, &a->gw);
}

static int set_dns(struct boot_args *a, const struct word *w)
{
	a->has_dns = true;
	return address(w, &a->dns);
}

static int set_host(struct boot_args *a, const struct word *w)
{
	for (size_t i = 0; i < w->len; i++)
		if (w->text[i] <= ' ' || w->text[i] == '/' || w->text[i] > '~')
			return -EINVAL;
	return copy(w, a->host, sizeof(a->host));
}

static int set_root(struct boot_args *a, const struct word *w)
{
	if (w->len == 0 || w->text[0] != '/')
		return -EINVAL;
	return copy(w, a->root, sizeof(a->root));
}

static int set_init(struct boot_args *a, const struct word *w)
{
	static const char self[] = "agent";

	if (w->len == sizeof(self) - 1 && memcmp(w->text, self, w->len) == 0) {
		a->init[0] = '\0';
		return 0;
	}
	if (w->len == 0 || w->text[0] != '/')
		return -EINVAL;
	return copy(w, a->init, sizeof(a->init));
}

/* clang-format off */
static const struct {
	const char *key;
	int (*set)(struct boot_args *a, const struct word *value);
	const char *wanted;
} KEYS[] = {
	{ "ip",   set_ip,   "an IPv4 address with its prefix, as 10.0.0.2/24" },
	{ "gw",   set_gw,   "an IPv4 address" },
	{ "dns",  set_dns,  "an IPv4 address" },
	{ "host", set_host, "a host name of 63 bytes at most" },
	{ "root", set_root, "the absolute path of a block device" },
	{ "init", set_init, "'agent' or an absolute path" },
};
/* clang-format on */

static int parse_word(const struct word *w, struct boot_args *a, struct err *e)
{
	const size_t skip = sizeof(PREFIX) - 1;
	const char *equals = memchr(w->text, '=', w->len);
	const char *key = w->text + skip;
	size_t key_len = (equals ? (size_t)(equals - w->text) : w->len) - skip;

	for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++) {
		if (strlen(KEYS[i].key) != key_len || memcmp(KEYS[i].key, key, key_len) != 0)
			continue;
		struct word value = {"", 0};

		if (equals)
			value = (struct word){equals + 1, w->len - skip - key_len - 1};
		if (KEYS[i].set(a, &value) == 0)
			return 0;
		return err_set(e, EINVAL, "kernel command line: '%.*s': give %s", (int)w->len,
			       w->text, KEYS[i].wanted);
	}
	return err_set(e, EINVAL, "kernel command line: '%.*s' is not known to this agent",
		       (int)w->len, w->text);
}

int boot_cmdline_parse(const char *text, struct boot_args *ret_args, struct err *e)
{
	static const char blanks[] = " \t\n";

	*ret_args = (struct boot_args){.root = "/dev/vda"};
	for (;;) {
		struct word w;

		text += strspn(text, blanks);
		w = (struct word){text, strcspn(text, blanks)};
		if (w.len == 0)
			return 0;
		if (w.len >= sizeof(PREFIX) - 1 && memcmp(text, PREFIX, sizeof(PREFIX) - 1) == 0) {
			int r = parse_word(&w, ret_args, e);

			if (r != 0)
				return r;
		}
		text += w.len;
	}
}
