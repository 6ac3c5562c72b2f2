// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-agent-process.c - processes of the real agent: their clients go, stop to read, send ahead
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

enum {
	MEMORY_MAX_KIB =
		16 * 1024, /* of the agent, whatever clients do; at rest it has about 3 MiB */
	SLOW_BYTES = 20 * 1000 * 1000,
};

static long memory_kib(void)
{
	char path[64];
	AUTO_BUF b = BUF_INIT;
	const char *line;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)agent.id.pid);
	assert_int_equal(file_read(AT_FDCWD, path, 65536, &b, NULL), 0);
	line = strstr(buf_text(&b), "VmHWM:");
	assert_non_null(line);
	return strtol(line + 6, NULL, 10);
}

static void test_list_and_signal(void **state)
{
	char command[128];
	AUTO_FD fd = -1;
	AUTO_BUF all = BUF_INIT;
	char piece[4096];
	ssize_t n;
	pid_t pid;

	(void)state;
	make_fifo("list");
	(void)snprintf(command, sizeof(command), "echo $$ >%s/list; exec sleep 1000", agent.dir);
	fd = start_raw("Connection: close\r\n", command);
	pid = read_pid(&agent, "list");
	assert_unary("/process.Process/List", "{}", 200, "\"tag\":\"raw\"");
	assert_unary("/process.Process/SendSignal",
		     "{\"process\":{\"tag\":\"raw\"},\"signal\":\"SIGNAL_SIGTERM\"}", 200, "{}");
	assert_ends(pid);
	while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
		buf_add(&all, piece, (size_t)n);
	assert_non_null(memmem(buf_text(&all), all.len, "signal: terminated", 18));
	assert_non_null(memmem(buf_text(&all), all.len, "\"signal\":15", 11));
	assert_unary("/process.Process/List", "{}", 200, "{\"processes\":[]}");
}

/* Without our header a process outlives its client, and what it writes stops it never. */
static void test_client_goes(void **state)
{
	char command[160], path[64];
	AUTO_FD fd = -1;
	pid_t pid;

	(void)state;
	make_fifo("gone");
	make_fifo("more");
	(void)snprintf(command, sizeof(command),
		       "cd %s; echo $$ >gone; read x <more; head -c 3000000 /dev/zero; touch done",
		       agent.dir);
	fd = start_raw("", command);
	pid = read_pid(&agent, "gone");
	fd_close(steal_fd(&fd));
	(void)snprintf(path, sizeof(path), "%s/more", agent.dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "\n", 1), 1);
	assert_ends(pid);
	(void)snprintf(path, sizeof(path), "%s/done", agent.dir);
	assert_int_equal(access(path, F_OK), 0);
}

static void test_kill_on_close(void **state)
{
	char command[160];
	AUTO_FD fd = -1;
	pid_t pid;

	(void)state;
	make_fifo("kill");
	(void)snprintf(command, sizeof(command), "sleep 1000 & echo $! >%s/kill; wait", agent.dir);
	fd = start_raw("Sbxfs-Kill-On-Close: 1\r\n", command);
	pid = read_pid(&agent, "kill"); /* of a child, so the whole group has to go */
	fd_close(steal_fd(&fd));
	assert_ends(pid);
}

static void test_timeout_and_keepalive(void **state)
{
	AUTO_BUF body = BUF_INIT;
	static const char message[] = "{\"process\":{\"cmd\":\"sleep\",\"args\":[\"1000\"]}}";
	const char *const headers[] = {token_header, "Content-Type: application/connect+json",
				       "Connect-Timeout-Ms: 1500", "Keepalive-Ping-Interval: 1",
				       NULL};
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct answer a;

	(void)state;
	envelope_add(&body, message, strlen(message));
	a = ask_on(start_path, headers, body.data, body.len, &d);
	assert_true(has(&a, "keepalive"));
	assert_stream(a, "deadline_exceeded");
}

/* A client that does not read makes the process wait, and not the agent grow; nothing gets lost by that. */
static void test_slow_client(void **state)
{
	char command[128];
	AUTO_FD fd = -1;
	size_t bytes;

	(void)state;
	(void)snprintf(command, sizeof(command), "head -c %d /dev/zero", SLOW_BYTES);
	fd = start_raw("Connection: close\r\n", command);
	(void)poll(NULL, 0, 1000); /* nothing tells that an agent has stopped to read */
	assert_in_range(memory_kib(), 1, MEMORY_MAX_KIB);
	bytes = drain_raw(fd, SIZE_MAX);
	assert_in_range(bytes, SLOW_BYTES / 3 * 4, SLOW_BYTES / 3 * 4 + SLOW_BYTES / 50);
	assert_in_range(memory_kib(), 1, MEMORY_MAX_KIB);
}

/* Two requests on one connection, the second sent before the first one's stream has ended. */
static void test_pipelined(void **state)
{
	static const char next[] = "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
	AUTO_FD fd = start_raw("", "echo one; sleep 0.2");
	AUTO_BUF all = BUF_INIT;
	char piece[4096];
	ssize_t n;

	(void)state;
	send_raw(fd, next, strlen(next));
	while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
		buf_add(&all, piece, (size_t)n);
	assert_non_null(memmem(buf_text(&all), all.len, "exit status 0", 13));
	assert_non_null(memmem(buf_text(&all), all.len, "\"kernel\"", 8));
}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		AGENT_TEST(test_list_and_signal),
		AGENT_TEST(test_client_goes),
		AGENT_TEST(test_kill_on_close),
		AGENT_TEST(test_timeout_and_keepalive),
		AGENT_TEST(test_slow_client),
		AGENT_TEST(test_pipelined),
		AGENT_TEST(test_nothing_left),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, agent_group_start, agent_group_stop);
}
