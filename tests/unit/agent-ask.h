/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/agent-ask.h - requests of any kind to an agent that a test has started */
#ifndef SBXFS_TESTS_UNIT_AGENT_ASK_H
#define SBXFS_TESTS_UNIT_AGENT_ASK_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/http.h"
#include "guest/envelope.h"
#include "tests/unit/agent-run.h"

enum {
	ANSWER_MAX = 64 * 1024 * 1024,
};

static const char token_header[] = "X-Access-Token: " AGENT_TOKEN;
static const char start_path[] = "/process.Process/Start";
static struct agent_run agent;
static size_t fds_at_start;

/* An answer, or the negative errno in @r that came instead. */
struct answer {
	int r;
	long status;
	struct buf body;
};

static inline struct answer ask_on(const char *path, const char *const *headers, const void *body,
				   size_t len, const struct deadline *d)
{
	struct answer a = {.body = BUF_INIT};
	char url[128];
	const struct http_request r = {.method = body ? "POST" : "GET",
				       .url = url,
				       .headers = headers,
				       .body = body,
				       .body_len = len,
				       .answer = &a.body,
				       .answer_max = ANSWER_MAX};

	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", agent.guest.port, path);
	a.r = http_call(&r, d, &a.status, NULL);
	return a;
}

static inline struct answer ask(const char *path, const char *type, const void *body, size_t len)
{
	char header[64];
	const char *const headers[] = {token_header, header, NULL};
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);

	(void)snprintf(header, sizeof(header), "Content-Type: %s", type);
	return ask_on(path, headers, body, len, &d);
}

/* The status of a request, and that the answer speaks of @word. */
static inline void assert_answer(struct answer a, long status, const char *word)
{
	if (a.r || a.status != status || !strstr(buf_text(&a.body), word))
		fail_msg("r=%d status=%ld, not %ld with '%s': %.200s", a.r, a.status, status, word,
			 buf_text(&a.body));
	buf_done(&a.body);
}

static inline void assert_unary(const char *path, const char *body, long status, const char *word)
{
	assert_answer(ask(path, "application/json", body, strlen(body)), status, word);
}

static inline struct answer start_call(const char *message)
{
	AUTO_BUF b = BUF_INIT;

	envelope_add(&b, message, strlen(message));
	return ask(start_path, "application/connect+json", b.data, b.len);
}

static inline bool has(const struct answer *a, const char *word)
{
	return a->body.len && memmem(a->body.data, a->body.len, word, strlen(word));
}

static inline void assert_stream(struct answer a, const char *word)
{
	if (a.r || a.status != 200 || !has(&a, word))
		fail_msg("r=%d status=%ld, %zu bytes without '%s'", a.r, a.status, a.body.len,
			 word);
	buf_done(&a.body);
}

static inline int connect_raw(void)
{
	const struct sockaddr_in addr = {.sin_family = AF_INET,
					 .sin_port = htons(agent.guest.port),
					 .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static inline void send_raw(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

/* Start with @headers on a connection of its own, to be read or not. */
static inline int start_raw(const char *headers, const char *command)
{
	AUTO_BUF b = BUF_INIT, body = BUF_INIT, message = BUF_INIT;
	int fd = connect_raw();

	buf_addf(&message,
		 "{\"process\":{\"cmd\":\"/bin/sh\",\"args\":[\"-c\",\"%s\"]},\"tag\":\"raw\"}",
		 command);
	envelope_add(&body, buf_text(&message), message.len);
	buf_addf(&b,
		 "POST %s HTTP/1.1\r\nHost: x\r\nX-Access-Token: %s\r\n%sContent-Length: %zu\r\n"
		 "Content-Type: application/connect+json\r\n\r\n",
		 start_path, AGENT_TOKEN, headers, body.len);
	buf_add(&b, body.data, body.len);
	send_raw(fd, b.data, b.len);
	return fd;
}

static inline void make_fifo(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", agent.dir, name);
	assert_int_equal(mkfifo(path, 0600), 0);
}

/* Everything up to the end of the connection, or @max bytes; how many there were. */
static inline size_t drain_raw(int fd, size_t max)
{
	static char piece[65536];
	size_t sum = 0;
	ssize_t n;

	while (sum < max && (n = recv(fd, piece, sizeof(piece), 0)) > 0)
		sum += (size_t)n;
	return sum;
}

/* Open descriptors of the agent, of which it never has many. */
static inline size_t count_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)agent.id.pid, fd);
		n += faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	}
	return n;
}

/* ---- around the tests ---------------------------------------------------------------------------- */

static inline int agent_is_well(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);

	(void)state;
	return guest_health(&agent.guest, &d, NULL);
}

/* Each group's last test. Closed connections are noticed a little after the fact. */
static inline void test_nothing_left(void **state)
{
	(void)state;
	for (int tries = 0; count_fds() > fds_at_start && tries < 100; tries++)
		(void)poll(NULL, 0, 50);
	assert_in_range(count_fds(), 1, fds_at_start);
}

static inline int agent_group_start(void **state)
{
	(void)state;
	if (http_init())
		return -1;
	agent_start(&agent);
	agent_init(&agent);
	fds_at_start = count_fds();
	return 0;
}

static inline int agent_group_stop(void **state)
{
	(void)state;
	agent_stop(&agent);
	http_done();
	return 0;
}

#define AGENT_TEST(name) cmocka_unit_test_teardown(name, agent_is_well)

#endif
