/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns-message.h - DNS messages: read with every byte doubted, and made; nothing here waits or allocates
 *
 * Names are kept as they are in messages: labels with their lengths, the root's empty one last, not compressed.
 */
#ifndef SBXFS_NET_DNS_MESSAGE_H
#define SBXFS_NET_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DNS_PORT = 53,
	DNS_HEADER_BYTES = 12,
	DNS_NAME_BYTES = 255,     /* of a name in a message, at most */
	DNS_TEXT_SIZE = 256,      /* of a name as text */
	DNS_UDP_BYTES = 512,      /* of a message over UDP when nobody has said more */
	DNS_UDP_MAX_BYTES = 1232, /* and when they have: what passes every link in one piece */
	DNS_MESSAGE_MAX = 65535,
	DNS_QUESTION_MAX = 512,  /* of a message that dns_question_make() makes */
	DNS_ADDRS_MAX = 256,     /* of one answer; more are left out */
	DNS_CHAIN_MAX = 12,      /* of names that stand for another */
	DNS_TTL_MAX_SEC = 86400, /* longer ones are cut */
};

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_OPT = 41,
	DNS_TYPE_SVCB = 64,
	DNS_TYPE_HTTPS = 65,
	DNS_TYPE_TKEY = 249, /* from here on they are no data: signatures, transfers ... */
	DNS_TYPE_ANY = 255,  /* ... up to whatever there is, see RFC 8482 */
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16, /* of EDNS */
};

struct dns_name {
	uint8_t bytes[DNS_NAME_BYTES];
	uint8_t len; /* 1 at least: the root; 0: none */
};

/* What was asked. */
struct dns_question {
	uint16_t id;
	uint8_t opcode;
	bool wants_recursion; /* kept for the answer */
	struct dns_name name; /* as it was written, len 0 when it could not be read */
	uint16_t type, class;
	bool has_edns;
	uint16_t udp_bytes; /* the longest answer that the asker takes over UDP: 512 to 1232 */
};

/* One name that stands for another; its own name is the link's before it, the first one's that of the question. */
struct dns_link {
	struct dns_name to;
	uint32_t ttl_sec;
};

/* What an answer to a question of type A says about it, and nothing else. */
struct dns_answer {
	unsigned rcode;
	bool is_cut; /* there was more than fitted */
	size_t links, count;
	struct dns_link chain[DNS_CHAIN_MAX];
	uint32_t addrs[DNS_ADDRS_MAX], ttls[DNS_ADDRS_MAX]; /* host byte order; seconds */
};

/**
 * dns_question_read() - Take a question apart
 * Return: 0; a positive enum dns_rcode to answer with, for which @ret is good; -EBADMSG: no question at all, not to be answered.
 */
int dns_question_read(const uint8_t *data, size_t len, struct dns_question *ret);

/* The question as we ask it: with @id, recursion wanted, EDNS if the asker has it. Return: its length. */
size_t dns_question_make(const struct dns_question *q, uint16_t id, uint8_t ret[DNS_QUESTION_MAX]);

/**
 * dns_name_text() - As rules are written: lower case, dots between the labels, none at the end; the root is ""
 * Return: false when a label has bytes that no rule could say: beyond a-z, 0-9, '-' and '_'.
 */
bool dns_name_text(const struct dns_name *n, char ret[DNS_TEXT_SIZE]);

/**
 * dns_answer_check() - Is this an answer to @q asked with @id, and whole from its first to its last byte?
 * @ret_rcode: filled when it is one
 * Return: 0; -ENOENT it answers something else; -EBADMSG it is damaged. One that says that it is cut need not be whole.
 */
int dns_answer_check(const struct dns_question *q, uint16_t id, const uint8_t *data, size_t len,
		     unsigned *ret_rcode);

/* Take one apart that was checked, for a question of type A. Return: 0; -EBADMSG. */
int dns_answer_read(const struct dns_question *q, const uint8_t *data, size_t len,
		    struct dns_answer *ret);

/* The smallest time to live of all that is in it; 0 without an address. */
uint32_t dns_answer_ttl(const struct dns_answer *a);

/**
 * dns_answer_make() - The answer to @q as we give it
 * @a:    of whose chain and addresses as much as there is room for is in it, then it says that it is cut; NULL: none
 * @room: of @ret, DNS_UDP_BYTES at least
 * Return: its length.
 */
size_t dns_answer_make(const struct dns_question *q, unsigned rcode, const struct dns_answer *a,
		       uint8_t *ret, size_t room);

/**
 * dns_answer_pass() - Make one that was checked the answer to @q, in place
 * @room: the longest that the asker takes; a longer one becomes an empty one that says that it is cut
 * Return: its length.
 */
size_t dns_answer_pass(const struct dns_question *q, uint8_t *data, size_t len, size_t room);

#endif
