/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns-message.c - DNS messages: read with every byte doubted, and made
 *
 * How it works: a cursor goes over the message, and whatever would lead it beyond the end marks it as bad. A compressed
 * name goes on at an earlier place than where its last piece began, so following one ends. Answers with addresses are made
 * anew: the chain of names from the question on, and the addresses of its end, each read in the order in which they stand, as
 * resolvers give them. Whatever else the upstream has put in stays behind.
 */
#include "net/dns-message.h"

#include <errno.h>
#include <string.h>

enum {
	FLAG_QR = 0x8000, /* it is an answer */
	FLAG_TC = 0x0200, /* it is cut */
	FLAG_RD = 0x0100, /* recursion wanted */
	FLAG_RA = 0x0080, /* recursion to be had */
	FLAG_AD = 0x0020, /* proven, by somebody */
	FLAG_AA = 0x0400, /* from who is in charge of the name */
	RCODE_MASK = 0x000f,
	CLASS_IN = 1,
	LABEL_MAX = 63,
	POINTER = 0xc0,
	OPT_BYTES = 11,
	A_BYTES = 16,         /* of a record with an address, its name being a pointer */
	RECORDS_MAX = 1024,   /* of one answer's records with addresses and names */
	MORE_RECORDS_MAX = 8, /* behind a question */
};

struct cursor {
	const uint8_t *data;
	size_t len, at;
	bool bad;
};

/* One record; what it says lies at @at of the message. */
struct record {
	struct dns_name name;
	uint16_t type, class;
	uint32_t ttl_sec;
	size_t at, len;
};

/* ---- reading ------------------------------------------------------------------------------------- */

static uint32_t take(struct cursor *c, unsigned bytes)
{
	uint32_t v = 0;

	if (c->bad || c->len - c->at < bytes) {
		c->bad = true;
		return 0;
	}
	while (bytes--)
		v = v << 8 | c->data[c->at++];
	return v;
}

/* Append the label at @at to the name. Return: its length with its own byte; 0 when there is none of good length. */
static size_t take_label(const struct cursor *c, size_t at, struct dns_name *n)
{
	size_t len = (size_t)c->data[at] + 1;

	if (len > LABEL_MAX + 1 || len > c->len - at || n->len + len > DNS_NAME_BYTES)
		return 0;
	memcpy(n->bytes + n->len, c->data + at, len);
	n->len = (uint8_t)(n->len + len);
	return len;
}

/* A name; the cursor goes behind it. */
static void take_name(struct cursor *c, bool may_point, struct dns_name *ret)
{
	size_t at = c->at, len = 0, limit;
	bool jumped = false;

	limit = at;
	ret->len = 0;
	while (!c->bad && at < c->len) {
		if ((c->data[at] & POINTER) == POINTER && may_point && c->len - at >= 2) {
			size_t to = (size_t)(c->data[at] & ~POINTER) << 8 | c->data[at + 1];

			if (!jumped)
				c->at = at + 2;
			jumped = true;
			c->bad = to >= limit || to < DNS_HEADER_BYTES;
			at = limit = to;
			continue;
		}
		len = take_label(c, at, ret);
		at += len;
		if (len == 1 && !jumped)
			c->at = at;
		if (len == 1)
			return;
		if (len == 0)
			break;
	}
	c->bad = true;
	ret->len = 0;
}

static struct record take_record(struct cursor *c)
{
	struct record r = {.type = 0};

	take_name(c, true, &r.name);
	r.type = (uint16_t)take(c, 2);
	r.class = (uint16_t)take(c, 2);
	r.ttl_sec = take(c, 4);
	r.len = take(c, 2);
	r.at = c->at;
	if (c->bad || c->len - c->at < r.len)
		c->bad = true;
	else
		c->at += r.len;
	/* RFC 2181: with its highest bit set it is none. */
	if (r.ttl_sec > INT32_MAX)
		r.ttl_sec = 0;
	if (r.ttl_sec > DNS_TTL_MAX_SEC)
		r.ttl_sec = DNS_TTL_MAX_SEC;
	return r;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* Lengths of labels are below 'A', so all bytes may be treated alike. */
static bool name_equal(const struct dns_name *a, const struct dns_name *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (lower(a->bytes[i]) != lower(b->bytes[i]))
			return false;
	return true;
}

bool dns_name_text(const struct dns_name *n, char ret[DNS_TEXT_SIZE])
{
	size_t out = 0;

	for (size_t at = 0; at < n->len && n->bytes[at]; at += (size_t)n->bytes[at] + 1) {
		if (at > 0)
			ret[out++] = '.';
		for (size_t i = 1; i <= n->bytes[at]; i++) {
			uint8_t c = lower(n->bytes[at + i]);

			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' &&
			    c != '_')
				return false;
			ret[out++] = (char)c;
		}
	}
	ret[out] = '\0';
	return n->len > 0;
}

/* ---- questions ----------------------------------------------------------------------------------- */

/* What stands behind the question: EDNS, once. */
static int take_more(struct cursor *c, unsigned count, struct dns_question *q)
{
	for (unsigned i = 0; i < count && i < MORE_RECORDS_MAX; i++) {
		size_t ttl_at = 0;
		struct record r = take_record(c);

		if (c->bad)
			return DNS_FORMERR;
		if (r.type != DNS_TYPE_OPT)
			continue;
		if (q->has_edns || r.name.len != 1)
			return DNS_FORMERR;
		q->has_edns = true;
		q->udp_bytes = r.class < DNS_UDP_BYTES       ? DNS_UDP_BYTES
			       : r.class > DNS_UDP_MAX_BYTES ? DNS_UDP_MAX_BYTES
							     : r.class;
		ttl_at = r.at - 6;
		if (c->data[ttl_at + 1] != 0) /* the version */
			return DNS_BADVERS;
	}
	return count > MORE_RECORDS_MAX || c->at != c->len ? DNS_FORMERR : 0;
}

int dns_question_read(const uint8_t *data, size_t len, struct dns_question *ret)
{
	struct cursor c = {.data = data, .len = len};
	unsigned flags, questions, records, more;

	*ret = (struct dns_question){.udp_bytes = DNS_UDP_BYTES};
	ret->id = (uint16_t)take(&c, 2);
	flags = take(&c, 2);
	questions = take(&c, 2);
	records = take(&c, 2);
	records += take(&c, 2);
	more = take(&c, 2);
	if (c.bad || flags & FLAG_QR)
		return -EBADMSG;
	ret->opcode = flags >> 11 & 15;
	ret->wants_recursion = flags & FLAG_RD;
	if (ret->opcode != 0)
		return DNS_NOTIMP;
	if (questions != 1 || records != 0)
		return DNS_FORMERR;
	take_name(&c, false, &ret->name);
	ret->type = (uint16_t)take(&c, 2);
	ret->class = (uint16_t)take(&c, 2);
	if (c.bad) {
		ret->name.len = 0;
		return DNS_FORMERR;
	}
	if (flags & (FLAG_TC | RCODE_MASK))
		return DNS_FORMERR;
	records = (unsigned)take_more(&c, more, ret);
	if (records)
		return (int)records;
	if (ret->class != CLASS_IN || ret->type == 0 || ret->type == DNS_TYPE_OPT ||
	    (ret->type >= DNS_TYPE_TKEY && ret->type <= DNS_TYPE_ANY))
		return DNS_NOTIMP;
	return 0;
}

/* ---- making -------------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *p, uint32_t v, unsigned bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(v >> (8 * bytes));
	return p;
}

static uint8_t *put_header(uint8_t *p, uint16_t id, unsigned flags, bool has_question,
			   bool has_edns)
{
	p = put(p, id, 2);
	p = put(p, flags, 2);
	p = put(p, has_question, 2);
	p = put(p, 0, 4);
	return put(p, has_edns, 2);
}

static uint8_t *put_question(uint8_t *p, const struct dns_question *q)
{
	if (!q->name.len)
		return p;
	memcpy(p, q->name.bytes, q->name.len);
	p = put(p + q->name.len, q->type, 2);
	return put(p, q->class, 2);
}

/* @udp_bytes: what we take ourselves. */
static uint8_t *put_edns(uint8_t *p, unsigned udp_bytes, unsigned rcode)
{
	p = put(p, 0, 1); /* the root's name */
	p = put(p, DNS_TYPE_OPT, 2);
	p = put(p, udp_bytes, 2);
	p = put(p, rcode >> 4 << 24, 4);
	return put(p, 0, 2);
}

size_t dns_question_make(const struct dns_question *q, uint16_t id, uint8_t ret[DNS_QUESTION_MAX])
{
	uint8_t *p = put_header(ret, id, FLAG_RD, true, q->has_edns);

	p = put_question(p, q);
	if (q->has_edns)
		p = put_edns(p, q->udp_bytes, 0);
	return (size_t)(p - ret);
}

static unsigned answer_flags(const struct dns_question *q, unsigned rcode, bool is_cut)
{
	return FLAG_QR | (unsigned)q->opcode << 11 | (q->wants_recursion ? FLAG_RD : 0u) | FLAG_RA |
	       (is_cut ? FLAG_TC : 0u) | (rcode & RCODE_MASK);
}

/* All but what it says; @owner: where its name is in the message. */
static uint8_t *put_record(uint8_t *p, size_t owner, unsigned type, uint32_t ttl_sec, size_t len)
{
	p = put(p, POINTER << 8 | (uint32_t)owner, 2);
	p = put(p, type, 2);
	p = put(p, CLASS_IN, 2);
	p = put(p, ttl_sec, 4);
	return put(p, (uint32_t)len, 2);
}

/* @end: of the room. Return: behind them, @ret_count what fitted. */
static uint8_t *put_records(const uint8_t *ret, uint8_t *p, const uint8_t *end,
			    const struct dns_answer *a, size_t *ret_count)
{
	size_t owner = DNS_HEADER_BYTES;

	*ret_count = 0;
	for (size_t i = 0; i < a->links; i++) {
		const struct dns_name *to = &a->chain[i].to;

		if ((size_t)(end - p) < A_BYTES - 4 + (size_t)to->len)
			return p;
		p = put_record(p, owner, DNS_TYPE_CNAME, a->chain[i].ttl_sec, to->len);
		owner = (size_t)(p - ret);
		memcpy(p, to->bytes, to->len);
		p += to->len;
		++*ret_count;
	}
	for (size_t i = 0; i < a->count && end - p >= A_BYTES; i++) {
		p = put_record(p, owner, DNS_TYPE_A, a->ttls[i], 4);
		p = put(p, a->addrs[i], 4);
		++*ret_count;
	}
	return p;
}

size_t dns_answer_make(const struct dns_question *q, unsigned rcode, const struct dns_answer *a,
		       uint8_t *ret, size_t room)
{
	const uint8_t *end = ret + room - (q->has_edns ? OPT_BYTES : 0);
	bool is_cut = false;
	size_t count = 0;
	uint8_t *p = put_question(ret + DNS_HEADER_BYTES, q);

	if (a) {
		p = put_records(ret, p, end, a, &count);
		is_cut = a->is_cut || count < a->links + a->count;
	}
	if (q->has_edns)
		p = put_edns(p, DNS_UDP_MAX_BYTES, rcode);
	(void)put_header(ret, q->id, answer_flags(q, rcode, is_cut), q->name.len > 0, q->has_edns);
	(void)put(ret + 6, (uint32_t)count, 2);
	return (size_t)(p - ret);
}

/* ---- answers ------------------------------------------------------------------------------------- */

static unsigned number_at(const uint8_t *data, size_t at)
{
	return (unsigned)data[at] << 8 | data[at + 1];
}

int dns_answer_check(const struct dns_question *q, uint16_t id, const uint8_t *data, size_t len,
		     unsigned *ret_rcode)
{
	struct cursor c = {.data = data, .len = len, .at = DNS_HEADER_BYTES};
	struct dns_name name;
	unsigned flags, count;

	if (len < DNS_HEADER_BYTES || number_at(data, 0) != id)
		return -ENOENT;
	flags = number_at(data, 2);
	if (!(flags & FLAG_QR) || flags >> 11 & 15 || number_at(data, 4) > 1)
		return -ENOENT;
	*ret_rcode = flags & RCODE_MASK;
	/* Who does not understand a question may leave it out. */
	if (number_at(data, 4) == 0)
		return *ret_rcode == DNS_FORMERR || *ret_rcode == DNS_NOTIMP ||
				       *ret_rcode == DNS_SERVFAIL || *ret_rcode == DNS_REFUSED
			       ? 0
			       : -ENOENT;
	take_name(&c, false, &name);
	if (take(&c, 2) != q->type || take(&c, 2) != q->class || c.bad ||
	    !name_equal(&name, &q->name))
		return -ENOENT;
	count = number_at(data, 6) + number_at(data, 8) + number_at(data, 10);
	while (count-- && !c.bad)
		(void)take_record(&c);
	return (c.bad || c.at != c.len) && !(flags & FLAG_TC) ? -EBADMSG : 0;
}

/* Follow the chain, or add an address of its end. */
static int answer_add(struct dns_answer *a, struct cursor *c, const struct record *r)
{
	if (r->type == DNS_TYPE_CNAME) {
		struct cursor in = {.data = c->data, .len = r->at + r->len, .at = r->at};

		if (a->links == DNS_CHAIN_MAX)
			return -EBADMSG;
		take_name(&in, true, &a->chain[a->links].to);
		if (in.bad || in.at != in.len)
			return -EBADMSG;
		a->chain[a->links++].ttl_sec = r->ttl_sec;
	} else if (r->type == DNS_TYPE_A) {
		struct cursor in = {.data = c->data, .len = r->at + r->len, .at = r->at};

		if (r->len != 4)
			return -EBADMSG;
		if (a->count < DNS_ADDRS_MAX) {
			a->addrs[a->count] = take(&in, 4);
			a->ttls[a->count++] = r->ttl_sec;
		}
	}
	return 0;
}

int dns_answer_read(const struct dns_question *q, const uint8_t *data, size_t len,
		    struct dns_answer *ret)
{
	struct cursor c = {.data = data, .len = len, .at = DNS_HEADER_BYTES};
	unsigned count = number_at(data, 6);
	int rc = 0;

	ret->rcode = number_at(data, 2) & RCODE_MASK;
	ret->is_cut = number_at(data, 2) & FLAG_TC;
	ret->links = ret->count = 0;
	if (number_at(data, 4) == 0)
		return 0;
	c.at += (size_t)q->name.len + 4;
	for (unsigned i = 0; i < count && i < RECORDS_MAX && rc == 0; i++) {
		struct record r = take_record(&c);
		const struct dns_name *at = ret->links ? &ret->chain[ret->links - 1].to : &q->name;

		if (c.bad)
			return ret->is_cut ? 0 : -EBADMSG;
		if (r.class == CLASS_IN && name_equal(&r.name, at))
			rc = answer_add(ret, &c, &r);
	}
	return rc;
}

uint32_t dns_answer_ttl(const struct dns_answer *a)
{
	uint32_t ttl = a->count ? DNS_TTL_MAX_SEC : 0;

	for (size_t i = 0; i < a->links; i++)
		ttl = a->chain[i].ttl_sec < ttl ? a->chain[i].ttl_sec : ttl;
	for (size_t i = 0; i < a->count; i++)
		ttl = a->ttls[i] < ttl ? a->ttls[i] : ttl;
	return ttl;
}

size_t dns_answer_pass(const struct dns_question *q, uint8_t *data, size_t len, size_t room)
{
	unsigned flags = number_at(data, 2);

	/* Without a question of its own, cut, or too long: only what we say ourselves. */
	if (number_at(data, 4) == 0 || flags & FLAG_TC || len > room) {
		const struct dns_answer cut = {.is_cut = number_at(data, 4) != 0};

		return dns_answer_make(q, flags & RCODE_MASK, &cut, data, DNS_UDP_BYTES);
	}
	(void)put(data, q->id, 2);
	flags &= ~(unsigned)(FLAG_AA | FLAG_AD | FLAG_RD);
	(void)put(data + 2, flags | FLAG_RA | (q->wants_recursion ? FLAG_RD : 0u), 2);
	(void)put_question(data + DNS_HEADER_BYTES, q);
	return len;
}
