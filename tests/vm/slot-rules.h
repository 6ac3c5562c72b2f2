/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/slot-rules.h - what helper-slot.c does about egress rules, and guests that do not keep to what they should send */
#ifndef SBXFS_TESTS_VM_SLOT_RULES_H
#define SBXFS_TESTS_VM_SLOT_RULES_H

#include <netinet/udp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/file.h"
#include "net/driver.h"
#include "net/egress-netns.h"
#include "net/egress.h"
#include "net/pool.h"
#include "net/side.h"
#include "tests/vm/slot-command.h"
#include "tests/vm/slot-guest.h"

enum {
	RULES_MAX = 1 << 20, /* bytes of a file of rules */
	RULES_MS = 20000,
	FLOOD_WAIT_MS = 10000, /* for an answer that must come, however slow the machine */
	FLOOD_PORT = 53,
	LETS_MAX = 1000, /* addresses at once */
};

static inline int rules_read(const char *path, struct egress *ret, struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	int rc = file_read(AT_FDCWD, path, RULES_MAX, &b, e);

	return rc < 0 ? rc : egress_parse(buf_text(&b), ret, e);
}

static inline int rules_apply(const struct guest *g, const char *path, struct err *e)
{
	struct deadline d = deadline_in(RULES_MS, -1);
	struct egress rules = EGRESS_DEFAULT;
	int rc = rules_read(path, &rules, e);

	if (rc == 0)
		rc = slot_netns.egress(&g->slot, &rules, &d, e);
	egress_done(&rules);
	return rc;
}

/* @b: the rules of the file with what has been counted */
static inline int rules_count(const struct guest *g, const char *path, struct buf *b, struct err *e)
{
	struct egress rules = EGRESS_DEFAULT;
	int rc = rules_read(path, &rules, e);

	if (rc == 0)
		rc = slot_netns.egress_count(&g->slot, &rules, e);
	if (rc == 0)
		egress_render(&rules, "; ", true, b);
	egress_done(&rules);
	return rc;
}

/* @words: NAME TTL ADDRESS… */
static inline int rules_let(uint32_t serial, char **words, struct err *e)
{
	uint32_t addrs[64];
	size_t count = 0;

	for (char **w = words + 2; *w && count < 64; w++)
		if (addr_parse(*w, &addrs[count++]) < 0)
			return err_set(e, EINVAL, "not an address: %s", *w);
	return egress_let(serial, words[0], addrs, count, (uint32_t)strtoul(words[1], NULL, 10), e);
}

/* A datagram with any source, to any Ethernet address. */
static inline void spoof_send(int tap_fd, const uint8_t *mac, uint32_t from, uint32_t to,
			      uint16_t port)
{
	struct udphdr udp = {.source = htons(7001), .dest = htons(port), .len = htons(sizeof(udp))};
	struct frame f = {.type = 0};
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = IPPROTO_UDP,
			   .tot_len = htons(sizeof(ip) + sizeof(udp)),
			   .saddr = htonl(from),
			   .daddr = htonl(to)};

	ip.check = sum16(&ip, sizeof(ip));
	memcpy(f.body, &ip, sizeof(ip));
	memcpy(f.body + sizeof(ip), &udp, sizeof(udp));
	frame_send(tap_fd, &f, mac, ETH_P_IP, sizeof(ip) + sizeof(udp));
}

/* An answer that nobody has asked for: @addr is at a wrong place. To the gateway, and to all. */
static inline void arp_lie(int tap_fd, uint32_t addr)
{
	static const uint8_t wrong[] = {0x02, 0xfc, 0, 0, 0, 0x66};
	static const uint8_t everybody[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 2};
	const uint8_t *const to[] = {tap_mac, everybody};
	uint32_t at = htonl(addr);

	for (size_t i = 0; i < 2; i++) {
		struct frame f = {.type = 0};

		memcpy(f.body, head, sizeof(head));
		memcpy(f.body + 8, wrong, 6);
		memcpy(f.body + 14, &at, 4);
		memcpy(f.body + 18, to[i], 6);
		memcpy(f.body + 24, &at, 4);
		frame_send(tap_fd, &f, to[i], ETH_P_ARP, 28);
	}
}

/* ---- traffic that does not end --------------------------------------------------------------------- */

static struct flood {
	struct guest *g;
	uint32_t good, bad;
	pthread_t thread;
	atomic_bool stop;
	unsigned sent, lost;
} flood;

/* One datagram that must not arrive and one that must be answered, over and over. */
static inline void *flood_thread(void *arg)
{
	struct flood *f = arg;
	struct udphdr udp = {
		.source = htons(7001), .dest = htons(FLOOD_PORT), .len = htons(sizeof(udp))};
	struct pollfd p = {.fd = f->g->heard_fd, .events = POLLIN};
	uint64_t drop = 0;

	while (!atomic_load(&f->stop)) {
		ip_send(f->g->slot.tap_fd, f->bad, IPPROTO_UDP, &udp, sizeof(udp));
		ip_send(f->g->slot.tap_fd, f->good, IPPROTO_UDP, &udp, sizeof(udp));
		f->sent++;
		if (poll(&p, 1, FLOOD_WAIT_MS) != 1)
			f->lost++;
		else if (read(p.fd, &drop, sizeof(drop)) != (ssize_t)sizeof(drop))
			f->lost++;
	}
	return NULL;
}

static inline int flood_begin(struct guest *g, const char *good, const char *bad)
{
	flood = (struct flood){.g = g};
	if (addr_parse(good, &flood.good) < 0 || addr_parse(bad, &flood.bad) < 0)
		return -1;
	return pthread_create(&flood.thread, NULL, flood_thread, &flood) ? -1 : 0;
}

static inline void flood_end(void)
{
	atomic_store(&flood.stop, true);
	(void)pthread_join(flood.thread, NULL); /* it is ours and joined once */
}

/* ---- commands -------------------------------------------------------------------------------------- */

/* egress SERIAL FILE: hold it to the rules there; counted SERIAL FILE: the same with what has been counted. */
static inline int cmd_egress(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct err e = {.code = 0};
	int64_t start = now_us();

	if (!g)
		return answer("err no such slot");
	return rules_apply(g, w[2], &e) < 0 ? failed(&e)
					    : answer("ok %lld", (long long)(now_us() - start));
}

static inline int cmd_counted(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	struct err e = {.code = 0};
	AUTO_BUF b = BUF_INIT;

	if (!g)
		return answer("err no such slot");
	return rules_count(g, w[2], &b, &e) < 0 ? failed(&e) : answer("ok %s", buf_text(&b));
}

/* countheld SERIAL FILE: as counted, while slots are being changed */
static inline int cmd_countheld(char **w)
{
	struct deadline d = deadline_in(RULES_MS, -1);
	struct net_side *side = NULL;
	struct err e = {.code = 0};
	int rc;

	if (side_lock(&d, &side, &e) < 0)
		return failed(&e);
	rc = cmd_counted(w);
	side_unlock(side);
	return rc;
}

/* lets SERIAL NAME TTL ADDR COUNT: so many addresses from ADDR on, at once */
static inline int cmd_lets(char **w)
{
	uint32_t addrs[LETS_MAX], count = number(w[5]);
	struct err e = {.code = 0};

	if (addr_parse(w[4], &addrs[0]) < 0 || count > LETS_MAX)
		return answer("err not an address, or too many");
	for (uint32_t i = 1; i < count; i++)
		addrs[i] = addrs[0] + i;
	return egress_let(number(w[1]), w[2], addrs, count, number(w[3]), &e) < 0 ? failed(&e)
										  : answer("ok");
}

/* let SERIAL NAME TTL ADDR…: the resolver has told the guest so */
static inline int cmd_let(char **w)
{
	struct err e = {.code = 0};

	return rules_let(number(w[1]), w + 2, &e) < 0 ? failed(&e) : answer("ok");
}

/* spoof SERIAL FROM ADDR PORT, lie SERIAL ADDR */
static inline int cmd_spoof(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	uint32_t from = 0, to = 0;

	if (!g || addr_parse(w[2], &from) < 0 || addr_parse(w[3], &to) < 0)
		return answer("err no such slot, or not an address");
	spoof_send(g->slot.tap_fd, tap_mac, from, to, (uint16_t)number(w[4]));
	return answer("ok");
}

static inline int cmd_lie(char **w)
{
	struct guest *g = guest_of(number(w[1]));
	uint32_t addr = 0;

	if (!g || addr_parse(w[2], &addr) < 0)
		return answer("err no such slot, or not an address");
	arp_lie(g->slot.tap_fd, addr);
	return answer("ok");
}

/* flood SERIAL GOOD BAD, floodend: how many were sent to each, and how many of the good ones were not answered */
static inline int cmd_flood(char **w)
{
	struct guest *g = guest_of(number(w[1]));

	return g && flood_begin(g, w[2], w[3]) == 0 ? answer("ok") : answer("err cannot");
}

static inline int cmd_floodend(char **w)
{
	(void)w;
	flood_end();
	return answer("ok %u %u", flood.sent, flood.lost);
}

/* recycle SERIAL: for another guest; this one ends. */
static inline int cmd_recycle(char **w)
{
	struct deadline d = deadline_in(RULES_MS, -1);
	struct guest *g = guest_of(number(w[1]));
	struct err e = {.code = 0};

	if (!g)
		return answer("err no such slot");
	guest_stop(g);
	return slot_netns.recycle(&g->slot, &d, &e) < 0 ? failed(&e) : answer("ok");
}

#endif
