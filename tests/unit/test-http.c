/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-http.c - the HTTP client against servers that answer, hang, cut short, refuse
 *
 * How it works: each test starts a thread that serves one connection on 127.0.0.1 or a UNIX socket with
 * one of a few behaviours, and keeps the request for the test to look at.
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
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"

struct server {
	int listener;
	int cancel_fd;      /* made readable once the request has come; -1: not */
	const char *answer; /* NULL: none, the connection stays open until the client closes it */
	bool mute;          /* close without a word */
	size_t body_bytes;  /* of the request, to be waited for */
	struct buf request; /* owned */
	pthread_t thread;
	char url[64], path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

/* Read a request's head and body. */
static void take_request(struct server *s, int fd)
{
	const char *end = NULL;

	while (!end || s->request.len < (size_t)(end - s->request.data) + 4 + s->body_bytes) {
		char piece[256];
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n <= 0)
			return;
		buf_add(&s->request, piece, (size_t)n);
		end = strstr(buf_text(&s->request), "\r\n\r\n");
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;
	AUTO_FD fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	char rest;

	if (fd < 0)
		return NULL;
	take_request(s, fd);
	if (s->cancel_fd >= 0)
		(void)eventfd_write(s->cancel_fd, 1); /* the test fails if this did */
	if (s->answer)
		(void)file_write_all(fd, s->answer, strlen(s->answer)); /* the same */
	else if (!s->mute)
		(void)!read(fd, &rest, 1); /* end of file once the client has given up */
	return NULL;
}

static void listen_tcp(struct server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->listener >= 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(listen(s->listener, 4), 0);
	(void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/path", ntohs(a.sin_port));
}

static void listen_unix(struct server *s, const char *dir)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	(void)snprintf(s->path, sizeof(s->path), "%.90s/sock", dir);
	memcpy(a.sun_path, s->path, sizeof(a.sun_path));
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->listener >= 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->listener, 4), 0);
	(void)snprintf(s->url, sizeof(s->url), "http://localhost/path");
}

static void start(struct server *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	fd_close(s->listener);
	buf_done(&s->request);
}

/* One call against a server over TCP that behaves as @s says. */
static int call(struct server *s, struct http_request *r, const struct deadline *d, long *status,
		struct err *e)
{
	int result;

	listen_tcp(s);
	start(s);
	if (!r->method)
		r->method = "GET";
	r->url = s->url;
	result = http_call(r, d, status, e);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	fd_close(s->listener);
	return result;
}

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void test_get(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {.cancel_fd = -1, .answer = OK_HELLO};
	AUTO_BUF answer = BUF_INIT;
	struct http_request r = {.answer = &answer, .answer_max = 5};
	struct err e = {0};
	long status = 0;

	(void)state;
	/* What the environment says does not matter. */
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	assert_int_equal(call(&s, &r, &d, &status, &e), 0);
	assert_int_equal(unsetenv("http_proxy"), 0);
	assert_int_equal(status, 200);
	assert_int_equal(e.code, 0);
	assert_string_equal(buf_text(&answer), "hello");
	assert_memory_equal(buf_text(&s.request), "GET /path HTTP/1.1\r\n", 20);
	assert_null(strstr(buf_text(&s.request), "Content-"));
	buf_done(&s.request);
}

static void test_status_is_not_an_error(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {.cancel_fd = -1,
			   .answer = "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone"};
	AUTO_BUF answer = BUF_INIT;
	struct http_request r = {.answer = &answer, .answer_max = 100};
	long status = 0;

	(void)state;
	assert_int_equal(call(&s, &r, &d, &status, NULL), 0);
	assert_int_equal(status, 404);
	assert_string_equal(buf_text(&answer), "none");
	buf_done(&s.request);
}

static void test_redirect_is_not_followed(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {
		.cancel_fd = -1,
		.answer =
			"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"};
	struct http_request r = {.method = "GET"};
	long status = 0;

	(void)state;
	assert_int_equal(call(&s, &r, &d, &status, NULL), 0);
	assert_int_equal(status, 302);
	buf_done(&s.request);
}

static void test_post(void **state)
{
	static const char *const headers[] = {"X-Token: t", "content-type: application/json", NULL};
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {.cancel_fd = -1, .answer = OK_HELLO, .body_bytes = 2000};
	struct http_request r = {.method = "POST", .headers = headers, .body_len = 2000};
	char body[2000];
	long status = 0;

	(void)state;
	memset(body, 'b', sizeof(body));
	body[7] = '\0'; /* any bytes */
	r.body = body;
	assert_int_equal(call(&s, &r, &d, &status, NULL), 0);
	assert_non_null(strstr(buf_text(&s.request), "\r\nX-Token: t\r\n"));
	assert_non_null(strstr(buf_text(&s.request), "\r\nContent-Length: 2000\r\n"));
	assert_non_null(strstr(buf_text(&s.request), "\r\ncontent-type: application/json\r\n"));
	assert_null(strstr(buf_text(&s.request), "Expect"));
	assert_memory_equal(s.request.data + s.request.len - 2000, body, 2000);
	buf_done(&s.request);
}

static void test_put_on_unix_socket(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	char dir[] = "/tmp/sbxfs-test-http.XXXXXX";
	struct server s = {.cancel_fd = -1, .answer = "HTTP/1.1 204 Done\r\n\r\n"};
	struct http_request r = {.method = "PUT"};
	long status = 0;
	int result;

	(void)state;
	assert_non_null(mkdtemp(dir));
	listen_unix(&s, dir);
	start(&s);
	r.url = s.url;
	r.unix_path = s.path;
	result = http_call(&r, &d, &status, NULL);
	assert_int_equal(result, 0);
	assert_int_equal(status, 204);
	assert_memory_equal(buf_text(&s.request), "PUT /path HTTP/1.1\r\n", 20);
	assert_non_null(strstr(buf_text(&s.request), "\r\nContent-Length: 0\r\n"));
	assert_null(strstr(buf_text(&s.request), "Content-Type"));
	stop(&s);
	/* The socket is there, nobody listens; then it is not there either. */
	assert_int_equal(http_call(&r, &d, &status, NULL), -ECONNREFUSED);
	assert_int_equal(unlink(s.path), 0);
	assert_int_equal(http_call(&r, &d, &status, NULL), -ECONNREFUSED);
	assert_int_equal(rmdir(dir), 0);
}

static void test_refused(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {.cancel_fd = -1};
	struct http_request r = {.method = "GET", .url = s.url};
	struct err e = {0};
	long status = -1;

	(void)state;
	listen_tcp(&s);
	fd_close(s.listener); /* a port that nobody has any more */
	assert_int_equal(http_call(&r, &d, &status, &e), -ECONNREFUSED);
	assert_int_equal(status, -1);
	assert_non_null(strstr(e.text, s.url));
	r.url = "file:///etc/passwd";
	assert_int_equal(http_call(&r, &d, &status, &e), -EIO);
}

static void test_hang_times_out(void **state)
{
	struct deadline d = deadline_in(200, -1);
	struct server s = {.cancel_fd = -1};
	struct http_request r = {.method = "GET"};
	int64_t before = clock_ms();
	struct err e = {0};
	long status = -1;

	(void)state;
	assert_int_equal(call(&s, &r, &d, &status, &e), -ETIMEDOUT);
	assert_true(clock_ms() - before >= 200);
	assert_true(clock_ms() - before < 2000);
	assert_int_equal(status, -1);
	buf_done(&s.request);
}

static void test_cancel(void **state)
{
	AUTO_FD cancel = eventfd(0, EFD_CLOEXEC);
	const struct deadline d = deadline_in(INT64_MAX, cancel);
	struct server s = {.cancel_fd = cancel};
	struct http_request r = {.method = "GET"};
	int64_t before = clock_ms();
	long status = -1;

	(void)state;
	assert_int_equal(call(&s, &r, &d, &status, NULL), -ECANCELED);
	assert_true(clock_ms() - before < 500); /* at once, not at curl's next tick */
	buf_done(&s.request);
}

static void test_cut_short(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		NULL,
	};
	const struct deadline d = deadline_in(10000, -1);

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct server s = {.cancel_fd = -1, .answer = answers[i], .mute = !answers[i]};
		AUTO_BUF answer = BUF_INIT;
		struct http_request r = {.answer = &answer, .answer_max = 1000};
		struct err e = {0};
		long status = -1;

		assert_int_equal(call(&s, &r, &d, &status, &e), -ECONNRESET);
		assert_int_equal(status, answers[i] ? 200 : -1);
		assert_int_equal(e.code, ECONNRESET);
		buf_done(&s.request);
	}
}

static void test_not_http(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {.cancel_fd = -1, .answer = "SSH-2.0-some\r\n"};
	struct http_request r = {.method = "GET"};
	long status = -1;

	(void)state;
	assert_int_equal(call(&s, &r, &d, &status, NULL), -EIO);
	buf_done(&s.request);
}

static void test_too_long(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {.cancel_fd = -1, .answer = OK_HELLO};
	AUTO_BUF answer = BUF_INIT;
	struct http_request r = {.answer = &answer, .answer_max = 4};
	struct err e = {0};
	long status = -1;

	(void)state;
	assert_int_equal(call(&s, &r, &d, &status, &e), -EMSGSIZE);
	assert_non_null(strstr(e.text, "too long"));
	buf_done(&s.request);
}

/* Takes the answer, or refuses it with ESTALE when @arg says so. */
struct sink {
	const long *status;
	long seen; /* status at the first piece */
	bool refuse;
	struct buf text;
};

static int take(void *arg, const char *data, size_t len)
{
	struct sink *k = arg;

	k->seen = *k->status;
	buf_add(&k->text, data, len);
	return k->refuse ? -ESTALE : 0;
}

static void test_sink(void **state)
{
	const struct deadline d = deadline_in(10000, -1);

	(void)state;
	for (int refuse = 0; refuse < 2; refuse++) {
		struct server s = {.cancel_fd = -1,
				   .answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
					     "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"};
		long status = -1;
		struct sink k = {.status = &status, .refuse = refuse == 1};
		struct http_request r = {.sink = take, .sink_arg = &k};

		assert_int_equal(call(&s, &r, &d, &status, NULL), refuse ? -ESTALE : 0);
		assert_int_equal(k.seen, 200);
		if (!refuse)
			assert_string_equal(buf_text(&k.text), "hello!");
		buf_done(&k.text);
		buf_done(&s.request);
	}
}

/* A backlog that is full never answers a SYN. */
static void test_connect_limit(void **state)
{
	const struct deadline d = deadline_in(10000, -1);
	struct server s = {.cancel_fd = -1};
	struct http_request r = {.method = "GET", .url = s.url, .connect_ms = 100};
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int64_t before = clock_ms();
	int fill[8];
	long status = -1;

	(void)state;
	listen_tcp(&s);
	assert_int_equal(listen(s.listener, 0), 0);
	assert_int_equal(getsockname(s.listener, (struct sockaddr *)&a, &len), 0);
	for (int i = 0; i < 8; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fill[i], (struct sockaddr *)&a, sizeof(a)); /* EINPROGRESS */
	}
	assert_int_equal(http_call(&r, &d, &status, NULL), -ETIMEDOUT);
	assert_true(clock_ms() - before < 3000);
	for (int i = 0; i < 8; i++)
		fd_close(fill[i]);
	fd_close(s.listener);
}

static int set_up(void **state)
{
	(void)state;
	return http_init();
}

static int tear_down(void **state)
{
	(void)state;
	http_done();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_status_is_not_an_error),
		cmocka_unit_test(test_redirect_is_not_followed),
		cmocka_unit_test(test_post),
		cmocka_unit_test(test_put_on_unix_socket),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_hang_times_out),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_not_http),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_sink),
		cmocka_unit_test(test_connect_limit),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
