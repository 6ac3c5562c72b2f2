// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-net.c - times a network slot up and down, ours against the same wiring by forked commands
 *
 *   helper-net COUNT        as root, in a network namespace where nobody else is
 *
 * How it works: the commands make what net/wire.c makes: namespace, forwarding, tap, veth pair, addresses, routes,
 * neighbour, the namespace's table and the host's set element. Ours has a host table besides, made once, as they have.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "net/driver.h"
#include "ops/host.h"
#include "ops/serial.h"
#include "ops/settings.h"
#include "ops/slots.h"
#include "tests/bench/bench.h"

enum { LIMIT_MS = 60000 };

#define SPACE "bench0"
#define LINK  "bench0"
#define OUTER "10.254.0.0"
#define INNER "10.254.0.1"
#define ADDR  "10.253.0.1"

static const char *const once[] = {
	"nft @add_table_ip_bench",
	"nft @add_set_ip_bench_slots_{_type_ifname;_}",
	NULL,
};

static const char *const up[] = {
	"ip netns add " SPACE,
	"ip netns exec " SPACE
	" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.default.disable_ipv6=1",
	"ip -n " SPACE " tuntap add tap0 mode tap vnet_hdr",
	"ip link add " LINK " address 02:fc:00:00:00:01 type veth"
	" peer name eth0 address 02:fc:00:00:00:02 netns " SPACE,
	"ip address add " OUTER "/31 dev " LINK,
	"ip link set " LINK " alias bench up",
	"ip route add " ADDR "/32 via " INNER " dev " LINK,
	"ip -n " SPACE " address add 169.254.0.22/30 dev tap0",
	"ip -n " SPACE " link set tap0 address 02:fc:00:00:00:06 alias bench up",
	"ip -n " SPACE
	" neighbour add 169.254.0.21 lladdr 02:fc:00:00:00:05 dev tap0 nud permanent",
	"ip -n " SPACE " address add " INNER "/31 dev eth0",
	"ip -n " SPACE " link set eth0 alias bench up",
	"ip -n " SPACE " route add default via " OUTER,
	"ip netns exec " SPACE " nft @"
	"add_table_ip_bench;"
	"_add_chain_ip_bench_in_{_type_nat_hook_prerouting_priority_-100;_};"
	"_add_chain_ip_bench_out_{_type_nat_hook_postrouting_priority_100;_};"
	"_add_chain_ip_bench_pass_{_type_filter_hook_forward_priority_0;_policy_drop;_};"
	"_add_chain_ip_bench_here_{_type_filter_hook_input_priority_0;_policy_drop;_};"
	"_add_rule_ip_bench_in_iifname_eth0_ip_daddr_" ADDR "_dnat_to_169.254.0.21;"
	"_add_rule_ip_bench_out_oifname_eth0_ip_saddr_169.254.0.21_snat_to_" INNER ";"
	"_add_rule_ip_bench_pass_iifname_tap0_oifname_eth0_ip_saddr_169.254.0.21_accept;"
	"_add_rule_ip_bench_pass_iifname_eth0_oifname_tap0_ct_state_established,related_accept;"
	"_add_rule_ip_bench_pass_iifname_eth0_oifname_tap0_ct_status_dnat_accept;"
	"_add_rule_ip_bench_here_iifname_tap0_icmp_type_echo-request_accept",
	"nft @add_element_ip_bench_slots_{_\"" LINK "\"_}",
	NULL,
};

static const char *const down[] = {
	"nft @delete_element_ip_bench_slots_{_\"" LINK "\"_}",
	"ip link delete " LINK,
	"ip netns delete " SPACE,
	NULL,
};

static void run_all(const char *const *commands)
{
	for (unsigned i = 0; commands[i]; i++)
		bench_command(NULL, 0, "%s", commands[i]);
}

static void slot_round(uint32_t round)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	double start = bench_now();
	struct slot s;
	struct err e;

	if (slot_netns.up(round % 16, round, &d, &s, &e) < 0)
		bench_die("%s", e.text);
	bench_sample("slot-up", start);
	start = bench_now();
	if (slot_netns.down(&s, &d, &e) < 0)
		bench_die("%s", e.text);
	bench_sample("slot-down", start);
}

/* From the daemon's table: a ready one taken, which is what a start waits for, and given back, which is what a stop waits for. */
static void ready_round(void)
{
	struct deadline d = deadline_in(LIMIT_MS, -1);
	struct slots_counts c = {.ready = 0};
	double start;
	struct slot s;
	struct err e;

	while (c.ready == 0) {
		(void)usleep(1000);
		slots_count(&c);
	}
	start = bench_now();
	if (slots_get(&d, &s, &e) < 0)
		bench_die("%s", e.text);
	bench_sample("slot-ready", start);
	start = bench_now();
	slots_release(&s);
	bench_sample("slot-release", start);
}

static void ready_begin(uint32_t total)
{
	static char dir[] = "/tmp/sbxfs-bench-XXXXXX";
	struct err e;

	if (!mkdtemp(dir))
		bench_die("no directory in /tmp");
	(void)snprintf(host.state_dir, sizeof(host.state_dir), "%s", dir);
	(void)snprintf(host.instance, sizeof(host.instance), "benc");
	host.net = &slot_netns;
	host.state_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	settings.slots_ready = 2;
	slots_init(total, 32); /* beside those of the other rounds */
	if (serial_init(&e) < 0 || slots_start(&e) < 0)
		bench_die("%s", e.text);
}

static void ready_end(void)
{
	slots_stop();
	(void)close(host.state_fd);
	(void)file_remove_tree(AT_FDCWD, host.state_dir, NULL); /* else it stays in /tmp */
}

static void forks_round(void)
{
	double start = bench_now();

	run_all(up);
	bench_sample("forks-up", start);
	start = bench_now();
	run_all(down);
	bench_sample("forks-down", start);
}

int main(int argc, char **argv)
{
	uint32_t count = 0, total = 0;
	struct err e;

	if (argc != 2)
		bench_die("usage: helper-net COUNT");
	log_open(false);
	count = bench_number(argv[1]);
	if (slot_netns.init("benc", "", &total, &e) < 0)
		bench_die("%s", e.text);
	run_all(once);
	for (uint32_t i = 1; i <= count; i++) {
		slot_round(i);
		forks_round();
	}
	ready_begin(total);
	for (uint32_t i = 1; i <= count; i++)
		ready_round();
	ready_end();
	slot_netns.done();
	return 0;
}
