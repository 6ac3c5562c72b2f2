/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-dns-message.c - DNS messages: good ones are read and made, of bad ones nothing is believed */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/dns-message.h"
#include "tests/unit/dns-wire.h"

static struct wire w;
static struct dns_question q;
static struct dns_answer a;
static uint8_t out[DNS_MESSAGE_MAX];

/* Read from memory of exactly that length, so that the sanitizers see a byte beyond it. */
static int read_question(size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, w.data, len);
	rc = dns_question_read(copy, len, &q);
	free(copy);
	return rc;
}

static int read_answer(size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	unsigned rcode = 99;
	int rc;

	assert_non_null(copy);
	memcpy(copy, w.data, len);
	rc = dns_answer_check(&q, 7, copy, len, &rcode);
	if (rc == 0)
		rc = dns_answer_read(&q, copy, len, &a);
	if (rc == 0)
		assert_int_equal(a.rcode, rcode);
	free(copy);
	return rc;
}

static void asked(const char *name, unsigned type)
{
	wire_start(&w, 0x1234, 0x0100);
	wire_question(&w, name, type);
	assert_int_equal(read_question(w.len), 0);
}

/* An answer to it has begun. */
static void answered(const char *name, unsigned type)
{
	asked(name, type);
	wire_start(&w, 7, 0x8180);
	wire_question(&w, name, type);
}

static void is_text(const char *name, const char *text)
{
	char ret[DNS_TEXT_SIZE];

	asked(name, DNS_TYPE_A);
	assert_true(dns_name_text(&q.name, ret));
	assert_string_equal(ret, text);
}

/* ---- questions ----------------------------------------------------------------------------------- */

static void test_question(void **state)
{
	(void)state;
	asked("WWW.Example.com", DNS_TYPE_A);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, DNS_TYPE_A);
	assert_true(q.wants_recursion);
	assert_false(q.has_edns);
	assert_int_equal(q.udp_bytes, 512);
	is_text("WWW.Example.com", "www.example.com");
	is_text("_dmarc.a-b.c0", "_dmarc.a-b.c0");
	is_text("", "");
}

static void test_question_as_asked(void **state)
{
	size_t len;

	(void)state;
	asked("www.example.com", DNS_TYPE_A);
	wire_start(&w, 0xbeef, 0x0100);
	wire_question(&w, "www.example.com", DNS_TYPE_A);
	len = dns_question_make(&q, 0xbeef, out);
	assert_int_equal(len, w.len);
	assert_memory_equal(out, w.data, len);
	q.has_edns = true;
	q.udp_bytes = 1000;
	wire_edns(&w, 1000, 0);
	len = dns_question_make(&q, 0xbeef, out);
	assert_int_equal(len, w.len);
	assert_memory_equal(out, w.data, len);
}

static void edns_size(unsigned said, unsigned taken)
{
	wire_start(&w, 1, 0x0100);
	wire_question(&w, "a.example", DNS_TYPE_A);
	wire_edns(&w, said, 0);
	assert_int_equal(read_question(w.len), 0);
	assert_true(q.has_edns);
	assert_int_equal(q.udp_bytes, taken);
}

static void test_question_edns(void **state)
{
	size_t len;

	(void)state;
	edns_size(0, 512);
	edns_size(511, 512);
	edns_size(700, 700);
	edns_size(1232, 1232);
	edns_size(4096, 1232);
	edns_size(65535, 1232);
	wire_edns(&w, 600, 0);
	assert_int_equal(read_question(w.len), DNS_FORMERR); /* twice */
	wire_start(&w, 1, 0x0100);
	wire_question(&w, "a.example", DNS_TYPE_A);
	wire_edns(&w, 600, 1);
	assert_int_equal(read_question(w.len), DNS_BADVERS);
	len = dns_answer_make(&q, DNS_BADVERS, NULL, out, 512);
	assert_int_equal(wire_rcode(out), 0);
	assert_int_equal(out[len - 6], 1); /* the upper bits of the rcode */
	wire_start(&w, 1, 0x0100);
	wire_question(&w, "a.example", DNS_TYPE_A);
	wire_record(&w, 3, "", DNS_TYPE_OPT, 0,
		    5); /* options that we do not know; class 1 is a size */
	wire_bytes(&w, "\0\12\0\1x", 5);
	assert_int_equal(read_question(w.len), 0);
	wire_start(&w, 1, 0x0100);
	wire_question(&w, "a.example", DNS_TYPE_A);
	wire_record(&w, 3, "x", DNS_TYPE_OPT, 0, 0);
	assert_int_equal(read_question(w.len), DNS_FORMERR); /* of a name */
}

static void test_question_kinds(void **state)
{
	static const unsigned never[] = {0, 41, 249, 250, 251, 252, 253, 254, 255};

	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		wire_start(&w, 1, 0x0100);
		wire_question(&w, "a.example", never[i]);
		assert_int_equal(read_question(w.len), DNS_NOTIMP);
		assert_int_equal(q.type, never[i]); /* the answer says which */
	}
	asked("a.example", 256);
	for (unsigned opcode = 1; opcode < 16; opcode++) {
		wire_start(&w, 1, 0x0100 | opcode << 11);
		wire_question(&w, "a.example", DNS_TYPE_A);
		assert_int_equal(read_question(w.len), DNS_NOTIMP);
		assert_int_equal(dns_answer_make(&q, DNS_NOTIMP, NULL, out, 512), 12);
		assert_int_equal(wire_at(out, 2), 0x8184 | opcode << 11);
	}
	asked("a.example", DNS_TYPE_A);
	w.data[w.len - 1] = 3;
	assert_int_equal(read_question(w.len), DNS_NOTIMP); /* another class */
}

static void test_question_counts(void **state)
{
	(void)state;
	wire_start(&w, 1, 0x0100);
	assert_int_equal(read_question(w.len), DNS_FORMERR); /* none */
	wire_question(&w, "a.example", DNS_TYPE_A);
	wire_question(&w, "b.example", DNS_TYPE_A);
	assert_int_equal(read_question(w.len), DNS_FORMERR);
	assert_int_equal(dns_answer_make(&q, DNS_FORMERR, NULL, out, 512), 12);
	for (unsigned section = 1; section < 4; section++) {
		asked("a.example", DNS_TYPE_A);
		wire_count(&w, section); /* that is not there */
		assert_int_equal(read_question(w.len), DNS_FORMERR);
		w.data[4 + 2 * section] = 0xff;
		assert_int_equal(read_question(w.len), DNS_FORMERR);
	}
	asked("a.example", DNS_TYPE_A);
	wire_number(&w, 0, 1); /* behind it */
	assert_int_equal(read_question(w.len), DNS_FORMERR);
	asked("a.example", DNS_TYPE_A);
	for (unsigned i = 0; i < 9; i++)
		wire_record(&w, 3, NULL, 16, 0, 0);
	assert_int_equal(read_question(w.len), DNS_FORMERR); /* more than anybody has */
}

static void test_question_cut_anywhere(void **state)
{
	(void)state;
	wire_start(&w, 1, 0x0100);
	wire_question(&w, "www.example.com", DNS_TYPE_A);
	wire_edns(&w, 1232, 0);
	for (size_t len = 0; len < w.len; len++)
		assert_int_equal(read_question(len), len < 12 ? -EBADMSG : DNS_FORMERR);
	assert_int_equal(read_question(w.len), 0);
	w.data[2] |= 0x80; /* an answer is never answered: two could do so for ever */
	assert_int_equal(read_question(w.len), -EBADMSG);
}

static void bad_name(const char *bytes, size_t len)
{
	wire_start(&w, 1, 0x0100);
	wire_count(&w, 0);
	wire_bytes(&w, bytes, len);
	wire_number(&w, 1, 2);
	wire_number(&w, 1, 2);
	assert_int_equal(read_question(w.len), DNS_FORMERR);
	assert_int_equal(q.name.len, 0);
}

static void test_question_names(void **state)
{
	char longest[300], text[DNS_TEXT_SIZE];

	(void)state;
	bad_name("\300\14", 2);    /* points to itself */
	bad_name("\300\0", 2);     /* to the header */
	bad_name("\1a\300\14", 4); /* round and round */
	bad_name("\300\377", 2);   /* beyond the end */
	bad_name("\100a\0", 3);    /* of no kind */
	bad_name("\200a\0", 3);
	bad_name("\77abc", 4); /* longer than there is */
	memset(longest, 'x', sizeof(longest));
	longest[0] = longest[64] = longest[128] = 63;
	longest[192] = 61;
	longest[254] = 0;
	wire_start(&w, 1, 0x0100);
	wire_count(&w, 0);
	wire_bytes(&w, longest, 255);
	wire_number(&w, 1, 2);
	wire_number(&w, 1, 2);
	assert_int_equal(read_question(w.len), 0);
	assert_int_equal(q.name.len, 255);
	assert_true(dns_name_text(&q.name, text));
	assert_int_equal(strlen(text), 253);
	assert_true(dns_question_make(&q, 1, out) <= DNS_QUESTION_MAX);
	longest[192] = 62;
	longest[255] = 0;
	bad_name(longest, 256); /* a byte too long */
}

/* What a rule could not say must not look like what it says. */
static void test_question_strange_names(void **state)
{
	static const char *const strange[] = {"\3a.b", "\1\0",   "\1 ", "\2\\.",
					      "\1*",   "\1\377", "\1/"};
	char text[DNS_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		wire_start(&w, 1, 0x0100);
		wire_count(&w, 0);
		wire_bytes(&w, strange[i], (size_t)strange[i][0] + 1);
		wire_name(&w, "example.com");
		wire_number(&w, 1, 2);
		wire_number(&w, 1, 2);
		assert_int_equal(read_question(w.len), 0);
		assert_false(dns_name_text(&q.name, text));
	}
}

/* ---- answers ------------------------------------------------------------------------------------- */

static void test_answer(void **state)
{
	(void)state;
	answered("www.example.com", DNS_TYPE_A);
	wire_cname(&w, NULL, 300, "a.example.net");
	wire_cname(&w, "A.example.net", 60, "b.example.org");
	wire_a(&w, "b.example.org", 20, 0xc6336401);
	wire_a(&w, "other.example.org", 1, 0xc6336402);
	wire_a(&w, "b.EXAMPLE.org", 30, 0xc6336403);
	wire_record(&w, 2, "example.org", 2, 5, 2);
	wire_number(&w, 0xc00c, 2);
	wire_edns(&w, 1232, 0);
	assert_int_equal(read_answer(w.len), 0);
	assert_int_equal(a.links, 2);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.addrs[0], 0xc6336401);
	assert_int_equal(a.addrs[1], 0xc6336403);
	assert_int_equal(a.ttls[1], 30);
	assert_int_equal(dns_answer_ttl(&a), 20);
	assert_false(a.is_cut);
	for (size_t len = 0; len < w.len; len++)
		assert_true(read_answer(len) < 0);
}

static void test_answer_times(void **state)
{
	(void)state;
	answered("a.example", DNS_TYPE_A);
	wire_cname(&w, NULL, 9, "b.example");
	wire_a(&w, "b.example", 999999, 1);
	wire_a(&w, "b.example", 0x80000001, 2);
	assert_int_equal(read_answer(w.len), 0);
	assert_int_equal(a.ttls[0], DNS_TTL_MAX_SEC);
	assert_int_equal(a.ttls[1], 0);
	assert_int_equal(dns_answer_ttl(&a), 0);
	a.count = 1;
	assert_int_equal(dns_answer_ttl(&a), 9);
	a.count = 0;
	assert_int_equal(dns_answer_ttl(&a), 0);
}

static void test_answer_to_another(void **state)
{
	(void)state;
	answered("a.example", DNS_TYPE_A);
	w.data[0] = 1;
	assert_int_equal(read_answer(w.len), -ENOENT); /* another id */
	answered("a.example", DNS_TYPE_A);
	w.data[2] &= 0x7f;
	assert_int_equal(read_answer(w.len), -ENOENT); /* a question */
	answered("a.example", DNS_TYPE_A);
	w.data[2] |= 0x10;
	assert_int_equal(read_answer(w.len), -ENOENT); /* another opcode */
	answered("a.example", DNS_TYPE_A);
	w.data[13] = 'b';
	assert_int_equal(read_answer(w.len), -ENOENT); /* another name */
	answered("a.example", DNS_TYPE_A);
	w.data[w.len - 3] = DNS_TYPE_AAAA;
	assert_int_equal(read_answer(w.len), -ENOENT); /* another type */
	answered("a.example", DNS_TYPE_A);
	wire_question(&w, "a.example", DNS_TYPE_A);
	assert_int_equal(read_answer(w.len), -ENOENT); /* two questions */
	wire_start(&w, 7, 0x8180);
	assert_int_equal(read_answer(w.len), -ENOENT); /* none */
	wire_start(&w, 7, 0x8181);
	assert_int_equal(read_answer(w.len), 0); /* it did not understand it */
	assert_int_equal(a.rcode, DNS_FORMERR);
}

static void test_answer_damaged(void **state)
{
	(void)state;
	answered("a.example", DNS_TYPE_A);
	wire_count(&w, 1);
	assert_int_equal(read_answer(w.len), -EBADMSG);
	answered("a.example", DNS_TYPE_A);
	wire_number(&w, 0, 1);
	assert_int_equal(read_answer(w.len), -EBADMSG);
	answered("a.example", DNS_TYPE_A);
	wire_record(&w, 1, NULL, DNS_TYPE_A, 1, 3);
	wire_number(&w, 1, 3);
	assert_int_equal(read_answer(w.len), -EBADMSG); /* an address of three bytes */
	answered("a.example", DNS_TYPE_A);
	wire_record(&w, 1, NULL, DNS_TYPE_CNAME, 1, 4);
	wire_bytes(&w, "\1b\0x", 4);
	assert_int_equal(read_answer(w.len), -EBADMSG); /* more than a name */
	answered("a.example", DNS_TYPE_A);
	wire_record(&w, 1, NULL, DNS_TYPE_CNAME, 1, 2);
	wire_bytes(&w, "\1b", 2);
	wire_a(&w, "b", 1, 1);
	assert_int_equal(read_answer(w.len), -EBADMSG); /* less */
	answered("a.example", DNS_TYPE_A);
	wire_record(&w, 1, NULL, DNS_TYPE_CNAME, 1, 2);
	wire_number(&w, 0xc000 | (uint32_t)w.len, 2);
	assert_int_equal(read_answer(w.len), -EBADMSG); /* a name that is itself */
	answered("a.example", DNS_TYPE_A);
	for (int i = 0; i <= DNS_CHAIN_MAX; i++)
		wire_cname(&w, NULL, 1, "a.example");
	assert_int_equal(read_answer(w.len), -EBADMSG); /* round and round */
}

/* Chains of pointers, each to the one before it. */
static void test_answer_pointers(void **state)
{
	size_t before = 12;

	(void)state;
	answered("a.example", DNS_TYPE_A);
	for (int i = 0; i < 500; i++) {
		size_t here = w.len;

		wire_number(&w, 0xc000 | (uint32_t)before, 2);
		wire_number(&w, DNS_TYPE_A, 2);
		wire_number(&w, 1, 2);
		wire_number(&w, 1, 4);
		wire_number(&w, 4, 2);
		wire_number(&w, (uint32_t)i, 4);
		wire_count(&w, 1);
		before = here;
	}
	assert_int_equal(read_answer(w.len), 0);
	assert_int_equal(a.count, DNS_ADDRS_MAX); /* and no more */
}

/* What is made can be read, is no longer than allowed, and says when something is missing. */
static void made_is_read(size_t room, bool has_edns)
{
	struct dns_answer before = a;
	size_t len;

	q.has_edns = has_edns;
	len = dns_answer_make(&q, DNS_NOERROR, &a, out, room);
	assert_true(len <= room);
	assert_int_equal(wire_at(out, 0), 0x1234);
	assert_int_equal(wire_at(out, 10), has_edns);
	out[0] = 0;
	out[1] = 7;
	memcpy(w.data, out, len);
	assert_int_equal(read_answer(len), 0);
	assert_int_equal(a.is_cut, a.count < before.count);
	assert_int_equal(a.links, before.links);
	assert_memory_equal(a.addrs, before.addrs, a.count * sizeof(a.addrs[0]));
	if (room == DNS_MESSAGE_MAX)
		assert_int_equal(a.count, before.count);
	a = before;
}

static void test_answer_made(void **state)
{
	(void)state;
	answered("www.example.com", DNS_TYPE_A);
	wire_cname(&w, NULL, 300, "a.example.net");
	wire_cname(&w, "a.example.net", 60, "b.example.org");
	for (uint32_t i = 0; i < 200; i++)
		wire_a(&w, "b.example.org", 20 + i, 0xc6336400 + i);
	assert_int_equal(read_answer(w.len), 0);
	for (size_t room = 512; room <= 1232; room++) {
		made_is_read(room, false);
		made_is_read(room, true);
	}
	made_is_read(DNS_MESSAGE_MAX, true);
	a.count = 3;
	made_is_read(512, true);
}

static void test_answer_passed(void **state)
{
	size_t len, cut;

	(void)state;
	asked("MX.example", 15);
	wire_start(&w, 7, 0x85a0); /* from who is in charge, proven */
	wire_question(&w, "mx.example", 15);
	for (int i = 0; i < 60; i++) {
		wire_record(&w, 1, NULL, 15, 5, 4);
		wire_number(&w, 10, 2);
		wire_number(&w, 0xc00c, 2);
	}
	len = w.len;
	memcpy(out, w.data, len);
	assert_int_equal(dns_answer_pass(&q, out, len, 1232), len);
	assert_int_equal(wire_at(out, 0), 0x1234);
	assert_int_equal(wire_at(out, 2), 0x8180);
	assert_memory_equal(out + 12, "\2MX\7example", 11); /* as it was asked */
	assert_memory_equal(out + 28, w.data + 28, len - 28);
	memcpy(out, w.data, len);
	cut = dns_answer_pass(&q, out, len, 512);
	assert_int_equal(cut, 28);
	assert_true(wire_is_cut(out));
	assert_int_equal(wire_at(out, 6), 0);
	memcpy(out, w.data, len);
	out[2] |= 2; /* cut already */
	assert_int_equal(dns_answer_pass(&q, out, len, 1232), 28);
	assert_true(wire_is_cut(out));
}

int main(void)
{
	const struct CMUnitTest questions[] = {
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_question_as_asked),
		cmocka_unit_test(test_question_edns),
		cmocka_unit_test(test_question_kinds),
		cmocka_unit_test(test_question_counts),
		cmocka_unit_test(test_question_cut_anywhere),
		cmocka_unit_test(test_question_names),
		cmocka_unit_test(test_question_strange_names),
	};
	const struct CMUnitTest answers[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_answer_times),
		cmocka_unit_test(test_answer_to_another),
		cmocka_unit_test(test_answer_damaged),
		cmocka_unit_test(test_answer_pointers),
		cmocka_unit_test(test_answer_made),
		cmocka_unit_test(test_answer_passed),
	};
	int failed = cmocka_run_group_tests(questions, NULL, NULL);

	return failed + cmocka_run_group_tests(answers, NULL, NULL);
}
