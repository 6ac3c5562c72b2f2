/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/wire.c - what is in a slot: addresses, links, routes and tables on both sides of its namespace
 *
 * How it works
 *
 *     guest 169.254.0.21 -- tap0 169.254.0.22 [namespace] eth0 pair+1 -- sbx<...> pair [host] -- the world
 *
 * Inside all slots are alike, so that a saved guest can go on in any. The namespace translates: what the host
 * sends to the slot's own address goes to the guest, what the guest sends leaves with the namespace's address
 * of the pair, and is translated once more by the host's table. Nothing else passes the namespace. Strict
 * rp_filter is no obstacle: every packet comes in where its answer would go out. The namespace itself answers the guest's
 * pings, and its questions for names (resolve.c).
 *
 * Link managers (NetworkManager, systemd-networkd) must leave sbx* alone; the fixed MACs keep udev from
 * giving its own.
 */
#include "net/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "net/driver.h"
#include "net/egress-netns.h"
#include "net/nft.h"
#include "net/nl.h"
#include "net/setting.h"

#define GUEST_IP   "169.254.0.21"
#define GATEWAY_IP "169.254.0.22"

enum {
	GUEST_ADDR = (int)0xa9fe0015, /* GUEST_IP */
	GUEST_PREFIX = 30,
	PAIR_PREFIX = 31, /* RFC 3021 */
};

/* Locally administered. The tap's is what a saved guest has as its gateway, so it never changes; the pair's
 * are the same in every slot, each pair being a segment of its own. */
static const uint8_t guest_mac[MAC_LEN] = {0x02, 0xfc, 0, 0, 0, 5};
static const uint8_t tap_mac[MAC_LEN] = {0x02, 0xfc, 0, 0, 0, 6};
const uint8_t wire_outer_mac[MAC_LEN] = {0x02, 0xfc, 0, 0, 0, 1};
const uint8_t wire_inner_mac[MAC_LEN] = {0x02, 0xfc, 0, 0, 0, 2};

/* Arguments: the slot's address, the namespace's address of the pair. */
#define SPACE_TABLE                                                                                \
	"add table ip sbxfs\n"                                                                     \
	"add chain ip sbxfs in { type nat hook prerouting priority -100; policy accept; }\n"       \
	"add chain ip sbxfs out { type nat hook postrouting priority 100; policy accept; }\n"      \
	"add chain ip sbxfs pass { type filter hook forward priority 0; policy drop; }\n"          \
	"add chain ip sbxfs here { type filter hook input priority 0; policy drop; }\n"            \
	"add rule ip sbxfs in iifname " SPACE_LINK " ip daddr %s dnat to " GUEST_IP "\n"           \
	"add rule ip sbxfs out oifname " SPACE_LINK " ip saddr " GUEST_IP " snat to %s\n"          \
	"add rule ip sbxfs pass iifname " SPACE_TAP " oifname " SPACE_LINK " ip saddr " GUEST_IP   \
	" accept\n"                                                                                \
	"add rule ip sbxfs pass iifname " SPACE_LINK " oifname " SPACE_TAP                         \
	" ct state established,related accept\n"                                                   \
	"add rule ip sbxfs pass iifname " SPACE_LINK " oifname " SPACE_TAP                         \
	" ct status dnat accept\n"                                                                 \
	"add rule ip sbxfs here iifname " SPACE_TAP " icmp type echo-request accept\n"             \
	"add rule ip sbxfs here iifname " SPACE_TAP " ip saddr " GUEST_IP " udp dport 53 accept\n" \
	"add rule ip sbxfs here iifname " SPACE_TAP " ip saddr " GUEST_IP " tcp dport 53 accept\n"

/* The same names stand for a slot that is still going: another index and serial is to be tried. */
static int rc_taken(int rc, struct err *e)
{
	if (rc != -EEXIST)
		return rc;
	if (e)
		e->code = EADDRINUSE;
	return -EADDRINUSE;
}

/* All text about a slot; it follows from index, serial and pool. */
void wire_describe(const struct net_side *h, struct slot *s)
{
	*s = (struct slot){
		.index = s->index,
		.serial = s->serial,
		.agent_port = SLOT_AGENT_PORT,
		.guest_ip = GUEST_IP,
		.guest_prefix = GUEST_PREFIX,
		.gateway = GATEWAY_IP,
		.dns = GATEWAY_IP,
		.mac = SLOT_GUEST_MAC,
		.netns_fd = -1,
		.tap_fd = -1,
	};
	(void)addr_text(pool_guest(&h->pool, s->index), s->host_ip);
	(void)addr_text(pool_guest(&h->pool, s->index), s->agent_addr);
	(void)slot_name(h->instance, s->serial, s->link);
	(void)snprintf(s->netns, sizeof(s->netns), NETNS_DIR "/%s", s->link); /* always fits */
}

/* The host's end of the pair: no IPv6, the address, up, the route to the guest. */
static int outer_set(struct net_side *h, const struct slot *s, struct err *e)
{
	struct nlr_route route = {.dst = pool_guest(&h->pool, s->index),
				  .prefix = 32,
				  .gateway = pool_inner(&h->pool, s->index)};
	struct nlr_link link = {.index = 0};
	char alias[ALIAS_SIZE];
	char setting[64];
	int rc = 0;

	(void)slot_alias(h->instance, s->serial, alias);
	(void)snprintf(setting, sizeof(setting), "ipv6/conf/%s/disable_ipv6",
		       s->link); /* always fits */
	rc = setting_write_optional(setting, "1", e);
	if (rc == 0)
		rc = nlr_link_get(h->nl, s->link, &link, e);
	if (rc == 0)
		rc = nlr_addr_add(h->nl, link.index, pool_outer(&h->pool, s->index), PAIR_PREFIX,
				  e);
	if (rc == 0)
		rc = nlr_link_up(h->nl, link.index, alias, NULL, e);
	route.index = link.index;
	return rc < 0 ? rc : nlr_route_add(h->nl, &route, e);
}

int wire_tap_up(const struct net_side *h, const struct slot *s, struct nlr *in, struct err *e)
{
	struct nlr_link tap = {.index = 0};
	char alias[ALIAS_SIZE];
	int rc = nlr_link_get(in, SPACE_TAP, &tap, e);

	(void)slot_alias(h->instance, s->serial, alias);
	if (rc == 0)
		rc = nlr_addr_add(in, tap.index, WIRE_GATEWAY, GUEST_PREFIX, e);
	if (rc == 0)
		rc = nlr_link_up(in, tap.index, alias, tap_mac, e);
	/* The guest need not be asked for. */
	return rc < 0 ? rc : nlr_neigh_add(in, tap.index, (uint32_t)GUEST_ADDR, guest_mac, e);
}

/* The namespace's end of the pair, and the way out. */
static int inner_set(const struct net_side *h, const struct slot *s, const struct space *in,
		     struct err *e)
{
	struct nlr_route out = {.gateway = pool_outer(&h->pool, s->index)};
	struct nlr_link link = {.index = 0};
	char alias[ALIAS_SIZE];
	int rc = nlr_link_get(in->nl, SPACE_LINK, &link, e);

	(void)slot_alias(h->instance, s->serial, alias);
	if (rc == 0)
		rc = nlr_addr_add(in->nl, link.index, pool_inner(&h->pool, s->index), PAIR_PREFIX,
				  e);
	if (rc == 0)
		rc = nlr_link_up(in->nl, link.index, alias, NULL, e);
	out.index = link.index;
	return rc < 0 ? rc : nlr_route_add(in->nl, &out, e);
}

static int check_link(struct nlr *nl, const char *name, const char *alias, struct err *e)
{
	struct nlr_link link = {.index = 0};
	int rc = nlr_link_get(nl, name, &link, e);

	if (rc == 0 && (!link.is_up || strcmp(link.alias, alias) != 0))
		rc = err_set(e, ENODEV, "the link %s is down, or another", name);
	return rc;
}

int wire_check(struct net_side *h, const struct slot *s, struct nlr *in, struct err *e)
{
	char alias[ALIAS_SIZE];
	int rc;

	(void)slot_alias(h->instance, s->serial, alias);
	rc = check_link(in, SPACE_TAP, alias, e);
	if (rc == 0)
		rc = check_link(in, SPACE_LINK, alias, e);
	return rc < 0 ? rc : check_link(h->nl, s->link, alias, e);
}

static int inner_table(const struct net_side *h, const struct slot *s, const struct space *in,
		       struct err *e)
{
	char inner[SLOT_ADDR_SIZE];
	AUTO_BUF b = BUF_INIT;

	buf_addf(&b, SPACE_TABLE, s->host_ip, addr_text(pool_inner(&h->pool, s->index), inner));
	egress_netns_begin(h, &b);
	if (buf_error(&b))
		return err_set(e, ENOMEM, "no memory for the nftables commands");
	return nft_run(in->nft, buf_text(&b), NULL, e);
}

/* Everything between the namespace and its name. @ret_has_link: the pair was made, by us. */
int wire_up(struct net_side *h, struct slot *s, const struct space *in, bool *ret_has_link,
	    struct err *e)
{
	struct nlr_veth_end here = {.name = s->link, .mac = wire_outer_mac};
	struct nlr_veth_end there = {.name = SPACE_LINK, .mac = wire_inner_mac};
	int rc = nlr_veth_add(h->nl, &here, &there, in->ns_fd, e);

	*ret_has_link = rc == 0;
	if (rc == 0)
		rc = fault_point("slot-link", NULL, e);
	if (rc == 0)
		rc = outer_set(h, s, e);
	if (rc < 0)
		return rc_taken(rc, e);
	rc = wire_tap_up(h, s, in->nl, e);
	if (rc == 0)
		rc = inner_set(h, s, in, e);
	if (rc == 0)
		rc = inner_table(h, s, in, e);
	if (rc == 0)
		rc = fault_point("slot-admit", NULL, e);
	if (rc == 0)
		rc = side_admit(h, s->link, e);
	if (rc == 0)
		rc = fault_point("slot-name", NULL, e);
	if (rc == 0)
		rc = space_mount(s->link, in->ns_fd, e);
	return rc_taken(rc, e);
}
