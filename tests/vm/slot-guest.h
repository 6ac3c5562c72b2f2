/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/vm/slot-guest.h - guests made of a thread on a slot's tap: they answer ARP and ping; for helper-slot.c */
#ifndef SBXFS_TESTS_VM_SLOT_GUEST_H
#define SBXFS_TESTS_VM_SLOT_GUEST_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "net/slot.h"
#include "tests/vm/slot-wire.h"

enum {
	VNET_LEN = 10,    /* of struct virtio_net_hdr before each frame */
	FRAME_MAX = 2048, /* no jumbo frames here */
};

/* From the frame's first byte behind the virtio header; packed by nature, all members aligned to two bytes. */
struct frame {
	uint8_t to[6], from[6];
	uint16_t type;
	uint8_t body[FRAME_MAX];
} __attribute__((packed));

struct guest {
	struct slot slot;
	bool is_up;
	pthread_t thread;
	int stop_fd;   /* -1: no thread */
	bool is_wired; /* the thread is a wire's */
	struct wire wire;
	int heard_fd; /* counts answers to what the guest has sent */
	char heard[64];
};

static const uint8_t guest_mac[] = {0x02, 0xfc, 0, 0, 0, 5};
static const uint8_t tap_mac[] = {0x02, 0xfc, 0, 0, 0, 6};
static const uint32_t guest_addr = 0xa9fe0015;

static inline uint16_t sum16(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static inline void frame_send(int tap_fd, struct frame *f, const uint8_t *to, uint16_t type,
			      size_t len)
{
	uint8_t out[VNET_LEN + sizeof(*f)] = {0};

	memcpy(f->to, to, 6);
	memcpy(f->from, guest_mac, 6);
	f->type = htons(type);
	memcpy(out + VNET_LEN, f, 14 + len);
	if (write(tap_fd, out, VNET_LEN + 14 + len) < 0)
		(void)fprintf(stderr, "# tap: %s\n", strerrordesc_np(errno));
}

static inline void ip_send(int tap_fd, uint32_t to, uint8_t protocol, const void *data, size_t len)
{
	struct frame f = {.type = 0};
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = protocol,
			   .tot_len = htons((uint16_t)(sizeof(ip) + len)),
			   .saddr = htonl(guest_addr),
			   .daddr = htonl(to)};

	ip.check = sum16(&ip, sizeof(ip));
	memcpy(f.body, &ip, sizeof(ip));
	memcpy(f.body + sizeof(ip), data, len);
	frame_send(tap_fd, &f, tap_mac, ETH_P_IP, sizeof(ip) + len);
}

static inline void heard(struct guest *g, const void *text, size_t len)
{
	uint64_t one = 1;

	(void)snprintf(g->heard, sizeof(g->heard), "%.*s", (int)len, (const char *)text);
	if (write(g->heard_fd, &one, sizeof(one)) < 0)
		(void)fprintf(stderr, "# eventfd: %s\n", strerrordesc_np(errno));
}

static inline void got_arp(struct guest *g, struct frame *f)
{
	uint8_t *b = f->body;
	uint32_t wanted = htonl(guest_addr);

	if (b[7] != 1 || memcmp(b + 24, &wanted, 4) != 0)
		return;
	b[7] = 2;
	memcpy(b + 18, b + 8, 10); /* the asker becomes the target */
	memcpy(b + 8, guest_mac, 6);
	memcpy(b + 14, &wanted, 4);
	frame_send(g->slot.tap_fd, f, f->from, ETH_P_ARP, 28);
}

static inline void got_ip(struct guest *g, struct frame *f)
{
	struct iphdr ip;
	struct icmphdr icmp;
	size_t len = 0;
	size_t head = 0;

	memcpy(&ip, f->body, sizeof(ip));
	head = (size_t)ip.ihl * 4;
	len = ntohs(ip.tot_len) - head;
	memcpy(&icmp, f->body + head, sizeof(icmp));
	if (ntohl(ip.daddr) != guest_addr || len < sizeof(icmp) || len > FRAME_MAX - head)
		return;
	if (ip.protocol == IPPROTO_UDP) {
		heard(g, f->body + head + 8, len - 8);
	} else if (ip.protocol == IPPROTO_ICMP && icmp.type == ICMP_ECHOREPLY) {
		heard(g, "reply", 5);
	} else if (ip.protocol == IPPROTO_ICMP && icmp.type == ICMP_ECHO) {
		icmp.type = ICMP_ECHOREPLY;
		icmp.checksum = 0;
		memcpy(f->body + head, &icmp, sizeof(icmp));
		icmp.checksum = sum16(f->body + head, len);
		memcpy(f->body + head, &icmp, sizeof(icmp));
		ip_send(g->slot.tap_fd, ntohl(ip.saddr), IPPROTO_ICMP, f->body + head, len);
	}
}

static inline void *guest_thread(void *arg)
{
	struct guest *g = arg;
	uint8_t in[VNET_LEN + sizeof(struct frame)];
	struct frame f;

	for (;;) {
		struct pollfd p[] = {{.fd = g->slot.tap_fd, .events = POLLIN},
				     {.fd = g->stop_fd, .events = POLLIN}};
		ssize_t got = 0;

		if (poll(p, 2, -1) < 0 || p[1].revents)
			return NULL;
		got = read(g->slot.tap_fd, in, sizeof(in));
		if (got < VNET_LEN + 14)
			continue;
		memcpy(&f, in + VNET_LEN, (size_t)got - VNET_LEN);
		if (f.type == htons(ETH_P_ARP))
			got_arp(g, &f);
		else if (f.type == htons(ETH_P_IP))
			got_ip(g, &f);
	}
}

static inline void guest_stop(struct guest *g)
{
	uint64_t one = 1;

	if (g->stop_fd < 0)
		return;
	if (write(g->stop_fd, &one, sizeof(one)) == (ssize_t)sizeof(one) && g->is_wired)
		wire_stop(&g->wire);
	else
		(void)pthread_join(g->thread, NULL); /* it is ours and joined once */
	fd_close(steal_fd(&g->stop_fd));
	fd_close(steal_fd(&g->heard_fd));
}

#endif
