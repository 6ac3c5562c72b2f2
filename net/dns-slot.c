/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns-slot.c - what a guest has asked, and the answer to it
 *
 * How it works: what can be told without the upstream is told at once. For the rest a question is made (dns-ask.c), and
 * what comes back is looked at before the guest gets it: its addresses are let through first, by the rules that hold by
 * then, and those that no guest may reach under a name are left out (a public name that leads to a private address is
 * somebody's attempt to get there). Where the policy is to allow, any name may be asked for; what rules have is let through there too,
 * as others may deny its addresses.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/deadline.h"
#include "net/dns-private.h"
#include "net/pool.h"

/* ---- sockets ---------------------------------------------------------------------------------------- */

void dns_slot_listen(struct dns_slot *s)
{
	dns_watch_set(&s->udp, !s->waits && s->ask_count < DNS_SLOT_ASKS ? EPOLLIN : 0);
	dns_watch_set(&s->tcp, !s->waits && s->conn_count < DNS_SLOT_CONNS ? EPOLLIN : 0);
}

void dns_slot_clear(struct dns_slot *s)
{
	struct dns_conn *c;
	struct dns_ask *a;

	while ((c = LIST_FIRST(&s->conns)))
		dns_conn_close(c);
	while ((a = LIST_FIRST(&s->asks)))
		dns_ask_end(a);
}

void dns_slot_udp(struct dns_watch *w, uint32_t events)
{
	struct dns_slot *s = (struct dns_slot *)w;

	(void)events;
	for (int i = 0; i < DNS_TURN && !w->gone && s->ask_count < DNS_SLOT_ASKS; i++) {
		struct sockaddr_in from = {.sin_family = AF_UNSPEC};
		socklen_t from_len = sizeof(from);
		ssize_t got = recvfrom(w->fd, dns.in, sizeof(dns.in), MSG_DONTWAIT,
				       (struct sockaddr *)&from, &from_len);

		if (got < 0)
			return;
		if (from_len == sizeof(from) && from.sin_family == AF_INET)
			dns_question_take(s, NULL, &from, dns.in, (size_t)got);
	}
}

void dns_slot_tcp(struct dns_watch *w, uint32_t events)
{
	void *slot = (char *)w - offsetof(struct dns_slot, tcp);
	struct dns_slot *s = slot;

	(void)events;
	for (int i = 0; i < DNS_TURN && s->conn_count < DNS_SLOT_CONNS; i++)
		if (!dns_conn_accept(s))
			return;
}

/* An answer that cannot be sent is lost, as any may be. */
static void answer_send(struct dns_slot *s, struct dns_conn *c, const struct sockaddr_in *to,
			const uint8_t *data, size_t len)
{
	if (c)
		dns_conn_answer(c, data, len);
	else
		(void)sendto(s->udp.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL,
			     (const struct sockaddr *)to, sizeof(*to));
}

static size_t room_of(const struct dns_question *q, const struct dns_conn *c)
{
	return c ? DNS_MESSAGE_MAX : q->udp_bytes;
}

/* ---- questions -------------------------------------------------------------------------------------- */

static bool may_ask(const struct dns_slot *s, const struct dns_question *q)
{
	char name[DNS_TEXT_SIZE];

	return s->rules.allow ||
	       (dns_name_text(&q->name, name) && egress_has_name(&s->rules, name));
}

/* Return: what it is to be answered with; -EAGAIN: what the upstream says. */
static int judge(const struct dns_slot *s, const struct dns_question *q)
{
	if (!may_ask(s, q))
		return DNS_NXDOMAIN;
	/* Guests have no IPv6, and these would say how to reach it by other ways, with addresses in them. */
	if (q->type == DNS_TYPE_AAAA || q->type == DNS_TYPE_SVCB || q->type == DNS_TYPE_HTTPS)
		return DNS_NOERROR;
	return -EAGAIN;
}

void dns_question_take(struct dns_slot *s, struct dns_conn *c, const struct sockaddr_in *from,
		       const uint8_t *data, size_t len)
{
	struct dns_question q;
	int rcode = dns_question_read(data, len, &q);

	if (rcode < 0) {
		if (c)
			dns_conn_close(c);
		return;
	}
	if (rcode == 0)
		rcode = judge(s, &q);
	if (rcode == -EAGAIN && dns_ask_begin(s, c, from, &q) == 0)
		return;
	if (rcode < 0)
		rcode = DNS_SERVFAIL;
	len = dns_answer_make(&q, (unsigned)rcode, NULL, dns.out, room_of(&q, c));
	answer_send(s, c, from, dns.out, len);
}

/* ---- answers ---------------------------------------------------------------------------------------- */

/* What is no single host's address out there. Those of addr_closed[] may be opened by a rule with a range. */
static bool is_nobodys(uint32_t addr)
{
	return addr >> 24 == 0 || addr >> 24 == 127 || addr >> 28 >= 14;
}

/* By a rule at least as long as what closes it. */
static bool is_opened(const struct egress *g, uint32_t addr)
{
	const struct addr_range *closed = addr_closed;
	struct addr_range one = addr_range_of(addr, 32);

	while (closed->prefix && !addr_range_overlaps(*closed, one))
		closed++;
	for (size_t i = 0; i < g->count; i++) {
		const struct egress_rule *r = &g->rules[i];

		if (r->allow && !r->is_name && r->to.prefix >= closed->prefix &&
		    addr_range_overlaps(r->to, one))
			return true;
	}
	return false;
}

/* Leave out what may not be, or is too much; @ret_addrs: what is to be let through of the rest. Return: its count. */
static size_t sift(const struct egress *g, struct dns_answer *a, uint32_t ret_addrs[DNS_LET_MAX])
{
	size_t kept = 0, count = 0;

	for (size_t i = 0; i < a->count; i++) {
		uint32_t addr = a->addrs[i];
		bool is_closed = addr_is_closed(addr);

		if (is_nobodys(addr) || (is_closed ? !is_opened(g, addr) : count == DNS_LET_MAX))
			continue;
		if (!is_closed)
			ret_addrs[count++] = addr;
		a->ttls[kept] = a->ttls[i];
		a->addrs[kept++] = addr;
	}
	a->count = kept;
	return count;
}

/* Return: the answer's length, made in dns.out; 0 when the slot has gone meanwhile, or is another guest's. */
static size_t answer_addrs(struct dns_ask *q, const uint8_t *data, size_t len)
{
	struct dns_slot *s = q->slot;
	unsigned life = s->life;
	size_t room = room_of(&q->q, q->conn), count = 0;
	uint32_t addrs[DNS_LET_MAX], ttl_sec;
	char name[DNS_TEXT_SIZE];
	struct dns_answer a;

	if (dns_answer_read(&q->q, data, len, &a) < 0)
		return dns_answer_make(&q->q, DNS_SERVFAIL, NULL, dns.out, room);
	/* They may have changed since it was asked. */
	if (!may_ask(s, &q->q))
		return dns_answer_make(&q->q, DNS_NXDOMAIN, NULL, dns.out, room);
	if (dns_name_text(&q->q.name, name) && egress_rule_for(&s->rules, name))
		count = sift(&s->rules, &a, addrs);
	if (count > 0) {
		ttl_sec = dns_answer_ttl(&a);
		ttl_sec = (ttl_sec ? ttl_sec : 1) + DNS_GRACE_SEC;
		if (!dns_let(s, name, addrs, count, ttl_sec))
			a = (struct dns_answer){.rcode = DNS_SERVFAIL};
		if (s->udp.gone || s->life != life)
			return 0;
	}
	return dns_answer_make(&q->q, a.rcode, &a, dns.out, room);
}

void dns_ask_answered(struct dns_ask *a, uint8_t *data, size_t len)
{
	size_t room = room_of(&a->q, a->conn);
	struct dns_conn *c = a->conn;
	struct dns_slot *s = a->slot;
	const uint8_t *out = dns.out;

	/* From here on it is nobody's but ours, and waits for nothing: a slot that goes does not find it. */
	dns_ask_end(a);
	if (!data) {
		len = dns_answer_make(&a->q, DNS_SERVFAIL, NULL, dns.out, room);
	} else if (a->q.type == DNS_TYPE_A) {
		len = answer_addrs(a, data, len);
	} else {
		len = dns_answer_pass(&a->q, data, len, room);
		out = data;
	}
	if (len > 0)
		answer_send(s, c, &a->from, out, len);
}
