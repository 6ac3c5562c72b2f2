// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-agent-resume.c - the real agent before and after its machine stands still
 *
 * This machine does not stand still, and the agent may not set its clock: what is tested here is what becomes of connections,
 * processes and tokens. After each test the agent must still be well, and at the end hold no more descriptors than at the start.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "tests/unit/agent-ask.h"

#define SEED                                                                                       \
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="

enum {
	AT_ONCE_MS = 5000, /* much less than anything here takes by itself */
};

static void resumed(const char *more)
{
	char body[512];

	(void)snprintf(body, sizeof(body), "{\"resumed\":true%s}", more);
	assert_unary("/init", body, 204, "");
}

/* A connection on which a request has been answered, open for the next. */
static int idle_connection(void)
{
	static const char get[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
	struct pollfd p = {.fd = connect_raw(), .events = POLLIN};
	char piece[4096];

	send_raw(p.fd, get, strlen(get));
	assert_true(recv(p.fd, piece, sizeof(piece), 0) > 0);
	assert_int_equal(poll(&p, 1, 50), 0);
	return p.fd;
}

/* Does the connection end, and soon? What comes before its end is thrown away. */
static bool ends(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t until = clock_ms() + AT_ONCE_MS;
	char piece[4096];

	while (clock_ms() < until && poll(&p, 1, AT_ONCE_MS) == 1)
		if (recv(fd, piece, sizeof(piece), 0) <= 0)
			return true;
	return false;
}

/* A process that waits for a line in the FIFO @name-go; its pid. @ret_fd: its client. */
static pid_t start_waiting(const char *name, const char *headers, int *ret_fd)
{
	char command[256], go[32];

	(void)snprintf(go, sizeof(go), "%s-go", name);
	make_fifo(name);
	make_fifo(go);
	(void)snprintf(command, sizeof(command),
		       "cd %s; echo $$ >%s; read x <%s; echo after; touch %s-done", agent.dir, name,
		       go, name);
	*ret_fd = start_raw(headers, command);
	return read_pid(&agent, name);
}

/* It goes on to its end, so it has not been killed, and what it writes does not stop it. */
static void assert_goes_on(const char *name, pid_t pid)
{
	char path[80];
	AUTO_FD fd = -1;

	assert_int_equal(kill(pid, 0), 0);
	(void)snprintf(path, sizeof(path), "%s/%s-go", agent.dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "\n", 1), 1);
	assert_ends(pid);
	(void)snprintf(path, sizeof(path), "%s/%s-done", agent.dir, name);
	assert_int_equal(access(path, F_OK), 0);
}

/* ---- before ---------------------------------------------------------------------------------------- */

static void test_prepare(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	AUTO_FD idle = -1;
	AUTO_FD client = -1;
	pid_t pid;
	struct err e = {0};

	(void)state;
	idle = idle_connection();
	pid = start_waiting("prepare", "", &client);
	if (guest_prepare(&agent.guest, &d, &e))
		fail_msg("%s", e.text);
	/* Who waits for nothing is let go, who waits for a process is not. */
	assert_true(ends(idle));
	assert_goes_on("prepare", pid);
	assert_true(drain_raw(client, 64) > 0);
	resumed("");
}

static void test_prepare_bad(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	const struct guest nobody = {
		.addr = agent.guest.addr, .port = agent.guest.port, .token = ""};

	(void)state;
	assert_unary("/snapshot/prepare", "{\"limit_ms\":0}", 400, "limit_ms");
	assert_unary("/snapshot/prepare", "{", 400, "JSON");
	assert_int_equal(guest_prepare(&nobody, &d, NULL), -EIO);
	/* With next to no time everything is passed over. */
	assert_unary("/snapshot/prepare", "{\"limit_ms\":1}", 204, "");
	resumed("");
}

/* ---- afterwards ------------------------------------------------------------------------------------ */

static void test_connections_are_cut(void **state)
{
	AUTO_FD idle = -1;
	AUTO_FD silent = connect_raw();
	AUTO_FD client = -1;
	pid_t pid;

	(void)state;
	idle = idle_connection();
	pid = start_waiting("cut", "Sbxfs-Kill-On-Close: 1\r\n", &client);
	resumed(",\"lifecycleID\":\"one\"");
	assert_true(ends(idle));
	assert_true(ends(client));
	assert_true(ends(silent));
	assert_goes_on("cut", pid);
}

/* A repeat finds connections that are not of before. */
static void test_repeat(void **state)
{
	AUTO_FD client = -1;
	AUTO_BUF all = BUF_INIT;
	char piece[4096];
	pid_t pid;
	ssize_t n;

	(void)state;
	resumed(",\"lifecycleID\":\"two\",\"timestamp\":\"2090-01-01T00:00:10Z\"");
	pid = start_waiting("repeat", "Connection: close\r\n", &client);
	resumed(",\"lifecycleID\":\"two\",\"timestamp\":\"2090-01-01T00:00:11Z\"");
	assert_goes_on("repeat", pid);
	while ((n = recv(client, piece, sizeof(piece), 0)) > 0)
		buf_add(&all, piece, (size_t)n);
	assert_non_null(memmem(buf_text(&all), all.len, "exit status 0", 13));
	resumed(",\"lifecycleID\":\"three\"");
}

/* The times of another life do not count; in one life they do. */
static void test_timestamps(void **state)
{
	struct answer a;

	(void)state;
	resumed(",\"lifecycleID\":\"a\",\"timestamp\":\"2090-01-01T00:00:00Z\",\"envVars\":{\"A\":\"1\"}");
	resumed(",\"lifecycleId\":\"b\",\"timestamp\":\"2080-01-01T00:00:05Z\",\"envVars\":{\"A\":\"2\"}");
	resumed(",\"lifecycle_id\":\"b\",\"timestamp\":\"2080-01-01T00:00:00Z\",\"envVars\":{\"A\":\"3\"}");
	assert_unary("/init", "{\"timestamp\":\"2080-01-01T00:00:04Z\",\"envVars\":{\"A\":\"4\"}}",
		     204, "");
	a = start_call("{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"exit 4$A\"]}}");
	assert_stream(a, "\"exitCode\":42,");
	resumed(",\"timestamp\":\"2070-01-01T00:00:00Z\"");
}

static void test_bad_members(void **state)
{
	(void)state;
	assert_unary("/init", "{\"resumed\":1}", 400, "resumed");
	assert_unary("/init", "{\"machineId\":\"0123\"}", 400, "machineId");
	assert_unary("/init", "{\"machineId\":\"../../../../../../../../../etc/foo\"}", 400,
		     "machineId");
	assert_unary("/init", "{\"entropy\":\"AAAA\"}", 400, "entropy");
	assert_unary("/init", "{\"entropy\":\"!\"}", 400, "entropy");
	assert_unary("/init", "{\"lifecycleID\":7}", 400, "lifecycleID");
	assert_unary("/init",
		     "{\"machineId\":\"0123456789abcdef0123456789abcdef\",\"entropy\":\"" SEED
		     "\"}",
		     204, "");
}

/* ---- whose client goes in between ------------------------------------------------------------------- */

/* Its client is lost while the machine may be about to stand still, and it turns out that it was. */
static void test_spared(void **state)
{
	AUTO_FD client = -1;
	pid_t pid;

	(void)state;
	pid = start_waiting("spared", "Sbxfs-Kill-On-Close: 1\r\n", &client);
	assert_unary("/snapshot/prepare", "{}", 204, "");
	fd_close(steal_fd(&client));
	(void)poll(NULL, 0, 300); /* nothing tells that nobody was killed */
	resumed("");
	(void)poll(NULL, 0, 100);
	assert_goes_on("spared", pid);
}

static pid_t doomed(const char *name)
{
	AUTO_FD client = -1;
	pid_t pid = start_waiting(name, "Sbxfs-Kill-On-Close: 1\r\n", &client);

	assert_unary("/snapshot/prepare", "{}", 204, "");
	fd_close(steal_fd(&client));
	(void)poll(NULL, 0, 100);
	assert_int_equal(kill(pid, 0), 0);
	return pid;
}

/* It was not: who starts something does so on a machine that goes on as ever, and its host may say so. */
static void test_not_spared(void **state)
{
	pid_t pid = doomed("doomed");

	(void)state;
	assert_stream(start_call("{\"process\":{\"cmd\":\"true\"}}"), "exit status 0");
	assert_ends(pid);
	pid = doomed("doomed-too");
	assert_unary("/init", "{}", 204, "");
	assert_ends(pid);
}

int main(void)
{
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		AGENT_TEST(test_prepare),
		AGENT_TEST(test_prepare_bad),
		AGENT_TEST(test_connections_are_cut),
		AGENT_TEST(test_repeat),
		AGENT_TEST(test_timestamps),
		AGENT_TEST(test_bad_members),
		AGENT_TEST(test_spared),
		AGENT_TEST(test_not_spared),
		AGENT_TEST(test_nothing_left),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, agent_group_start, agent_group_stop);
}
