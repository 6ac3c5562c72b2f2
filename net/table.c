/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/table.c - the host's nftables table: its rules, and what its sets have for each slot
 *
 * How it works
 * The table `sbxfs-<instance>` has rules for the pattern of our link names and one set of links that are
 * admitted, so that a slot costs one element. Guests reach neither the host nor each other nor private addresses, but for what a
 * guest's own rules open (sets open_*, an element each); the host alone begins connections to guests, and whoever reaches a port of it
 * that leads to one (forward-netns.c). What is in the sets is kept in
 * memory (element.c) and put back when somebody has flushed the table. Tables of others (docker, firewalld) are passed as
 * well, in any order: what they drop stays dropped whatever we accept, so a host that drops forwarded packets by
 * default needs a rule of its own for links named sbx*.
 */
#include "net/table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/forward-netns.h"
#include "net/nft.h"

/* What is sent to a port of the host that leads to a slot. */
#define FORWARD " fib daddr type local dnat ip to meta l4proto . th dport map @forward\n"
#define FORWARD_AT                                                                                 \
	" fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @forward_at\n"

/* '@' stands for the instance, '%' for the block, '!' for what is closed to guests. One transaction: there is no
 * moment without rules, and the set keeps its elements. */
static const char table_text[] =
	"add table ip sbxfs-@\n"
	"add set ip sbxfs-@ slots { type ifname; }\n"
	"add set ip sbxfs-@ open_range { type ifname . ipv4_addr; flags interval; }\n"
	"add set ip sbxfs-@ open_guest { type ifname . ipv4_addr; flags interval; }\n"
	"add set ip sbxfs-@ open_host { type ifname . ipv4_addr; }\n"
	"add set ip sbxfs-@ open_at { type ifname . ipv4_addr; }\n" /* the addresses of open_port */
	"add set ip sbxfs-@ open_port { type ifname . ipv4_addr . inet_proto . inet_service; }\n"
	"add map ip sbxfs-@ forward { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
	"add map ip sbxfs-@ forward_at"
	" { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
	"add chain ip sbxfs-@ input { type filter hook input priority 0; policy accept; }\n"
	"add chain ip sbxfs-@ forward { type filter hook forward priority 0; policy accept; }\n"
	"add chain ip sbxfs-@ before { type filter hook prerouting priority -110; policy accept; }\n"
	"add chain ip sbxfs-@ from_guest\n"
	"add chain ip sbxfs-@ to_guest\n"
	"add chain ip sbxfs-@ postrouting { type nat hook postrouting priority 100; policy accept; }\n"
	"add chain ip sbxfs-@ prerouting { type nat hook prerouting priority -100; policy accept; }\n"
	"add chain ip sbxfs-@ output { type nat hook output priority -100; policy accept; }\n"
	"flush chain ip sbxfs-@ input\n"
	"flush chain ip sbxfs-@ forward\n"
	"flush chain ip sbxfs-@ before\n"
	"flush chain ip sbxfs-@ from_guest\n"
	"flush chain ip sbxfs-@ to_guest\n"
	"flush chain ip sbxfs-@ postrouting\n"
	"flush chain ip sbxfs-@ prerouting\n"
	"flush chain ip sbxfs-@ output\n"
	/* A link whose ports are forwarded from 127.0.0.1 lets such packets through both ways. */
	"add rule ip sbxfs-@ input iifname \"sbx@*\" ip daddr 127.0.0.0/8 ct direction original drop\n"
	/* Answers; what a guest begins is judged packet by packet, so that rules hold for what goes on too. */
	"add rule ip sbxfs-@ input iifname @slots ct direction reply accept\n"
	"add rule ip sbxfs-@ input iifname @slots ip saddr % iifname . ip daddr @open_host accept\n"
	"add rule ip sbxfs-@ input iifname @slots ip saddr %"
	" iifname . ip daddr . meta l4proto . th dport @open_port accept\n"
	"add rule ip sbxfs-@ input iifname \"sbx@*\" drop\n"
	/* What leads elsewhere by a port of the host is not known by that port any more behind it. */
	"add rule ip sbxfs-@ before iifname . ip daddr @open_host accept\n"
	"add rule ip sbxfs-@ before iifname . ip daddr @open_at ct direction original"
	" iifname . ip daddr . meta l4proto . th dport != @open_port drop\n"
	"add rule ip sbxfs-@ forward iifname \"sbx@*\" jump from_guest\n"
	"add rule ip sbxfs-@ forward oifname \"sbx@*\" jump to_guest\n"
	"add rule ip sbxfs-@ from_guest iifname != @slots drop\n"
	"add rule ip sbxfs-@ from_guest ip saddr != % drop\n"
	/* Answers to whom to_guest let in, wherever that is. */
	"add rule ip sbxfs-@ from_guest ct direction reply accept\n"
	"add rule ip sbxfs-@ from_guest oifname \"sbx@*\" iifname . ip daddr @open_guest accept\n"
	"add rule ip sbxfs-@ from_guest ct status dnat iifname . ct original ip daddr @open_host accept\n"
	"add rule ip sbxfs-@ from_guest ct status dnat iifname . ct original ip daddr @open_at accept\n"
	"add rule ip sbxfs-@ from_guest oifname \"sbx*\" drop\n"
	"add rule ip sbxfs-@ from_guest iifname . ip daddr @open_range accept\n"
	"add rule ip sbxfs-@ from_guest ip daddr { ! } drop\n"
	"add rule ip sbxfs-@ from_guest accept\n"
	"add rule ip sbxfs-@ to_guest ct state established,related accept\n"
	"add rule ip sbxfs-@ to_guest ct status dnat accept\n"
	"add rule ip sbxfs-@ to_guest drop\n"
	"add rule ip sbxfs-@ prerouting" FORWARD "add rule ip sbxfs-@ prerouting" FORWARD_AT
	"add rule ip sbxfs-@ output" FORWARD "add rule ip sbxfs-@ output" FORWARD_AT
	"add rule ip sbxfs-@ postrouting ip saddr 127.0.0.0/8 oifname \"sbx@*\" masquerade\n"
	"add rule ip sbxfs-@ postrouting ip saddr % oifname != \"sbx@*\" masquerade\n";

/* Behind it, to begin with nothing in its sets. */
static const char sets_text[] = "flush set ip sbxfs-@ slots\n"
				"flush set ip sbxfs-@ open_range\n"
				"flush set ip sbxfs-@ open_guest\n"
				"flush set ip sbxfs-@ open_host\n"
				"flush set ip sbxfs-@ open_at\n"
				"flush set ip sbxfs-@ open_port\n"
				"flush map ip sbxfs-@ forward\n"
				"flush map ip sbxfs-@ forward_at\n";

/* Sets whose elements begin with a link, and what they are in memory. */
static const struct {
	const char *name;
	enum element_kind kind;
} link_sets[] = {
	{"slots", ELEMENT_SLOT},     {"open_range", ELEMENT_OPEN}, {"open_guest", ELEMENT_OPEN},
	{"open_host", ELEMENT_OPEN}, {"open_port", ELEMENT_OPEN},
};

static void add_range(struct buf *b, struct addr_range r)
{
	char text[SLOT_ADDR_SIZE];

	buf_addf(b, "%s/%u", addr_text(r.addr, text), r.prefix);
}

static void add_text(const struct net_side *h, const char *text, struct buf *b)
{
	for (const char *p = text; *p; p++) {
		/* "@slots", "@open_…" and "@forward" are nftables' own. */
		if (*p == '@' && strncmp(p, "@slots", 6) != 0 && strncmp(p, "@open_", 6) != 0 &&
		    strncmp(p, "@forward", 8) != 0)
			buf_adds(b, h->instance);
		else if (*p == '%')
			add_range(b, h->pool.block);
		else if (*p == '!' && p[1] != '=')
			for (const struct addr_range *r = addr_closed; r->prefix; r++) {
				buf_adds(b, r == addr_closed ? "" : ", ");
				add_range(b, *r);
			}
		else
			buf_addc(b, *p);
	}
}

int table_make(struct net_side *h, bool anew, struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	add_text(h, table_text, &b);
	if (anew) {
		add_text(h, sets_text, &b);
		element_add_all(h->instance, &b);
	}
	if (buf_error(&b))
		return err_set(e, ENOMEM, "no memory for the nftables commands");
	return nft_run(h->nft, buf_text(&b), NULL, e);
}

/* Call @fn for each element of a set that begins with a link: its line, as in element.h. */
static int set_lines(struct net_side *h, const char *set,
		     int (*fn)(const char *link, const char *line, void *arg), void *arg,
		     struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	char command[64], line[96], link[SLOT_NAME_SIZE];
	int rc = 0;

	(void)snprintf(command, sizeof(command), "list set ip sbxfs-%s %s\n", h->instance,
		       set); /* always fits */
	rc = nft_run(h->nft, command, &b, e);
	/* The only quoted words of the answer are the links. */
	for (const char *p = rc == 0 ? strchr(buf_text(&b), '"') : NULL; p && rc == 0;) {
		size_t name = strcspn(p + 1, "\"\n"), len = strcspn(p, ",}\n");

		while (len && p[len - 1] == ' ')
			len--;
		(void)snprintf(link, sizeof(link), "%.*s", (int)name, p + 1);
		(void)snprintf(line, sizeof(line), "%s %.*s", set, (int)len, p);
		rc = fn(link, line, arg);
		p = strchr(p + 1 + name + (p[1 + name] == '"'), '"');
	}
	return rc;
}

static int set_line_keep(const char *link, const char *line, void *arg)
{
	return element_keep_line(link, *(const enum element_kind *)arg, line);
}

int table_read(struct net_side *h, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < sizeof(link_sets) / sizeof(link_sets[0]) && rc == 0; i++) {
		enum element_kind kind = link_sets[i].kind;

		rc = set_lines(h, link_sets[i].name, set_line_keep, &kind, e);
	}
	if (rc == -ENOMEM)
		return err_set(e, ENOMEM, "no memory for what the slots may reach");
	return rc < 0 ? rc : forwards_load(h, e);
}

bool table_is_there(struct net_side *h)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "list chain ip sbxfs-%s from_guest\n",
		       h->instance); /* always fits */
	return nft_run(h->nft, command, NULL, NULL) == 0;
}

int table_remove(struct net_side *h)
{
	char commands[96];

	/* Adding first makes the deletion succeed when it is gone already. */
	(void)snprintf(commands, sizeof(commands),
		       "add table ip sbxfs-%s\ndelete table ip sbxfs-%s\n", h->instance,
		       h->instance); /* always fits */
	return nft_run(h->nft, commands, NULL, NULL);
}

int side_elements(struct net_side *h, const char *link, enum element_kind kind, const char *text,
		  struct err *e)
{
	AUTO_FREE char *old = strdup(element_text(link, kind));
	AUTO_BUF b = BUF_INIT;
	int rc = 0;

	if (!old)
		return err_set(e, ENOMEM, "no memory for an nftables command");
	/* A link is admitted again rather than believed to be: somebody may have flushed the table. */
	element_change(h->instance, kind == ELEMENT_SLOT ? "" : old, text, &b);
	if (buf_error(&b) || element_keep(link, kind, text) < 0)
		return err_set(e, ENOMEM, "no memory for an nftables command");
	if (b.len == 0 || nft_run(h->nft, buf_text(&b), NULL, NULL) == 0)
		return 0;
	/* `nft flush ruleset` of an administrator takes ours too. */
	rc = table_make(h, true, e);
	if (rc < 0 && element_keep(link, kind, old) < 0)
		log_warning("net: no memory to remember what %s may reach, ignoring", link);
	return rc;
}

int side_admit(struct net_side *h, const char *link, struct err *e)
{
	char line[SLOT_NAME_SIZE + 16];

	(void)snprintf(line, sizeof(line), "slots \"%s\"\n", link); /* always fits */
	return side_elements(h, link, ELEMENT_SLOT, line, e);
}

/* Make the table anew without a link. On failure it is remembered as before. */
static int make_without(struct net_side *h, const char *link, struct err *e)
{
	char *texts[ELEMENT_KIND_COUNT] = {NULL};
	int rc = 0;

	for (int i = 0; i < ELEMENT_KIND_COUNT && rc == 0; i++) {
		texts[i] = strdup(element_text(link, (enum element_kind)i));
		if (!texts[i])
			rc = err_set(e, ENOMEM, "no memory for the nftables commands");
	}
	if (rc == 0) {
		element_drop(link);
		rc = table_make(h, true, e);
		for (int i = 0; i < ELEMENT_KIND_COUNT && rc < 0; i++)
			if (element_keep(link, (enum element_kind)i, texts[i]) < 0)
				log_warning("net: no memory to remember what %s has, ignoring",
					    link);
	}
	for (int i = 0; i < ELEMENT_KIND_COUNT; i++)
		free(texts[i]);
	return rc;
}

int side_expel(struct net_side *h, const char *link, struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	int rc;

	/* What was added in vain is not in memory: the pair succeeds whether it was there or not. */
	buf_addf(&b, "add element ip sbxfs-%s slots { \"%s\" }\n", h->instance, link);
	buf_addf(&b, "delete element ip sbxfs-%s slots { \"%s\" }\n", h->instance, link);
	for (int i = ELEMENT_SLOT + 1; i < ELEMENT_KIND_COUNT; i++)
		element_change(h->instance, element_text(link, (enum element_kind)i), "", &b);
	if (buf_error(&b))
		return err_set(e, ENOMEM, "no memory for an nftables command");
	rc = nft_run(h->nft, buf_text(&b), NULL, NULL);
	if (rc == 0)
		element_drop(link);
	else
		rc = make_without(h, link, e); /* as in side_elements() */
	if (rc == 0)
		forwards_drop(link); /* else a port would be free that still leads to it */
	return rc;
}

struct admitted {
	void (*fn)(const char *link, void *arg);
	void *arg;
};

static int admitted_line(const char *link, const char *line, void *arg)
{
	const struct admitted *a = arg;

	(void)line;
	a->fn(link, a->arg);
	return 0;
}

int side_admitted(struct net_side *h, void (*fn)(const char *link, void *arg), void *arg,
		  struct err *e)
{
	struct admitted a = {.fn = fn, .arg = arg};

	return set_lines(h, "slots", admitted_line, &a, e);
}
