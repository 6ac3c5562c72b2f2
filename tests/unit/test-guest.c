// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/unit/test-guest.c - the host's side of the agent against the real agent */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/http.h"
#include "tests/unit/agent-run.h"

enum {
	MIB = 1024 * 1024,
	EXECS = 50,
	ONE_TURN_MS = 10000, /* much less than the commands here would run by themselves */
};

static struct agent_run agent;

/* What came of a command. */
struct ran {
	int r;
	struct buf output;
	struct guest_exit exit;
	struct err e;
};

static struct ran run_command(const struct guest_command *c, const struct deadline *d)
{
	struct ran ran = {.output = BUF_INIT};

	ran.r = guest_exec(&agent.guest, c, d, &ran.output, &ran.exit, &ran.e);
	return ran;
}

static struct ran run(const char *text)
{
	const struct guest_command c = {.text = text};
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);

	return run_command(&c, &d);
}

/* The output and status of a command that is to end by itself. */
static void assert_run(const char *text, const char *output, int status)
{
	struct ran ran = run(text);

	if (ran.r)
		fail_msg("%s: %s", text, ran.e.text);
	assert_string_equal(buf_text(&ran.output), output);
	assert_false(ran.exit.signalled);
	assert_int_equal(ran.exit.status, status);
	buf_done(&ran.output);
}

static int refuse(const struct guest_command *c, const char *word)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct ran ran = run_command(c, &d);

	if (ran.r && !strstr(ran.e.text, word))
		fail_msg("'%s' does not say '%s'", ran.e.text, word);
	buf_done(&ran.output);
	return ran.r;
}

/* ---- before and at /init ------------------------------------------------------------------------- */

static void test_health(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	AUTO_FD silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	struct guest nobody = {.addr = "127.0.0.1", .token = ""};
	int64_t before = clock_ms();

	(void)state;
	assert_int_equal(guest_health(&agent.guest, &d, NULL), 0);
	/* A port that takes connections and says nothing, and the same one closed. */
	assert_int_equal(bind(silent, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(silent, 1), 0);
	assert_int_equal(getsockname(silent, (struct sockaddr *)&addr, &len), 0);
	nobody.port = ntohs(addr.sin_port);
	assert_int_equal(guest_health(&nobody, &d, NULL), -EHOSTDOWN);
	fd_close(steal_fd(&silent));
	assert_int_equal(guest_health(&nobody, &d, NULL), -EHOSTDOWN);
	assert_true(clock_ms() - before < ONE_TURN_MS);
}

static void test_nothing_before_init(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct guest anonymous = agent.guest;
	uint64_t bytes;
	struct ran ran = run("echo hello");

	(void)state;
	anonymous.token = "";
	assert_int_equal(ran.r, -EIO);
	assert_int_equal(ran.output.len, 0);
	buf_done(&ran.output);
	assert_int_equal(guest_mem_used(&agent.guest, &d, &bytes, NULL), -EIO);
	assert_int_equal(guest_mem_used(&anonymous, &d, &bytes, NULL), -EIO);
	assert_int_equal(guest_sync(&anonymous, &d, NULL), -EIO);
	assert_int_equal(guest_shutdown(&anonymous, &d, NULL), -EIO);
}

static void test_tokens(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	const struct guest_setup setup = {.hostname = "test"};
	struct guest other = agent.guest;
	struct guest_facts facts = {0};
	struct utsname u;
	uint64_t bytes = 0;
	struct err e;

	(void)state;
	assert_int_equal(guest_init(&agent.guest, &setup, &d, &facts, NULL), 0);
	assert_string_equal(facts.agent_version, SBXFS_VERSION);
	assert_int_equal(uname(&u), 0);
	assert_int_equal(strncmp(facts.kernel_version, u.release, sizeof(facts.kernel_version) - 1),
			 0);
	/* Again with the same token is fine, with another one it is not. */
	agent_init(&agent);
	other.token = "ffff2233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	assert_int_equal(guest_init(&other, &setup, &d, &facts, &e), -EIO);
	assert_non_null(strstr(e.text, "token"));
	assert_int_equal(guest_mem_used(&other, &d, &bytes, NULL), -EIO);
	other.token = "";
	assert_int_equal(guest_mem_used(&other, &d, &bytes, NULL), -EIO);
	assert_int_equal(guest_health(&other, &d, NULL), 0);
	assert_int_equal(guest_mem_used(&agent.guest, &d, &bytes, NULL), 0);
	assert_true(bytes > MIB);
}

static void test_sync_and_shutdown(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct err e;

	(void)state;
	assert_int_equal(guest_sync(&agent.guest, &d, NULL), 0);
	/* This machine is not the agent's to shut down. */
	assert_int_equal(guest_shutdown(&agent.guest, &d, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "501"));
}

/* ---- before and after it stands still ------------------------------------------------------------- */

static void test_prepare(void **state)
{
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	const struct deadline soon = deadline_in(1000, -1);

	(void)state;
	assert_int_equal(guest_prepare(&agent.guest, &d, NULL), 0);
	/* What the guest does not get done in time it leaves undone in time. */
	assert_int_equal(guest_prepare(&agent.guest, &soon, NULL), 0);
}

/* A new token, said twice: the first time the answer was lost. */
static void test_new_token(void **state)
{
	static const char other[] =
		"ffff2233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	static const char third[] =
		"eeee2233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct guest_setup setup = {.hostname = "clone",
				    .token = other,
				    .resumed = true,
				    .life = "first",
				    .machine_id = "0123456789abcdef0123456789abcdef"};
	struct guest after = agent.guest, wrong = agent.guest;
	struct guest_facts facts = {0};
	uint64_t bytes;
	struct err e;

	(void)state;
	after.token = other;
	wrong.token = third;
	assert_int_equal(guest_init(&wrong, &setup, &d, &facts, NULL), -EIO);
	for (int i = 0; i < 2; i++) {
		if (guest_init(&agent.guest, &setup, &d, &facts, &e))
			fail_msg("%s", e.text);
		assert_string_equal(facts.agent_version, SBXFS_VERSION);
		assert_int_equal(guest_mem_used(&after, &d, &bytes, NULL), 0);
		assert_int_equal(guest_mem_used(&agent.guest, &d, &bytes, NULL), -EIO);
	}
	/* Somebody who has neither is not let in by it, nor is who has the old one only. */
	setup.token = third;
	assert_int_equal(guest_init(&agent.guest, &setup, &d, &facts, NULL), -EIO);
	setup.token = AGENT_TOKEN;
	assert_int_equal(guest_init(&after, &setup, &d, &facts, NULL), 0);
	assert_int_equal(guest_mem_used(&agent.guest, &d, &bytes, NULL), 0);
}

/* ---- exec ---------------------------------------------------------------------------------------- */

static void test_exec(void **state)
{
	struct ran ran;

	(void)state;
	assert_run("echo hello; exit 0", "hello\n", 0);
	assert_run("exit 255", "", 255);
	assert_run("echo oops >&2; exit 3", "oops\n", 3);
	assert_run("printf 'a\\tb \"c\" \\303\\244'", "a\tb \"c\" \303\244", 0);
	assert_run("no-such-command 2>/dev/null", "", 127);
	assert_run("read x; echo \"[$x]\"", "[]\n", 0);
	ran = run("printf 'a\\000b'");
	assert_int_equal(ran.output.len, 3);
	assert_memory_equal(ran.output.data, "a\0b", 3);
	buf_done(&ran.output);
}

static void test_exec_signals(void **state)
{
	static const char *const names[] = {"KILL", "TERM", "INT", "QUIT", "PIPE", "SEGV", "USR1"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[64];
		struct ran ran;

		(void)snprintf(text, sizeof(text), "ulimit -c 0; kill -%s $$; echo lives",
			       names[i]);
		ran = run(text);
		assert_int_equal(ran.r, 0);
		assert_true(ran.exit.signalled);
		assert_int_equal(strncmp(ran.exit.signal, "SIG", 3), 0);
		assert_string_equal(ran.exit.signal + 3, names[i]);
		assert_int_equal(ran.output.len, 0);
		buf_done(&ran.output);
	}
}

static void test_exec_environment(void **state)
{
	static const char *const env[] = {"EITHER=exec", "ODD=a=b c", "BROKEN", NULL};
	const struct guest_command here = {
		.text = "echo $FROM_INIT,$EITHER,$ODD; pwd; echo $PATH", .env = env, .cwd = "/usr"};
	const struct guest_command nowhere = {.text = "true", .cwd = "/no/such/directory"};
	const struct guest_command nobody = {.text = "true", .user = "no-such-user"};
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct ran ran = run_command(&here, &d);

	(void)state;
	assert_int_equal(ran.r, 0);
	assert_string_equal(buf_text(&ran.output),
			    "yes,exec,a=b c\n/usr\n"
			    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
	buf_done(&ran.output);
	assert_int_equal(refuse(&nowhere, "/no/such/directory"), -EINVAL);
	assert_int_equal(refuse(&nobody, "no-such-user"), -EINVAL);
}

static void test_exec_as_user(void **state)
{
	const struct guest_command c = {.text = "id -un; id -u; id -G; echo $USER; test -w /etc",
					.user = "daemon"};
	const struct deadline d = deadline_in(AGENT_WAIT_MS, -1);
	struct ran ran;

	(void)state;
	if (geteuid() != 0)
		skip();
	ran = run_command(&c, &d);
	assert_int_equal(ran.r, 0);
	assert_string_equal(buf_text(&ran.output), "daemon\n1\n1\ndaemon\n");
	assert_int_equal(ran.exit.status, 1);
	buf_done(&ran.output);
}

static void test_exec_much_output(void **state)
{
	struct ran ran = run("head -c 1048576 /dev/zero | tr '\\0' x");

	(void)state;
	assert_int_equal(ran.r, 0);
	assert_int_equal(ran.output.len, GUEST_OUTPUT_MAX);
	assert_int_equal(ran.exit.truncated_bytes, 0);
	assert_int_equal(strspn(ran.output.data, "x"), GUEST_OUTPUT_MAX);
	buf_done(&ran.output);

	ran = run("head -c 20000000 /dev/zero & head -c 10000003 /dev/zero >&2; wait; exit 7");
	assert_int_equal(ran.r, 0);
	assert_int_equal(ran.exit.status, 7);
	assert_int_equal(ran.output.len, GUEST_OUTPUT_MAX);
	assert_int_equal(ran.output.len + ran.exit.truncated_bytes, 30000003);
	buf_done(&ran.output);
}

static void test_exec_in_order(void **state)
{
	struct ran ran = run("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done");
	const char *at;
	char *end;

	(void)state;
	assert_int_equal(ran.r, 0);
	at = buf_text(&ran.output);
	for (long i = 0; i < 3000; i++) {
		assert_int_equal(strtol(at, &end, 10), i);
		at = end;
	}
	assert_string_equal(at, "\n");
	buf_done(&ran.output);
}

/* NULL when the command with this number did not do what it should. */
static void *exec_thread(void *arg)
{
	const int *number = arg;
	char text[64];
	struct ran ran;
	bool good;

	(void)snprintf(text, sizeof(text), "echo %d; sleep 0.3; exit %d", *number, *number);
	ran = run(text);
	good = ran.r == 0 && ran.exit.status == *number &&
	       strtol(buf_text(&ran.output), NULL, 10) == *number;
	buf_done(&ran.output);
	return good ? arg : NULL;
}

static void test_exec_at_once(void **state)
{
	pthread_t threads[EXECS];
	int numbers[EXECS];
	int64_t before = clock_ms();

	(void)state;
	for (int i = 0; i < EXECS; i++) {
		numbers[i] = i + 1;
		assert_int_equal(pthread_create(&threads[i], NULL, exec_thread, &numbers[i]), 0);
	}
	for (int i = 0; i < EXECS; i++) {
		void *good;

		assert_int_equal(pthread_join(threads[i], &good), 0);
		assert_non_null(good);
	}
	/* One after the other they would take 15 s. */
	assert_true(clock_ms() - before < ONE_TURN_MS);
}

/* ---- ends that are none of the command's own doing ----------------------------------------------- */

static void make_fifo(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", agent.dir, name);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void test_exec_timeout(void **state)
{
	char text[128];
	const struct guest_command c = {.text = text};
	const struct deadline d = deadline_in(500, -1);
	struct ran ran;

	(void)state;
	(void)snprintf(text, sizeof(text), "cd %s; sleep 1000 & echo $! >c; echo $$ >p; wait",
		       agent.dir);
	ran = run_command(&c, &d);
	assert_int_equal(ran.r, -ETIMEDOUT);
	assert_ends(read_pid(&agent, "p"));
	assert_ends(read_pid(&agent, "c"));
	buf_done(&ran.output);
}

static pid_t cancelled_pid;

/* Cancel as soon as the command is known to run. */
static void *cancel_thread(void *arg)
{
	const int *fd = arg;

	cancelled_pid = read_pid(&agent, "cancel");
	assert_int_equal(eventfd_write(*fd, 1), 0);
	return NULL;
}

static void test_exec_cancel(void **state)
{
	AUTO_FD cancel = eventfd(0, EFD_CLOEXEC);
	const struct deadline d = deadline_in(AGENT_WAIT_MS, cancel);
	char text[128];
	const struct guest_command c = {.text = text};
	pthread_t thread;
	struct ran ran;

	(void)state;
	make_fifo("cancel");
	(void)snprintf(text, sizeof(text), "echo $$ >%s/cancel; exec sleep 1000", agent.dir);
	assert_int_equal(pthread_create(&thread, NULL, cancel_thread, &cancel), 0);
	ran = run_command(&c, &d);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(ran.r, -ECANCELED);
	assert_ends(cancelled_pid);
	buf_done(&ran.output);
}

/* A process left behind holds the output open; it neither holds up the answer nor dies of it. */
static void test_exec_left_behind(void **state)
{
	char text[160], path[64];
	int64_t before = clock_ms();

	(void)state;
	make_fifo("go");
	(void)snprintf(text, sizeof(text),
		       "cd %s; (read x <go; echo late; echo late >&2; touch made) & "
		       "echo $! >left; echo now",
		       agent.dir);
	assert_run(text, "now\n", 0);
	assert_true(clock_ms() - before < ONE_TURN_MS);
	(void)snprintf(text, sizeof(text), "echo >%s/go", agent.dir);
	assert_run(text, "", 0);
	assert_ends(read_pid(&agent, "left"));
	(void)snprintf(path, sizeof(path), "%s/made", agent.dir);
	assert_int_equal(access(path, F_OK), 0);
}

static void *kill_thread(void *arg)
{
	pid_t pid = read_pid(&agent, "die");

	(void)arg;
	assert_int_equal(proc_kill(agent.pidfd, SIGKILL), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	return NULL;
}

/* The last one: the agent dies under a command. */
static void test_exec_agent_dies(void **state)
{
	char text[128];
	pthread_t thread;
	struct ran ran;

	(void)state;
	make_fifo("die");
	(void)snprintf(text, sizeof(text), "echo $$ >%s/die; exec sleep 1000", agent.dir);
	assert_int_equal(pthread_create(&thread, NULL, kill_thread, NULL), 0);
	ran = run(text);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(ran.r, -EHOSTDOWN);
	buf_done(&ran.output);
}

static int start(void **state)
{
	(void)state;
	agent_start(&agent);
	return http_init();
}

static int stop(void **state)
{
	(void)state;
	agent_stop(&agent);
	http_done();
	return 0;
}

int main(void)
{
	/* In this order: the first ones meet an agent that nobody has called yet. */
	/* clang-format off */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_nothing_before_init),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_sync_and_shutdown),
		cmocka_unit_test(test_prepare),
		cmocka_unit_test(test_new_token),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_signals),
		cmocka_unit_test(test_exec_environment),
		cmocka_unit_test(test_exec_as_user),
		cmocka_unit_test(test_exec_much_output),
		cmocka_unit_test(test_exec_in_order),
		cmocka_unit_test(test_exec_at_once),
		cmocka_unit_test(test_exec_timeout),
		cmocka_unit_test(test_exec_cancel),
		cmocka_unit_test(test_exec_left_behind),
		cmocka_unit_test(test_exec_agent_dies),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, start, stop);
}
