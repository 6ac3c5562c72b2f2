/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/forward-netns.c - the ports of the host that lead to slots
 *
 * How it works: a forward is an element of one of two maps in the host's table, from the port to the slot's address and the
 * guest's port; the rules that look there are in table.c. So a list changes in one transaction. Each element says in its comment
 * which link it is for, by which the next daemon finds them again.
 *
 * Each port is held by a socket that is bound and never listens or reads: no other program can take it, and one that has it
 * already is told of. Packets are translated before they would reach a socket.
 *
 * Connections of the host itself to 127.0.0.1 leave by the slot's link, which the kernel lets them only when the link says
 * route_localnet; their source becomes the host's address of that link. Nothing else comes in by it: what a slot sends to 127.0.0.0/8
 * and is no answer is dropped first of all in the table.
 */
#include "net/forward-netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/nft.h"
#include "net/setting.h"
#include "net/track.h"

enum {
	WORDS_ANY =
		9, /* of an element as it is listed: proto . port comment "link" : addr . port */
	WORDS_AT = 11, /* with an address before it */
	LOOPBACK = 127,
};

struct held {
	struct forward f;
	int fd; /* owned; -1: not held */
};

/* A slot that has some. */
struct owner {
	struct owner *next;
	char link[SLOT_NAME_SIZE];
	uint32_t to;       /* where the host reaches the guest */
	struct held *list; /* owned */
	size_t count;
};

static struct owner *owners; /* guarded by the lock of side.h; owned */

/* ---- the list ------------------------------------------------------------------------------------- */

static struct owner **owner_at(const char *link)
{
	struct owner **at = &owners;

	while (*at && strcmp((*at)->link, link) != 0)
		at = &(*at)->next;
	return at;
}

static struct owner *owner_new(const char *link, uint32_t to)
{
	struct owner *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	*o = (struct owner){.next = owners, .to = to};
	(void)snprintf(o->link, sizeof(o->link), "%s", link);
	owners = o;
	return o;
}

static void list_free(struct held *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fd_close(list[i].fd);
	free(list);
}

static void owner_remove(struct owner **at)
{
	struct owner *o = *at;

	*at = o->next;
	list_free(o->list, o->count);
	free(o);
}

void forwards_forget(void)
{
	while (owners)
		owner_remove(&owners);
}

void forwards_drop(const char *link)
{
	struct owner **at = owner_at(link);

	if (*at)
		owner_remove(at);
}

/* ---- sockets -------------------------------------------------------------------------------------- */

static int refuse_taken(const struct forward *f, const char *by, struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	forward_render_place(f, &b);
	return err_set(e, EADDRINUSE, "%s of the host is in use by another %s", buf_text(&b), by);
}

/* No SO_REUSEADDR: it would let others have the port beside us. */
static int hold(struct held *held, struct err *e)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(held->f.host_port),
				 .sin_addr.s_addr = htonl(held->f.host_addr)};
	AUTO_FD fd = socket(AF_INET, (held->f.is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	char addr[SLOT_ADDR_SIZE];
	int least = 1;

	if (fd < 0)
		return err_sys(e, errno, "cannot open a socket");
	/* Nobody reads it: what nevertheless comes is not worth memory, and this can only make it more. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		if (errno == EADDRINUSE)
			return refuse_taken(&held->f, "program", e);
		return err_sys(e, errno, "cannot take port %u of %s", held->f.host_port,
			       addr_text(held->f.host_addr, addr));
	}
	held->fd = steal_fd(&fd);
	return 0;
}

void forwards_hold(const char *link)
{
	struct owner *o = *owner_at(link);
	struct err e = {0};

	for (size_t i = 0; o && i < o->count; i++)
		if (o->list[i].fd < 0 && hold(&o->list[i], &e) < 0)
			log_warning("%s, ignoring: it goes on leading to the guest", e.text);
}

static struct held *find_same(struct held *list, size_t count, const struct forward *f)
{
	for (size_t i = 0; i < count; i++)
		if (forward_same_place(&list[i].f, f))
			return &list[i];
	return NULL;
}

static int check_others(const struct owner *o, const struct forward *f, struct err *e)
{
	for (const struct owner *other = owners; other; other = other->next)
		for (size_t i = 0; other != o && i < other->count; i++)
			if (forward_clashes(&other->list[i].f, f))
				return refuse_taken(f, "sandbox", e);
	return 0;
}

/* Sockets that the new list has no place for stay with the old one, unless they are in the way. */
static int hold_new(struct owner *o, struct held *list, size_t count, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		struct held *same = find_same(o->list, o->count, &list[i].f);

		if (same)
			list[i].fd = steal_fd(&same->fd);
	}
	for (size_t i = 0; i < o->count; i++)
		for (size_t k = 0; k < count && o->list[i].fd >= 0; k++)
			if (forward_clashes(&o->list[i].f, &list[k].f))
				fd_close(steal_fd(&o->list[i].fd));
	for (size_t i = 0; i < count && rc == 0; i++) {
		if (list[i].fd >= 0)
			continue;
		rc = check_others(o, &list[i].f, e);
		if (rc == 0)
			rc = hold(&list[i], e);
		/* It led to the guest before, whoever has it. */
		if (rc == -EADDRINUSE && find_same(o->list, o->count, &list[i].f))
			rc = 0;
	}
	return rc;
}

/* The sockets go back to where they came from. */
static void hold_undo(struct owner *o, struct held *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct held *same = find_same(o->list, o->count, &list[i].f);

		if (same)
			same->fd = steal_fd(&list[i].fd);
	}
	list_free(list, count);
	forwards_hold(o->link);
}

/* ---- elements ------------------------------------------------------------------------------------- */

/* A line as element.h has it. */
static void add_element(struct buf *b, const struct owner *o, const struct forward *f)
{
	char addr[SLOT_ADDR_SIZE];

	buf_adds(b, f->host_addr ? "forward_at " : "forward ");
	if (f->host_addr)
		buf_addf(b, "%s . ", addr_text(f->host_addr, addr));
	buf_addf(b, "%s . %u comment \"%s\" : %s . %u\n", f->is_udp ? "udp" : "tcp", f->host_port,
		 o->link, addr_text(o->to, addr), f->guest_port);
}

static bool has_exactly(const struct held *list, size_t count, const struct forward *f)
{
	for (size_t i = 0; i < count; i++)
		if (forward_same_place(&list[i].f, f) && list[i].f.guest_port == f->guest_port)
			return true;
	return false;
}

static int change(struct net_side *h, const struct owner *o, const struct held *list, size_t count,
		  struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	for (size_t i = 0; i < count; i++)
		add_element(&b, o, &list[i].f);
	if (buf_error(&b))
		return err_set(e, ENOMEM, "no memory for the nftables commands");
	return side_elements(h, o->link, ELEMENT_FORWARD, buf_text(&b), e);
}

/* ---- what an earlier daemon left -------------------------------------------------------------------- */

static bool to_port(const char *text, uint16_t *ret)
{
	unsigned long n = strtoul(text, NULL, 10);

	*ret = (uint16_t)n;
	return n > 0 && n <= UINT16_MAX;
}

static int owner_append(const char *link, uint32_t to, const struct forward *f)
{
	struct owner *o = *owner_at(link);
	AUTO_BUF b = BUF_INIT;
	struct held *list;

	if (!o)
		o = owner_new(link, to);
	list = o ? reallocarray(o->list, o->count + 1, sizeof(*list)) : NULL;
	if (!list)
		return -ENOMEM;
	o->list = list;
	list[o->count++] = (struct held){.f = *f, .fd = -1};
	add_element(&b, o, f);
	if (buf_error(&b))
		return -ENOMEM;
	b.data[b.len - 1] = '\0';
	return element_keep_line(link, ELEMENT_FORWARD, b.data);
}

/* One element as nft lists it; others' are passed over. */
static int load_element(const struct net_side *h, char *text)
{
	char *words[WORDS_AT + 1] = {NULL}, *cursor = NULL, *link;
	struct forward f = {.host_addr = 0};
	uint32_t serial = 0, to = 0;
	int n = 0;

	for (char *w = strtok_r(text, " \t\n", &cursor); w && n <= WORDS_AT;
	     w = strtok_r(NULL, " \t\n", &cursor))
		words[n++] = w;
	if (n != WORDS_ANY && n != WORDS_AT)
		return 0;
	link = words[n - 5] + 1;
	link[strcspn(link, "\"")] = '\0';
	f.is_udp = strcmp(words[n - 9], "udp") == 0;
	if ((n == WORDS_AT && addr_parse(words[0], &f.host_addr) < 0) ||
	    addr_parse(words[n - 3], &to) < 0 || !to_port(words[n - 7], &f.host_port) ||
	    !to_port(words[n - 1], &f.guest_port) || !slot_name_parse(h->instance, link, &serial))
		return 0;
	return owner_append(link, to, &f);
}

static int load_map(struct net_side *h, const char *map, struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	char command[64], *text, *element;
	int rc;

	(void)snprintf(command, sizeof(command), "list map ip sbxfs-%s %s\n", h->instance,
		       map); /* always fits */
	rc = nft_run(h->nft, command, &b, e);
	text = b.data ? strstr(b.data, "elements = {") : NULL;
	if (rc < 0 || !text)
		return rc;
	text += strlen("elements = {");
	text[strcspn(text, "}")] = '\0';
	while (rc == 0 && (element = strsep(&text, ",")))
		rc = load_element(h, element);
	return rc < 0 ? err_set(e, ENOMEM, "no memory for the list of forwarded ports") : 0;
}

int forwards_load(struct net_side *h, struct err *e)
{
	int rc;

	forwards_forget();
	rc = load_map(h, "forward", e);
	return rc < 0 ? rc : load_map(h, "forward_at", e);
}

/* ---- connections ---------------------------------------------------------------------------------- */

/* What of a list went, and what is new in it. */
struct cut {
	const struct owner *o;
	const struct held *list;
	size_t count;
	struct track *track, *other; /* to list with, and to delete with meanwhile */
};

static bool is_local(uint32_t addr)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(addr)};
	AUTO_FD fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;
}

/* It went through a port that is not in the new list, or to the host itself by one that is. */
static void cut_one(const struct track_conn *c, void *arg)
{
	const struct cut *k = arg;
	bool is_udp = c->protocol == IPPROTO_UDP;
	bool is_gone = false, is_new = false;

	for (size_t i = 0; i < k->o->count && !is_gone; i++) {
		const struct forward *f = &k->o->list[i].f;

		is_gone = f->is_udp == is_udp && f->host_port == c->there.to_port &&
			  (!f->host_addr || f->host_addr == c->there.to) &&
			  k->o->to == c->back.from && f->guest_port == c->back.from_port &&
			  !has_exactly(k->list, k->count, f);
	}
	/* A new connection of TCP asks the table anew, a datagram belongs to those before it. */
	for (size_t i = 0; is_udp && i < k->count && !is_new; i++) {
		const struct forward *f = &k->list[i].f;

		is_new = f->is_udp && f->host_port == c->there.to_port &&
			 c->there.to == c->back.from &&
			 (f->host_addr ? f->host_addr == c->there.to : is_local(c->there.to));
	}
	if (is_gone || is_new)
		(void)track_delete(k->other, c, NULL); /* it may have ended by itself */
}

static void cut_all(struct cut *k)
{
	struct err e = {0};
	int rc = track_open(&k->track, &e);

	if (rc == 0)
		rc = track_open(&k->other, &e);
	if (rc == 0)
		rc = track_flows(k->track, cut_one, k, &e);
	track_close(k->track);
	track_close(k->other);
	if (rc < 0)
		log_warning("%s, ignoring: what goes through ports that were forwarded goes on",
			    e.text);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

/* Does any lead from a loopback address? */
static bool has_loopback(const struct held *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].f.host_addr == 0 || list[i].f.host_addr >> 24 == LOOPBACK)
			return true;
	return false;
}

static int set_localnet(const char *link, bool on, struct err *e)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "ipv4/conf/%s/route_localnet", link); /* always fits */
	return setting_write(name, on ? "1" : "0", e);
}

/* Takes over @list. */
static int set_locked(struct net_side *h, struct owner *o, struct held *list, size_t count,
		      struct err *e)
{
	bool before = has_loopback(o->list, o->count), after = has_loopback(list, count);
	struct cut k = {.o = o, .list = list, .count = count};
	int rc = hold_new(o, list, count, e);

	if (rc == 0 && after)
		rc = set_localnet(o->link, true, e);
	if (rc == 0)
		rc = change(h, o, list, count, e);
	if (rc < 0) {
		hold_undo(o, list, count);
		if (after && !before)
			(void)set_localnet(o->link, false, NULL); /* the first failure counts */
		return rc;
	}
	if (before && !after && set_localnet(o->link, false, NULL) < 0)
		log_warning("route_localnet of a slot's link stays on, ignoring");
	cut_all(&k);
	list_free(o->list, o->count);
	o->list = list;
	o->count = count;
	return 0;
}

int forwards_set(const struct slot *s, const struct forward *list, size_t count,
		 const struct deadline *d, struct err *e)
{
	struct held *copy = calloc(count + 1, sizeof(*copy));
	struct net_side *h = NULL;
	char link[SLOT_NAME_SIZE];
	struct owner **at;
	uint32_t to = 0;
	int rc;

	if (!copy)
		return err_set(e, ENOMEM, "no memory");
	rc = fault_point("forward-set", d, e);
	if (rc == 0)
		rc = side_lock(d, &h, e);
	if (rc < 0) {
		free(copy);
		return rc;
	}
	for (size_t i = 0; i < count; i++)
		copy[i] = (struct held){.f = list[i], .fd = -1};
	(void)slot_name(h->instance, s->serial, link); /* known after a crash too */
	if (!*owner_at(link) && count && addr_parse(s->host_ip, &to) == 0)
		(void)owner_new(link, to); /* NULL is seen below */
	at = owner_at(link);
	if (*at) {
		rc = set_locked(h, *at, copy, count, e);
	} else {
		free(copy);
		if (count)
			rc = err_set(e, ENOMEM, "no memory for the list of forwarded ports");
	}
	if (*at && (*at)->count == 0)
		owner_remove(at);
	side_unlock(h);
	return rc;
}
