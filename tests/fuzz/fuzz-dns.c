/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fuzz/fuzz-dns.c - DNS messages: as a question of a guest, and as an answer of the upstream to the question that is in it
 *
 * What is made of either is never longer than allowed, and can be read again.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/dns-message.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* An answer of ours is one to its question, if it says which. */
static void read_again(const struct dns_question *q, const uint8_t *data, size_t len, size_t room)
{
	unsigned rcode = 0;
	int rc;

	must(len <= room && len >= DNS_HEADER_BYTES);
	if (!q->name.len || q->opcode != 0)
		return;
	rc = dns_answer_check(q, q->id, data, len, &rcode);
	must(rc == 0);
}

static void as_question(const uint8_t *data, size_t len)
{
	uint8_t out[DNS_UDP_MAX_BYTES];
	char text[DNS_TEXT_SIZE];
	struct dns_question q, again;
	int rc = dns_question_read(data, len, &q);

	if (rc < 0)
		return;
	must(q.udp_bytes >= DNS_UDP_BYTES && q.udp_bytes <= DNS_UDP_MAX_BYTES);
	read_again(&q, out, dns_answer_make(&q, (unsigned)rc, NULL, out, q.udp_bytes), q.udp_bytes);
	if (rc > 0)
		return;
	must(!dns_name_text(&q.name, text) || strlen(text) < DNS_TEXT_SIZE - 2);
	rc = dns_question_read(out, dns_question_make(&q, 5, out), &again);
	must(rc == 0 && again.id == 5 && again.type == q.type && again.has_edns == q.has_edns);
	must(again.name.len == q.name.len &&
	     memcmp(again.name.bytes, q.name.bytes, q.name.len) == 0);
}

/* The question that an answer repeats. False when there is none. */
static bool question_in(const uint8_t *data, size_t len, struct dns_question *ret)
{
	static const uint8_t head[10] = {1, 0, 0, 1};
	uint8_t copy[DNS_QUESTION_MAX];
	size_t at = DNS_HEADER_BYTES;

	while (at < len && data[at])
		at += (size_t)data[at] + 1;
	at += 5;
	if (at > len || at > sizeof(copy))
		return false;
	memcpy(copy, data, at);
	memcpy(copy + 2, head, sizeof(head));
	return dns_question_read(copy, at, ret) == 0;
}

static void as_answer(const uint8_t *data, size_t len)
{
	static uint8_t out[DNS_MESSAGE_MAX];
	struct dns_question q;
	struct dns_answer a;
	unsigned rcode = 0;

	if (len > DNS_MESSAGE_MAX || !question_in(data, len, &q))
		return;
	if (dns_answer_check(&q, q.id, data, len, &rcode) < 0)
		return;
	if (dns_answer_read(&q, data, len, &a) == 0) {
		must(a.count <= DNS_ADDRS_MAX && a.links <= DNS_CHAIN_MAX && a.rcode == rcode);
		must(dns_answer_ttl(&a) <= DNS_TTL_MAX_SEC);
		for (int edns = 0; edns < 2; edns++) {
			q.has_edns = edns;
			read_again(&q, out, dns_answer_make(&q, rcode, &a, out, DNS_UDP_BYTES),
				   DNS_UDP_BYTES);
		}
	}
	memcpy(out, data, len);
	read_again(&q, out, dns_answer_pass(&q, out, len, DNS_UDP_MAX_BYTES), DNS_UDP_MAX_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From memory of exactly that length, so that a byte beyond it is noticed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	as_question(copy, size);
	as_answer(copy, size);
	return 0;
}
