// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-agent.c - the real agent against requests that no host of ours sends
 *
 * After each test the agent must still be well, and at the end hold no more descriptors than at the start.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "tests/unit/agent-ask.h"

/* ---- what is wrong with a request ---------------------------------------------------------------- */

static void test_routes(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);

	(void)state;
	assert_unary("/no/such/path", "{}", 404, "no such path");
	assert_unary("/health", "{}", 405, "method");
	assert_answer(ask("/sync", "text/plain", NULL, 0), 405, "method");
	assert_unary("/process.Process/Nothing", "{}", 404, "");
	assert_answer(ask_on("/no/such/path", NULL, NULL, 0, &d), 401, "token");
	assert_answer(ask_on(start_path, NULL, "{}", 2, &d), 401, "token");
	assert_answer(ask(start_path, "application/json", "{}", 2), 415, "connect+json");
	assert_answer(ask(start_path, "application/connect+proto", "", 0), 415, "connect+json");
	assert_answer(ask("/process.Process/List", "application/proto", "", 0), 415, "json");
}

static void test_bad_init(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);

	(void)state;
	assert_unary("/init", "{", 400, "JSON");
	assert_unary("/init", "[]", 400, "object");
	assert_unary("/init", "{}}", 400, "JSON");
	assert_unary("/init", "{\"timestamp\":\"yesterday\"}", 400, "timestamp");
	assert_unary("/init", "{\"timestamp\":\"2090-01-01T00:00:00\"}", 400, "timestamp");
	assert_unary("/init", "{\"envVars\":[\"A=b\"]}", 400, "envVars");
	assert_unary("/init", "{\"envVars\":{\"A=B\":\"c\"}}", 400, "A=B");
	assert_unary("/init", "{\"envVars\":{\"A\":\"x\\u0000y\"}}", 400, "NUL");
	assert_unary("/init", "{\"accessToken\":5}", 400, "accessToken");
	assert_unary("/init", "{\"hostname\":\"a b\"}", 400, "hostname");
	assert_unary("/init", "{\"dns\":\"example.com\"}", 400, "dns");
	/* Who shows no token learns nothing, and changes nothing. */
	assert_answer(ask_on("/init", NULL, "{", 1, &d), 401, "token");
	assert_answer(ask_on("/init", NULL, "{\"defaultUser\":\"daemon\"}", 24, &d), 401, "token");
}

/* Never a good one: as root it would hold this machine's own file systems. */
static void test_bad_freeze(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);

	(void)state;
	assert_answer(ask_on("/fsfreeze", NULL, "{", 1, &d), 401, "token");
	assert_answer(ask_on("/fsthaw", NULL, "", 0, &d), 401, "token");
	assert_unary("/fsfreeze", "{", 400, "JSON");
	assert_unary("/fsfreeze", "{\"hold_ms\":0}", 400, "hold_ms");
	assert_unary("/fsfreeze", "{\"hold_ms\":\"long\"}", 400, "hold_ms");
	/* Nothing is held. */
	assert_unary("/fsthaw", "", 204, "");
}

static void test_good_init(void **state)
{
	struct answer a;

	(void)state;
	assert_unary("/init", "{\"timestamp\":\"2090-01-01T00:00:00Z\",\"env_vars\":{\"A\":\"1\"}}",
		     204, "");
	assert_unary("/init",
		     "{\"timestamp\":\"2090-01-01T00:00:01.5Z\",\"envVars\":{\"A\":\"2\"}}", 204,
		     "");
	/* One that was overtaken on its way is answered and not applied. */
	assert_unary("/init",
		     "{\"timestamp\":\"2090-01-01T01:00:01+01:00\",\"envVars\":{\"A\":\"3\"}}", 204,
		     "");
	assert_unary("/init", "{\"timestamp\":\"3786912001.4\",\"envVars\":{\"A\":\"4\"}}", 204,
		     "");
	a = start_call("{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"exit 4$A\"]}}");
	assert_stream(a, "\"exitCode\":42,");
}

static void test_bad_envelopes(void **state)
{
	static const char type[] = "application/connect+json";

	(void)state;
	assert_stream(ask(start_path, type, "", 0), "invalid_argument");
	assert_stream(ask(start_path, type, "\0\0\0", 3), "invalid_argument");
	assert_stream(ask(start_path, type, "\0\0\0\0\x09{}", 7), "invalid_argument");
	assert_stream(ask(start_path, type, "\0\0\0\0\1{}", 7), "invalid_argument");
	assert_stream(ask(start_path, type, "\1\0\0\0\2{}", 7), "compressed");
	assert_stream(ask(start_path, type, "\xff\xff\xff\xff\xff\xff\xff", 7), "compressed");
	assert_stream(ask(start_path, type, "\0\0\0\0\2{}\2\0\0\0\2{}", 14), "invalid_argument");
}

static void test_bad_start(void **state)
{
	AUTO_BUF deep = BUF_INIT;

	(void)state;
	assert_stream(start_call("{}"), "process.cmd");
	assert_stream(start_call("7"), "process.cmd");
	assert_stream(start_call("{\"process\":{\"cmd\":7}}"), "cmd is not a text");
	assert_stream(start_call("{\"process\":{\"cmd\":\"a\\u0000b\"}}"), "NUL");
	assert_stream(start_call("{\"process\":{\"cmd\":\"sh\",\"args\":\"x\"}}"), "args");
	assert_stream(start_call("{\"process\":{\"cmd\":\"sh\",\"args\":[1]}}"), "args");
	assert_stream(start_call("{\"process\":{\"cmd\":\"sh\",\"envs\":{\"\":\"\"}}}"), "envs");
	assert_stream(start_call("{\"process\":{\"cmd\":\"sh\"},\"stdin\":true}"), "unimplemented");
	assert_stream(start_call("{\"process\":{\"cmd\":\"no-such-program\"}}"),
		      "invalid_argument");
	assert_stream(start_call("{\"process\":{\"cmd\":\"/etc/passwd\"}}"), "Permission denied");
	assert_stream(start_call("{\"process\":{\"cmd\":\"/\"}}"), "invalid_argument");
	for (int i = 0; i < 100000; i++)
		buf_addc(&deep, '[');
	assert_stream(start_call(buf_text(&deep)), "invalid_argument");
}

static void test_bad_signal(void **state)
{
	static const char path[] = "/process.Process/SendSignal";

	(void)state;
	assert_unary(path, "[]", 400, "invalid_argument");
	assert_unary(path, "nonsense", 400, "invalid_argument");
	assert_unary(path, "{}", 501, "unimplemented");
	assert_unary(path, "{\"process\":{\"pid\":1},\"signal\":\"SIGNAL_SIGKILL\"}", 404,
		     "not_found");
	assert_unary(path, "{\"process\":{\"pid\":-1},\"signal\":9}", 400, "out of range");
	assert_unary(path, "{\"process\":{\"tag\":\"x\"},\"signal\":15}", 404, "not_found");
	assert_unary(path, "{\"process\":{\"pid\":\"5\"},\"signal\":\"SIGNAL_SIGHUP\"}", 501,
		     "signal");
}

static void test_too_much(void **state)
{
	const size_t mib = 1 << 20, len = 3 * mib;
	AUTO_FREE char *much = malloc(len);
	struct answer a;

	(void)state;
	memset(much, ' ', len);
	/* Either the answer arrives or the connection is cut while we still send. */
	a = ask("/init", "application/json", much, len);
	assert_true(a.status == 413 || a.r == -ECONNRESET);
	buf_done(&a.body);
	a = ask("/init", "application/json", much, mib);
	assert_int_equal(a.status, 400);
	buf_done(&a.body);
}

static void test_garbage_on_the_line(void **state)
{
	static const char *const texts[] = {
		"\r\n\r\n",
		"\xff\xfe\x01\x02\x03\r\n\r\n",
		"GET\r\n\r\n",
		"GET / HTTP/9.9\r\n\r\n",
		"POST /init HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
		"POST /init HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST /init HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /init HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		"POST /init HTTP/1.1\r\nContent-Length: 100\r\n\r\nshort",
		"GET /%00%ff?%%% HTTP/1.1\r\n\r\n",
		"BREW /health HTTP/1.1\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		AUTO_FD fd = connect_raw();

		send_raw(fd, texts[i], strlen(texts[i]));
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		(void)drain_raw(fd, SIZE_MAX);
	}
}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		AGENT_TEST(test_routes),
		AGENT_TEST(test_bad_init),
		AGENT_TEST(test_bad_freeze),
		AGENT_TEST(test_good_init),
		AGENT_TEST(test_bad_envelopes),
		AGENT_TEST(test_bad_start),
		AGENT_TEST(test_bad_signal),
		AGENT_TEST(test_too_much),
		AGENT_TEST(test_garbage_on_the_line),
		AGENT_TEST(test_nothing_left),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, agent_group_start, agent_group_stop);
}
