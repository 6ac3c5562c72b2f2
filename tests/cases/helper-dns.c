/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/helper-dns.c - a name server for the tests, and who asks one
 *
 *   helper-dns serve ADDRESS PORT ZONE-FILE   answer over UDP and TCP; a line for each question on stdout: udp|tcp NAME TYPE FROM
 *   helper-dns ask ADDRESS PORT NAME TYPE [tcp] [from ADDRESS]   print the rcode, "cut" if it is, and the addresses
 *
 * ZONE-FILE has lines NAME TTL ADDRESS… and NAME TTL =NAME for a name that stands for another; NAME TTL - says nothing. It
 * is read anew for each question. TYPE is a number. Who gets no answer within ten seconds, or $WAIT_MS, prints "timeout" or the error, and fails.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/unit/dns-wire.h"

enum {
	WAIT_MS = 10000,
	LINE_MAX_BYTES = 8192,
};

static struct wire in, out;

static _Noreturn void fail(const char *what)
{
	(void)printf("%s: %s\n", what, strerrordesc_np(errno));
	exit(1);
}

static struct sockaddr_in address(const char *text, const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};

	if (inet_pton(AF_INET, text, &at.sin_addr) != 1) {
		errno = EINVAL;
		fail(text);
	}
	return at;
}

/* ---- a server ------------------------------------------------------------------------------------ */

/* Add what the line's words say. Return: the name to go on with; NULL: none. */
static const char *line_add(const char *name, char *cursor)
{
	static char to[DNS_TEXT_SIZE];
	const char *ttl = strtok_r(NULL, " \n", &cursor);
	const char *next = NULL;
	uint32_t sec = ttl ? (uint32_t)strtoul(ttl, NULL, 10) : 0;

	for (const char *w; (w = strtok_r(NULL, " \n", &cursor));) {
		struct in_addr addr;

		if (*w == '=') {
			wire_cname(&out, name, sec, w + 1);
			(void)snprintf(to, sizeof(to), "%s", w + 1);
			next = to;
		} else if (*w == '-') {
			out.len = 0;
		} else if (inet_pton(AF_INET, w, &addr) == 1) {
			wire_a(&out, name, sec, ntohl(addr.s_addr));
		}
	}
	return next;
}

/* Return: false when the name is not in the file. */
static bool name_add(const char *zone, const char *name)
{
	AUTO_FILE f = fopen(zone, "r");
	char line[LINE_MAX_BYTES], asked[DNS_TEXT_SIZE];
	bool found = false;

	(void)snprintf(asked, sizeof(asked), "%s", name);
	while (f && fgets(line, sizeof(line), f)) {
		char *cursor = NULL;
		const char *first = strtok_r(line, " \n", &cursor);
		const char *next;

		if (!first || strcasecmp(first, asked) != 0)
			continue;
		found = true;
		next = line_add(asked, cursor);
		if (!next)
			continue;
		(void)snprintf(asked, sizeof(asked), "%s", next);
		rewind(f);
	}
	return found;
}

/* From in to out, whose length is 0 when there is nothing to say. */
static void answer(const char *zone, const char *how, const struct sockaddr_in *from, size_t room)
{
	char name[DNS_TEXT_SIZE] = "?", text[INET_ADDRSTRLEN];
	struct dns_question q;

	out.len = 0;
	if (dns_question_read(in.data, in.len, &q) != 0 || !dns_name_text(&q.name, name))
		return;
	(void)printf("%s %s %u %s\n", how, name, q.type,
		     inet_ntop(AF_INET, &from->sin_addr, text, sizeof(text)));
	(void)fflush(stdout);
	wire_start(&out, q.id, 0x8180);
	wire_bytes(&out, q.name.bytes, q.name.len);
	wire_number(&out, q.type, 2);
	wire_number(&out, q.class, 2);
	wire_count(&out, 0);
	if (!name_add(zone, name))
		out.data[3] |= DNS_NXDOMAIN;
	if (out.len > room)
		out.len =
			dns_answer_make(&q, 0, &(struct dns_answer){.is_cut = true}, out.data, 512);
}

static void serve_tcp(int fd, const char *zone)
{
	struct sockaddr_in from = {.sin_port = 0};
	socklen_t len = sizeof(from);
	uint8_t head[2];

	if (getpeername(fd, (struct sockaddr *)&from, &len) < 0 ||
	    recv(fd, head, 2, MSG_WAITALL) != 2)
		return;
	in.len = wire_at(head, 0);
	if (recv(fd, in.data, in.len, MSG_WAITALL) != (ssize_t)in.len)
		return;
	answer(zone, "tcp", &from, DNS_MESSAGE_MAX);
	head[0] = (uint8_t)(out.len >> 8);
	head[1] = (uint8_t)out.len;
	if (out.len > 0 && send(fd, head, 2, MSG_MORE | MSG_NOSIGNAL) == 2)
		(void)send(fd, out.data, out.len,
			   MSG_NOSIGNAL); /* who asked sees what is missing */
}

static void serve_udp(int fd, const char *zone)
{
	struct sockaddr_in from = {.sin_port = 0};
	socklen_t len = sizeof(from);
	ssize_t got = recvfrom(fd, in.data, sizeof(in.data), 0, (struct sockaddr *)&from, &len);

	if (got < 0)
		return;
	in.len = (size_t)got;
	answer(zone, "udp", &from, DNS_UDP_BYTES);
	if (out.len > 0)
		(void)sendto(fd, out.data, out.len, 0, (const struct sockaddr *)&from, len);
}

static _Noreturn void serve(const struct sockaddr_in *at, const char *zone)
{
	struct pollfd p[2] = {{.events = POLLIN}, {.events = POLLIN}};
	struct timeval limit = {.tv_sec = WAIT_MS / 1000};
	int one = 1;

	p[0].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	p[1].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(p[1].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* bind() tells */
	for (int i = 0; i < 2; i++)
		if (bind(p[i].fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
			fail("bind");
	if (listen(p[1].fd, 16) < 0)
		fail("listen");
	for (;;) {
		if (poll(p, 2, -1) < 0)
			fail("poll");
		if (p[0].revents)
			serve_udp(p[0].fd, zone);
		if (p[1].revents) {
			AUTO_FD fd = accept4(p[1].fd, NULL, NULL, SOCK_CLOEXEC);

			(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
			serve_tcp(fd, zone);
		}
	}
}

/* ---- who asks ------------------------------------------------------------------------------------ */

static void await(int fd)
{
	const char *ms = getenv("WAIT_MS"); /* NOLINT(concurrency-mt-unsafe): there is one thread */
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, ms ? (int)strtol(ms, NULL, 10) : WAIT_MS) == 1)
		return;
	(void)printf("timeout\n");
	exit(1);
}

static void take(int fd, bool tcp)
{
	uint8_t head[2];
	ssize_t got = 0;

	await(fd);
	if (tcp && recv(fd, head, 2, MSG_WAITALL) != 2)
		fail("recv");
	got = recv(fd, in.data, tcp ? wire_at(head, 0) : sizeof(in.data), tcp ? MSG_WAITALL : 0);
	if (got < DNS_HEADER_BYTES)
		fail("recv");
	in.len = (size_t)got;
}

static void put(int fd, bool tcp)
{
	uint8_t head[2] = {(uint8_t)(out.len >> 8), (uint8_t)out.len};

	if (tcp && send(fd, head, 2, MSG_MORE | MSG_NOSIGNAL) != 2)
		fail("send");
	if (send(fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
		fail("send");
}

static int show(const struct dns_question *q)
{
	static const char *const names[] = {"NOERROR",  "FORMERR", "SERVFAIL",
					    "NXDOMAIN", "NOTIMP",  "REFUSED"};
	struct dns_answer a = {.count = 0};
	unsigned rcode = 0;

	if (dns_answer_check(q, q->id, in.data, in.len, &rcode) < 0 ||
	    dns_answer_read(q, in.data, in.len, &a) < 0) {
		(void)printf("a bad answer\n");
		return 1;
	}
	(void)printf("%s%s", rcode < 6 ? names[rcode] : "?", a.is_cut ? " cut" : "");
	for (size_t i = 0; i < a.count; i++) {
		struct in_addr addr = {.s_addr = htonl(a.addrs[i])};
		char text[INET_ADDRSTRLEN];

		(void)printf(" %s", inet_ntop(AF_INET, &addr, text, sizeof(text)));
	}
	(void)printf("\n");
	return 0;
}

/* @words: NAME TYPE [tcp] [from ADDRESS] */
static int ask(const struct sockaddr_in *at, char **words)
{
	bool tcp = words[2] && strcmp(words[2], "tcp") == 0;
	char **more = words + 2 + tcp;
	AUTO_FD fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	struct dns_question q;

	if (more[0] && more[1]) {
		struct sockaddr_in from = address(more[1], "0");

		if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) < 0)
			fail("bind");
	}
	if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
		fail("connect");
	wire_start(&out, (uint16_t)getpid(), 0x0100);
	wire_question(&out, words[0], (unsigned)strtoul(words[1], NULL, 10));
	if (dns_question_read(out.data, out.len, &q) < 0)
		return 1;
	put(fd, tcp);
	take(fd, tcp);
	return show(&q);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at;

	if (argc < 5) {
		(void)fprintf(stderr, "helper-dns serve|ask ADDRESS PORT …\n");
		return 2;
	}
	at = address(argv[2], argv[3]);
	if (strcmp(argv[1], "serve") == 0)
		serve(&at, argv[4]);
	return argc > 5 ? ask(&at, argv + 4) : 2;
}
