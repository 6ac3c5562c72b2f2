// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-connect.c - base64 and the framing of streams, in good order and in bad */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "guest/envelope.h"

static void assert_coded(const char *plain, const char *coded)
{
	AUTO_BUF b = BUF_INIT;

	base64_add(&b, plain, strlen(plain));
	assert_string_equal(buf_text(&b), coded);
	buf_reset(&b);
	assert_int_equal(base64_decode(&b, coded, strlen(coded)), 0);
	assert_string_equal(buf_text(&b), plain);
}

/* The vectors of RFC 4648, section 10. */
static void test_base64_vectors(void **state)
{
	(void)state;
	assert_coded("", "");
	assert_coded("f", "Zg==");
	assert_coded("fo", "Zm8=");
	assert_coded("foo", "Zm9v");
	assert_coded("foob", "Zm9vYg==");
	assert_coded("fooba", "Zm9vYmE=");
	assert_coded("foobar", "Zm9vYmFy");
}

static void test_base64_long(void **state)
{
	AUTO_BUF plain = BUF_INIT, coded = BUF_INIT, back = BUF_INIT;

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		buf_addc(&plain, (char)(i * 7 & 0xff));
		if (i % 97)
			continue;
		buf_reset(&coded);
		buf_reset(&back);
		base64_add(&coded, plain.data, plain.len);
		assert_int_equal(coded.len, (plain.len + 2) / 3 * 4);
		assert_int_equal(base64_decode(&back, coded.data, coded.len), 0);
		assert_int_equal(back.len, plain.len);
		assert_memory_equal(back.data, plain.data, plain.len);
	}
}

static void test_base64_other_forms(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	assert_int_equal(base64_decode(&b, "-_8", 3), 0);
	assert_int_equal(base64_decode(&b, "+/8=", 4), 0);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "\xfb\xff\xfb\xff", 4);
}

static void test_base64_refused(void **state)
{
	static const char *const bad[] = {"A",     "AAAAA", "A===", "=",          "====",    "AA A",
					  "AA\nA", "Z.==",  "Zg=a", "\xc3\xa9==", "Zg==Zg=="};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		AUTO_BUF b = BUF_INIT;

		if (base64_decode(&b, bad[i], strlen(bad[i])) != -EBADMSG)
			fail_msg("'%s' was taken", bad[i]);
	}
}

/* ---- envelopes ----------------------------------------------------------------------------------- */

struct seen {
	struct buf text; /* payloads, each with a '|' behind */
	unsigned flags;  /* of the last one */
	int answer;      /* what the receiver says */
};

static int receive(void *arg, unsigned flags, const char *payload, size_t len)
{
	struct seen *s = arg;

	assert_int_equal(payload[len], '\0');
	buf_add(&s->text, payload, len);
	buf_addc(&s->text, '|');
	s->flags = flags;
	return s->answer;
}

/* Feed in pieces of @step bytes. */
static int feed(struct seen *s, const char *data, size_t len, size_t step)
{
	struct envelopes e = {.message = receive, .arg = s};
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i += step)
		r = envelopes_feed(&e, data + i, len - i < step ? len - i : step);
	envelopes_done(&e);
	return r;
}

static void test_envelopes_in_pieces(void **state)
{
	static const char stream[] = "\0\0\0\0\3one\0\0\0\0\5three\2\0\0\0\2{}";

	(void)state;
	for (size_t step = 1; step < sizeof(stream); step++) {
		struct seen s = {.text = BUF_INIT};

		assert_int_equal(feed(&s, stream, sizeof(stream) - 1, step), 0);
		assert_string_equal(buf_text(&s.text), "one|three|{}|");
		assert_int_equal(s.flags, ENVELOPE_FLAG_END);
		buf_done(&s.text);
	}
}

static int feed_all(const char *data, size_t len)
{
	struct seen s = {.text = BUF_INIT};
	int r = feed(&s, data, len, len);

	buf_done(&s.text);
	return r;
}

static void test_envelopes_refused(void **state)
{
	struct seen s = {.text = BUF_INIT, .answer = -EDOM};

	(void)state;
	/* Compressed, unknown flags, too long, the longest there can be, bytes behind the end. */
	assert_int_equal(feed_all("\1\0\0\0\1x", 6), -EBADMSG);
	assert_int_equal(feed_all("HTTP/1.1", 8), -EBADMSG);
	assert_int_equal(feed_all("\0\0\2\0\1", 5), -EMSGSIZE);
	assert_int_equal(feed_all("\0\xff\xff\xff\xff", 5), -EMSGSIZE);
	assert_int_equal(feed_all("\2\0\0\0\1x\0", 7), -EBADMSG);
	/* What the receiver says is passed on at once. */
	assert_int_equal(feed(&s, "\0\0\0\0\1a\0\0\0\0\1b", 12, 12), -EDOM);
	assert_string_equal(buf_text(&s.text), "a|");
	buf_done(&s.text);
}

static void test_envelope_longest(void **state)
{
	AUTO_BUF payload = BUF_INIT, whole = BUF_INIT;
	struct seen s = {.text = BUF_INIT};

	(void)state;
	for (size_t i = 0; i < ENVELOPE_MAX; i++)
		buf_addc(&payload, 'x');
	envelope_add(&whole, payload.data, payload.len);
	assert_int_equal(whole.len, ENVELOPE_HEAD_SIZE + ENVELOPE_MAX);
	assert_int_equal(feed(&s, whole.data, whole.len, 1000), 0);
	assert_int_equal(s.text.len, ENVELOPE_MAX + 1);
	buf_done(&s.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_vectors),
		cmocka_unit_test(test_base64_long),
		cmocka_unit_test(test_base64_other_forms),
		cmocka_unit_test(test_base64_refused),
		cmocka_unit_test(test_envelopes_in_pieces),
		cmocka_unit_test(test_envelopes_refused),
		cmocka_unit_test(test_envelope_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
