/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-fetch.c - fetching from a server that has ranges, or cuts, redirects, lies and hangs
 *
 * How it works: a thread serves one connection after the other on 127.0.0.1, each with the next of the answers that the
 * test has laid out, and keeps all requests for the test to look at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fetch.h"
#include "base/file.h"
#include "base/http.h"
#include "tests/unit/fetch-server.h"

static void test_whole(void **state)
{
	struct server s = {.cancel_fd = -1, .answers = {WHOLE}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, &e), 0);
	assert_int_equal(a.status, 200);
	assert_int_equal(a.total, 5);
	assert_string_equal(a.etag, "\"one\"");
	assert_string_equal(a.modified, "Sun, 22 Nov 2026 10:00:00 GMT");
	assert_int_equal(g.begins, 1);
	assert_string_equal(buf_text(&g.body), "hello");
	assert_memory_equal(buf_text(&s.requests), "GET /file HTTP/1.1\r\n", 20);
	assert_null(strstr(buf_text(&s.requests), "Range"));
	assert_null(strstr(buf_text(&s.requests), "Cookie"));
	assert_null(strstr(buf_text(&s.requests), "Accept-Encoding"));
	buf_done(&s.requests);
}

static void test_head(void **state)
{
	struct server s = {.cancel_fd = -1,
			   .answers = {"HTTP/1.1 200 OK\r\nContent-Length: 123456789012\r\n\r\n"}};
	struct fetch_request r = {.head = true};
	struct fetch_answer a;
	AUTO_GOT g = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(a.total, 123456789012);
	assert_string_equal(a.etag, "");
	assert_int_equal(g.begins, 0);
	assert_memory_equal(buf_text(&s.requests), "HEAD /file ", 11);
	buf_done(&s.requests);
}

static void test_no_length(void **state)
{
	struct server s = {.cancel_fd = -1,
			   .answers = {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				       "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(a.total, -1);
	assert_string_equal(buf_text(&g.body), "hello");
	buf_done(&s.requests);
}

static void test_empty(void **state)
{
	struct server s = {.cancel_fd = -1,
			   .answers = {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(g.begins, 1); /* also when no piece follows */
	assert_int_equal(g.total, 0);
	buf_done(&s.requests);
}

static void test_rest(void **state)
{
	struct server s = {.cancel_fd = -1,
			   .answers = {"HTTP/1.1 206 Partial\r\nContent-Range: bytes 2-4/5\r\n"
				       "Content-Length: 3\r\n\r\nllo"}};
	struct fetch_request r = {.from = 2, .if_range = "\"one\""};
	struct fetch_answer a;
	AUTO_GOT g = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(a.status, 206);
	assert_int_equal(g.from, 2);
	assert_int_equal(g.total, 5);
	assert_string_equal(buf_text(&g.body), "llo");
	assert_non_null(strstr(buf_text(&s.requests), "\r\nRange: bytes=2-\r\n"));
	assert_non_null(strstr(buf_text(&s.requests), "\r\nIf-Range: \"one\"\r\n"));
	buf_done(&s.requests);
}

/* A server without ranges, or whose file has changed, sends the whole again. */
static void test_rest_refused(void **state)
{
	struct server s = {.cancel_fd = -1, .answers = {WHOLE}};
	struct fetch_request r = {.from = 2};
	struct fetch_answer a;
	AUTO_GOT g = {.from = 99};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(g.from, 0);
	assert_string_equal(buf_text(&g.body), "hello");
	buf_done(&s.requests);
}

static void test_wrong_range(void **state)
{
	static const char *const lies[] = {
		"HTTP/1.1 206 Partial\r\nContent-Range: bytes 1-4/5\r\nContent-Length: 4\r\n\r\nello",
		"HTTP/1.1 206 Partial\r\nContent-Length: 3\r\n\r\nllo",
		"HTTP/1.1 206 Partial\r\nContent-Range: bytes 2/5\r\nContent-Length: 0\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct server s = {.cancel_fd = -1, .answers = {lies[i]}};
		struct fetch_request r = {.from = 2};
		struct fetch_answer a;
		AUTO_GOT g = {0};
		struct err e = {0};

		assert_int_equal(fetch(&s, &r, &g, &a, &e), -EBADMSG);
		assert_non_null(strstr(e.text, "behind byte 2"));
		assert_int_equal(g.begins, 0);
		assert_int_equal(g.body.len, 0);
		buf_done(&s.requests);
	}
}

static void test_cut(void **state)
{
	struct server s = {.cancel_fd = -1,
			   .answers = {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, &e), -ECONNRESET);
	assert_non_null(strstr(e.text, s.url));
	assert_string_equal(buf_text(&g.body), "hello"); /* what came is not lost */
	assert_int_equal(g.total, 10);
	buf_done(&s.requests);
}

/* The body of an error is not the file. */
static void test_error_status(void **state)
{
	struct server s = {.cancel_fd = -1,
			   .answers = {"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone"}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(a.status, 404);
	assert_int_equal(g.begins, 0);
	assert_int_equal(g.body.len, 0);
	buf_done(&s.requests);
}

/* An error that goes on for ever ends the fetch all the same. */
static void test_long_error(void **state)
{
	AUTO_BUF text = BUF_INIT;
	struct server s = {.cancel_fd = -1};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};

	(void)state;
	buf_adds(&text, "HTTP/1.1 500 Bad\r\nContent-Length: 99999999\r\n\r\n");
	for (int i = 0; i < 2000; i++)
		buf_addf(&text, "%0100d", i);
	s.answers[0] = buf_text(&text);
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(a.status, 500);
	buf_done(&s.requests);
}

static void test_redirects(void **state)
{
	struct server s = {
		.cancel_fd = -1,
		.answers = {"HTTP/1.1 302 Go\r\nLocation: /b\r\nContent-Length: 4\r\n\r\ngone",
			    "HTTP/1.1 307 Go\r\nLocation: c?d=1\r\nContent-Length: 0\r\n\r\n",
			    WHOLE}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), 0);
	assert_int_equal(a.status, 200);
	assert_int_equal(g.begins, 1);
	assert_string_equal(buf_text(&g.body), "hello");
	assert_non_null(strstr(buf_text(&s.requests), "GET /b HTTP"));
	assert_non_null(strstr(buf_text(&s.requests), "GET /c?d=1 HTTP"));
	buf_done(&s.requests);
}

static void test_too_many_redirects(void **state)
{
	struct server s = {.cancel_fd = -1};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};
	struct err e = {0};

	(void)state;
	for (int i = 0; i < 11; i++)
		s.answers[i] = "HTTP/1.1 302 Go\r\nLocation: /on\r\nContent-Length: 0\r\n\r\n";
	assert_int_equal(fetch(&s, &r, &g, &a, &e), -EIO);
	assert_non_null(strstr(e.text, "redirects"));
	buf_done(&s.requests);
}

/* Other protocols are not reached by a redirect either. */
static void test_redirect_to_file(void **state)
{
	struct server s = {
		.cancel_fd = -1,
		.answers = {
			"HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, &e), -EIO);
	assert_int_equal(g.body.len, 0);
	buf_done(&s.requests);
}

static void test_stall(void **state)
{
	struct server s = {.cancel_fd = -1};
	struct fetch_request r = {.stall_ms = 200};
	struct fetch_answer a;
	AUTO_GOT g = {0};
	struct err e = {0};
	int64_t began = clock_ms();

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, &e), -ETIMEDOUT);
	assert_in_range(clock_ms() - began, 190, 5000);
	assert_int_equal(a.status, 0);
	buf_done(&s.requests);
}

static void test_cancel(void **state)
{
	struct server s = {.cancel_fd = eventfd(0, EFD_CLOEXEC)};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};
	int64_t began = clock_ms();

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, NULL), -ECANCELED);
	assert_in_range(clock_ms() - began, 0, 2000);
	fd_close(s.cancel_fd);
	buf_done(&s.requests);
}

static void test_refused_by_begin(void **state)
{
	struct server s = {.cancel_fd = -1, .answers = {WHOLE}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {.refuse = ENOSPC};
	struct err e = {0};

	(void)state;
	assert_int_equal(fetch(&s, &r, &g, &a, &e), -ENOSPC);
	assert_string_equal(e.text, "refused by the test");
	assert_int_equal(g.body.len, 0);
	buf_done(&s.requests);
}

static void test_nobody_there(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct fetch_request r = {.url = "http://127.0.0.1:1/x"};
	struct fetch_answer a;
	struct err e = {0};

	(void)state;
	assert_int_equal(fetch_file(&r, &d, &a, &e), -ECONNREFUSED);
	r.url = "http://no.such.host.invalid/x";
	assert_int_equal(fetch_file(&r, &d, &a, &e), -EHOSTUNREACH);
}

/* No TLS at all on the other side: an error, never a fall back to plain text. */
static void test_not_tls(void **state)
{
	struct server s = {.cancel_fd = -1, .answers = {WHOLE}};
	struct fetch_request r = {0};
	struct fetch_answer a;
	AUTO_GOT g = {0};
	const struct deadline d = deadline_in(10000, -1);
	char url[80];

	(void)state;
	begin_server(&s);
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/file", s.port);
	r = (struct fetch_request){
		.url = url, .begin = begin, .sink = sink, .arg = &g, .stall_ms = 300};
	assert_true(fetch_file(&r, &d, &a, NULL) < 0);
	assert_int_equal(g.begins, 0);
	end_server(&s);
	buf_done(&s.requests);
}

/* Through the proxy that the environment named at the start, and past it where no_proxy says so. */
static void test_proxy(void **state)
{
	struct server s = {.cancel_fd = -1, .answers = {WHOLE, WHOLE}};
	struct fetch_request r = {.url = "http://somewhere.invalid/x", .sink = sink};
	const struct deadline d = deadline_in(10000, -1);
	struct fetch_answer a;
	AUTO_GOT g = {0};
	char proxy[64];

	(void)state;
	begin_server(&s);
	(void)snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", s.port);
	assert_int_equal(setenv("http_proxy", proxy, 1), 0);
	assert_int_equal(setenv("no_proxy", "127.0.0.1", 1), 0);
	fetch_init();
	assert_int_equal(unsetenv("http_proxy"), 0);
	assert_int_equal(unsetenv("no_proxy"), 0);
	r.arg = &g;
	assert_int_equal(fetch_file(&r, &d, &a, NULL), 0);
	assert_non_null(strstr(buf_text(&s.requests), "GET http://somewhere.invalid/x HTTP"));
	r.url = s.url;
	assert_int_equal(fetch_file(&r, &d, &a, NULL), 0);
	assert_non_null(strstr(buf_text(&s.requests), "GET /file HTTP"));
	fetch_init();
	end_server(&s);
	buf_done(&s.requests);
}

static void test_urls(void **state)
{
	static const char *const bad[] = {
		"",
		"file:///etc/passwd",
		"ftp://h/x",
		"h/x",
		"http",
		"https://u:p@h/x",
		"http://u@h/x",
		"http://h h/x",
		"http://h:99999/",
	};
	struct err e = {0};

	(void)state;
	assert_int_equal(fetch_check_url("http://h/x", &e), 0);
	assert_int_equal(fetch_check_url("HTTPS://[::1]:8443/a/b.tar?q=1", &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(fetch_check_url(bad[i], &e), -EINVAL);
}

static int setup(void **state)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
					    "ALL_PROXY"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (unsetenv(names[i]) < 0)
			return -1;
	fetch_init();
	return http_init();
}

static int teardown(void **state)
{
	(void)state;
	http_done();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_no_length),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_rest_refused),
		cmocka_unit_test(test_wrong_range),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_error_status),
		cmocka_unit_test(test_long_error),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_too_many_redirects),
		cmocka_unit_test(test_redirect_to_file),
		cmocka_unit_test(test_stall),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_refused_by_begin),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_not_tls),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
