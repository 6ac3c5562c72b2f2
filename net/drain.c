/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/drain.c - a slot without connections: the new ones refused, the old ones waited for and cut
 *
 * How it works: a table of its own in the slot's namespace lets pass what is established and what the host says to the agent, and answers all
 * else with a reset. The list of connections is looked at until it is empty.
 *
 * A connection is cut so that both of its ends know: a reset has to fit the receiver's sequence numbers, and nobody but its
 * peer knows them. So either end is sent a SYN in the name of the other. For an end in the middle of a connection that is out
 * of place, and it answers with where it is (RFC 5961); that answer comes by here, where by now every packet is answered
 * with a reset that fits it. What the namespace and the host know of the connection stays as it is meanwhile, for the resets to be
 * translated like any other packet of it.
 */
#include "net/drain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "net/nft.h"
#include "net/pool.h"
#include "net/side.h"
#include "net/space.h"
#include "net/track.h"
#include "net/wire.h"

#define AGENT "49983" /* SLOT_AGENT_PORT */
#define TABLE "ip sbxfs_drain"
#define MARK  "0x73627866"

enum {
	PROBE_MARK = 0x73627866, /* of what we send in others' names: it belongs to no connection */
	LOCK_MS = 2000,          /* for others that change slots: never that long */
	LOOK_MS = 2,             /* between two looks; then twice as long ... */
	LOOK_MAX_MS = 50,        /* ... up to this */
	CUT_MS = 300,            /* for both ends of what is cut to answer */
	CONNS_MAX =
		1
		<< 16, /* that are cut one by one; the others hear of it when they say something */
};
_Static_assert(SLOT_AGENT_PORT == 49983, "the rules name the port");

static const char refuse_new[] =
	"add table " TABLE "\n"
	"add chain " TABLE " pass { type filter hook forward priority -10; policy accept; }\n"
	"flush table " TABLE "\n" /* of an earlier time */
	"add rule " TABLE " pass iifname " SPACE_LINK " tcp dport " AGENT " accept\n"
	"add rule " TABLE " pass ct state established,related accept\n"
	"add rule " TABLE " pass meta l4proto tcp reject with tcp reset\n"
	"add rule " TABLE " pass reject\n";

static const char refuse_all[] =
	"add chain " TABLE " raw { type filter hook output priority -300; policy accept; }\n"
	"add chain " TABLE " cut { type filter hook forward priority -11; policy accept; }\n"
	"add rule " TABLE " raw meta mark " MARK " notrack\n"
	"add rule " TABLE " cut iifname " SPACE_LINK " tcp dport " AGENT " accept\n"
	"add rule " TABLE " cut iifname " SPACE_TAP " tcp sport " AGENT
	" ct direction reply accept\n"
	"add rule " TABLE " cut meta l4proto tcp counter reject with tcp reset\n"
	"add rule " TABLE " cut reject\n";

/* Connections into the namespace; @nft only with the lock of side.h. */
struct drain {
	struct nft_ctx *nft;
	struct track *track;
	int raw_fd;
	uint32_t agent;           /* where the host reaches the agent, as it says it */
	struct track_conn *conns; /* owned; the last look's */
	size_t count, room;
};

static int open_inside(void *arg, struct err *e)
{
	struct drain *dr = arg;
	int one = 1, mark = PROBE_MARK;
	int rc = nft_open(&dr->nft, e);

	if (rc == 0)
		rc = track_open(&dr->track, e);
	if (rc < 0)
		return rc;
	dr->raw_fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	if (dr->raw_fd < 0 ||
	    setsockopt(dr->raw_fd, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one)) < 0 ||
	    setsockopt(dr->raw_fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return err_sys(e, errno, "cannot open a raw socket");
	return 0;
}

/* The library for the tables is not safe for threads: whatever is done with it is done with the lock that all do it with. */
static int lock(const struct deadline *d, struct net_side **ret, struct err *e)
{
	struct deadline soon = deadline_in(LOCK_MS, d->cancel_fd);

	return side_lock(&soon, ret, e);
}

static int run_locked(struct drain *dr, const char *commands, struct buf *out,
		      const struct deadline *d, struct err *e)
{
	struct net_side *h = NULL;
	int rc = lock(d, &h, e);

	if (rc < 0)
		return rc;
	rc = nft_run(dr->nft, commands, out, e);
	side_unlock(h);
	return rc;
}

/* ---- looking ------------------------------------------------------------------------------------- */

static void found(const struct track_conn *c, void *arg)
{
	struct drain *dr = arg;

	/* To the resolver: it goes no further, and the next slot's refuses to go on with it. */
	if ((c->there.to == dr->agent && c->there.to_port == SLOT_AGENT_PORT) ||
	    c->there.to == WIRE_GATEWAY)
		return;
	if (dr->count == dr->room) {
		size_t room = dr->room ? dr->room * 2 : 64;
		void *conns = room <= CONNS_MAX ? reallocarray(dr->conns, room, sizeof(*c)) : NULL;

		if (!conns)
			return; /* those that are there are enough to go on waiting for */
		dr->conns = conns;
		dr->room = room;
	}
	dr->conns[dr->count++] = *c;
}

static int look(struct drain *dr, struct err *e)
{
	dr->count = 0;
	return track_list(dr->track, found, dr, e);
}

/* Return: 0 none is left; -ETIMEDOUT; -ECANCELED; another negative errno. */
static int wait_none(struct drain *dr, const struct deadline *d, struct err *e)
{
	int ms = LOOK_MS;

	for (;;) {
		struct deadline next = deadline_within(d, ms);
		int rc = look(dr, e);

		if (rc < 0 || dr->count == 0)
			return rc;
		rc = deadline_poll(&next, NULL, 0);
		if (rc == -ECANCELED)
			return err_set(e, ECANCELED, "cancelled while connections ended");
		if (deadline_left_ms(d) == 0)
			return -ETIMEDOUT;
		if (ms < LOOK_MAX_MS)
			ms *= 2;
	}
}

/* ---- cutting ------------------------------------------------------------------------------------- */

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t sum_words(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

/*
 * A SYN to the end that @w leads away from, from the one that it leads to; to who began the connection as an answer to his own. Those are
 * what connection trackers on the way let pass in the middle of a connection, without a thought for its numbers.
 */
static void probe(const struct drain *dr, const struct track_way *w, bool began)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} p = {.ip = {.version = 4,
		      .ihl = sizeof(p.ip) / 4,
		      .ttl = 64,
		      .protocol = IPPROTO_TCP,
		      .tot_len = htons(sizeof(p)),
		      .saddr = htonl(w->to),
		      .daddr = htonl(w->from)},
	       .tcp = {.source = htons(w->to_port),
		       .dest = htons(w->from_port),
		       .doff = sizeof(p.tcp) / 4,
		       .syn = 1,
		       .ack = began,
		       .window = htons(1024)}};
	const struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {p.ip.daddr}};
	uint32_t sum = sum_words(&p.ip.saddr, 8) + IPPROTO_TCP + sizeof(p.tcp);

	p.tcp.check = htons(fold(sum + sum_words(&p.tcp, sizeof(p.tcp))));
	/* The kernel fills in the head's sum. A way that is closed is no longer one to be told. */
	(void)sendto(dr->raw_fd, &p, sizeof(p), 0, (const struct sockaddr *)&to, sizeof(to));
}

/* How many packets have been answered with a reset? */
static uint64_t resets(struct drain *dr, const struct deadline *d)
{
	static const char word[] = "counter packets ";
	AUTO_BUF out = BUF_INIT;
	const char *at;

	if (run_locked(dr, "list chain " TABLE " cut\n", &out, d, NULL) < 0)
		return 0;
	at = strstr(buf_text(&out), word);
	return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

static int cut(struct drain *dr, const struct deadline *d, struct err *e)
{
	struct deadline end = deadline_in(CUT_MS, d->cancel_fd);
	int ms = LOOK_MS, rc = run_locked(dr, refuse_all, NULL, d, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < dr->count; i++) {
		probe(dr, &dr->conns[i].there, true);
		probe(dr, &dr->conns[i].back, false);
	}
	while (resets(dr, d) < 2 * (uint64_t)dr->count) {
		struct deadline next = deadline_within(&end, ms);

		if (deadline_poll(&next, NULL, 0) != -ETIMEDOUT || deadline_left_ms(&end) == 0)
			break;
		if (ms < LOOK_MAX_MS)
			ms *= 2;
	}
	for (size_t i = 0; rc == 0 && i < dr->count; i++)
		rc = track_delete(dr->track, &dr->conns[i], e);
	return rc;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static int drain_open(struct drain *dr, const struct slot *s, const struct deadline *d,
		      struct err *e)
{
	struct net_side *h = NULL;
	int rc = addr_parse(s->agent_addr, &dr->agent);

	if (rc < 0)
		return err_set(e, EIO, "network slot %u has no address", s->index);
	rc = lock(d, &h, e);
	if (rc < 0)
		return rc;
	rc = space_run(s->netns_fd, open_inside, dr, e);
	if (rc == 0)
		rc = nft_run(dr->nft, refuse_new, NULL, e);
	side_unlock(h);
	return rc;
}

static void close_locked(struct drain *dr)
{
	nft_close(dr->nft);
	track_close(dr->track);
	fd_close(dr->raw_fd);
	free(dr->conns);
}

static void drain_close(struct drain *dr)
{
	const struct deadline never = {.at_ms = INT64_MAX, .cancel_fd = -1};
	struct net_side *h = NULL;

	if (side_lock(&never, &h, NULL) < 0)
		return; /* only at the end of all slots */
	close_locked(dr);
	side_unlock(h);
}

int drain_begin(const struct slot *s, const struct deadline *d, struct err *e)
{
	struct drain dr = {.raw_fd = -1};
	int rc = drain_open(&dr, s, d, e);

	if (rc == 0) {
		rc = wait_none(&dr, d, e);
		if (rc == -ETIMEDOUT)
			rc = cut(&dr, d, e);
	}
	drain_close(&dr);
	return rc;
}

int drain_undo_locked(const struct slot *s, struct err *e)
{
	struct drain dr = {.raw_fd = -1};
	int rc = space_run(s->netns_fd, open_inside, &dr, e);

	if (rc == 0 && nft_run(dr.nft, "list table " TABLE "\n", NULL, NULL) == 0)
		rc = nft_run(dr.nft, "delete table " TABLE "\n", NULL, e);
	close_locked(&dr);
	return rc;
}

int drain_undo(const struct slot *s, struct err *e)
{
	const struct deadline none = {.cancel_fd = -1};
	struct net_side *h = NULL;
	int rc = lock(&none, &h, e);

	if (rc < 0)
		return rc;
	rc = drain_undo_locked(s, e);
	side_unlock(h);
	return rc;
}
