/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-qemu-forward.c - forwarded ports of the QEMU driver, with a peer that keeps them as QEMU does */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "vm/qemu-private.h"

#define GREETING "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}},\"capabilities\":[]}}\r\n"

enum {
	LONG_MS = 20 * 1000, /* is never reached when all is well */
	RULES_MAX = 8,
	AGENT = 49983,
};

/* What stands for QEMU: the sockets of a run directory, and this very process. */
static struct {
	char dir[64];
	int listener, fifo, peer;
	char rules[RULES_MAX][64]; /* "tcp:127.0.0.1:8080-:80"; "": none */
	const char *refused;       /* the rule that it does not take; NULL: it takes all */
	pthread_t thread;
	struct vm *vm;
} q;

/* "tcp:ADDR:PORT", the rule's key, is @len bytes of it. */
static char *rule_find(const char *key, size_t len)
{
	for (int i = 0; i < RULES_MAX; i++)
		if (strncmp(q.rules[i], key, len) == 0 &&
		    (q.rules[i][len] == '-' || q.rules[i][len] == '\0'))
			return q.rules[i];
	return NULL;
}

static const char *rule_add(const char *rule)
{
	char *room = rule_find("", 0);

	if (rule_find(rule, strcspn(rule, "-")) || !room ||
	    (q.refused && strcmp(rule, q.refused) == 0))
		return "Could not set up host forwarding rule\\r\\n";
	(void)snprintf(room, sizeof(q.rules[0]), "%s", rule);
	return "";
}

static void rules_list(struct buf *b)
{
	buf_adds(b, "Hub -1 (n0):\\r\\n  Protocol[State]    FD  Source Address  Port   Dest. "
		    "Address  Port RecvQ SendQ\\r\\n");
	for (int i = 0; i < RULES_MAX; i++) {
		char *r = q.rules[i], addr[32] = "";
		const char *at = r + 4 + strcspn(r + 4, ":");

		if (!*r)
			continue;
		(void)snprintf(addr, sizeof(addr), "%.*s", (int)(at - r - 4), r + 4);
		buf_addf(b, "  %s[HOST_FORWARD]  13 %15s %5d       10.0.2.15 %5d     0     0\\r\\n",
			 *r == 'u' ? "UDP" : "TCP", *addr ? addr : "*", atoi(at + 1),
			 atoi(strchr(r, '-') + 2));
	}
	buf_adds(
		b,
		"  TCP[ESTABLISHED]  17       127.0.0.1 55000       10.0.2.15    80     0     0\\r\\n");
}

/* The command of @text, run. */
static void monitor(const char *text, struct buf *b)
{
	const char *at = strstr(text, "hostfwd_");
	char rule[64] = "", *found;

	if (strstr(text, "info usernet"))
		rules_list(b);
	if (!at)
		return;
	(void)sscanf(strstr(at, " n0 ") + 4, "%63[^\"]", rule);
	found = rule_find(rule, strlen(rule));
	if (strncmp(at, "hostfwd_add", 11) == 0)
		buf_adds(b, rule_add(rule));
	else if (found)
		*found = '\0';
}

static void *answer(void *arg)
{
	char text[1024];
	ssize_t n;

	(void)arg;
	q.peer = accept(q.listener, NULL, NULL);
	(void)send(q.peer, GREETING, strlen(GREETING), MSG_NOSIGNAL);
	while ((n = recv(q.peer, text, sizeof(text) - 1, 0)) > 0) {
		AUTO_BUF b = BUF_INIT;
		const char *id;

		text[n] = '\0';
		id = strstr(text, "\"id\":");
		if (!id)
			break;
		buf_adds(&b, "{\"return\":\"");
		monitor(text, &b);
		buf_addf(&b, "\",\"id\":%d}\r\n", atoi(id + 5));
		(void)send(q.peer, buf_text(&b), b.len, MSG_NOSIGNAL);
	}
	return NULL;
}

static int setup(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct deadline d = deadline_in(LONG_MS, -1);
	struct proc_id id = {.pid = getpid()};
	char fifo[96];

	(void)state;
	(void)snprintf(q.dir, sizeof(q.dir), "/tmp/sbxfs-forward-XXXXXX");
	assert_non_null(mkdtemp(q.dir));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" QEMU_QMP_SOCKET, q.dir);
	(void)snprintf(fifo, sizeof(fifo), "%s/" QEMU_SERIAL_IN, q.dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	q.fifo = open(fifo, O_RDWR | O_CLOEXEC);
	assert_true(q.fifo >= 0);
	q.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(q.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(q.listener, 1), 0);
	memset(q.rules, 0, sizeof(q.rules));
	(void)strcpy(q.rules[0], "tcp:127.83.0.1:49983-:49983");
	q.refused = NULL;
	assert_int_equal(pthread_create(&q.thread, NULL, answer, NULL), 0);
	assert_int_equal(proc_start_time(id.pid, &id.start), 0);
	return qemu_driver.open(&id, q.dir, &d, &q.vm, NULL);
}

static int teardown(void **state)
{
	(void)state;
	qemu_driver.close(q.vm);
	assert_int_equal(pthread_join(q.thread, NULL), 0);
	fd_close(q.peer);
	fd_close(q.listener);
	fd_close(q.fifo);
	qemu_names_remove(q.dir);
	return rmdir(q.dir);
}

/* Ports of this host that nobody has: asked for once, as the kernel gives them. */
static uint16_t port(int which)
{
	static uint16_t ports[4];

	if (!ports[which]) {
		struct sockaddr_in at = {.sin_family = AF_INET};
		socklen_t len = sizeof(at);
		AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
		ports[which] = ntohs(at.sin_port);
	}
	return ports[which];
}

static int set(const struct vm_forward *extra, size_t count, struct err *e)
{
	struct vm_forward list[4] = {{0x7f530001, AGENT, AGENT, false}};
	struct deadline d = deadline_in(LONG_MS, -1);

	for (size_t i = 0; i < count; i++)
		list[i + 1] = extra[i];
	return qemu_driver.forward(q.vm, list, count + 1, &d, e);
}

/* Exactly these, and the agent's. */
static void expect(const struct vm_forward *list, size_t count)
{
	size_t n = 0;

	for (int i = 0; i < RULES_MAX; i++)
		n += q.rules[i][0] != '\0';
	assert_int_equal(n, count + 1);
	assert_non_null(rule_find("tcp:127.83.0.1:49983-:49983", 27));
	for (size_t i = 0; i < count; i++) {
		char rule[64];

		(void)snprintf(rule, sizeof(rule), "%s:%s:%u-:%u", list[i].is_udp ? "udp" : "tcp",
			       list[i].host_addr ? "127.0.0.1" : "", list[i].host_port,
			       list[i].guest_port);
		assert_non_null(rule_find(rule, strlen(rule)));
	}
}

static void test_lists(void **state)
{
	struct vm_forward one = {0, port(0), 80, false}, here = {0x7f000001, port(1), 53, true};
	struct vm_forward both[] = {one, here}, other = {0x7f000001, port(0), 81, false};

	(void)state;
	assert_int_equal(set(&one, 1, NULL), 0);
	expect(&one, 1);
	assert_int_equal(set(both, 2, NULL), 0);
	expect(both, 2);
	assert_int_equal(set(both, 2, NULL), 0);
	expect(both, 2);
	assert_int_equal(set(&other, 1, NULL), 0); /* the same port, narrower */
	expect(&other, 1);
	assert_int_equal(set(NULL, 0, NULL), 0);
	expect(NULL, 0);
}

static void test_none_or_all(void **state)
{
	struct vm_forward before[] = {{0, port(0), 80, false}, {0, port(1), 81, false}};
	struct vm_forward after[] = {{0, port(1), 82, false}, {0, port(2), 83, false}};
	char rule[64];
	struct err e = {0};

	(void)state;
	assert_int_equal(set(before, 2, NULL), 0);
	(void)snprintf(rule, sizeof(rule), "tcp::%u-:83", port(2));
	q.refused = rule;
	assert_int_equal(set(after, 2, &e), -EIO);
	assert_non_null(strstr(e.text, "Could not set up"));
	expect(before, 2);
}

static void test_in_use(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port(3))};
	struct vm_forward one = {0, port(0), 80, false}, taken = {0x7f000001, port(3), 80, false};
	AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct err e = {0};
	char text[64];

	(void)state;
	assert_int_equal(set(&one, 1, NULL), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(set(&taken, 1, &e), -EADDRINUSE);
	(void)snprintf(text, sizeof(text), "port %u of the host is in use", port(3));
	assert_non_null(strstr(e.text, text));
	expect(&one, 1);
}

static void test_text(void **state)
{
	struct vm_forward list[4];

	(void)state;
	assert_int_equal(qemu_forward_parse("", list, 4), 0);
	assert_int_equal(qemu_forward_parse("  TCP[HOST_FORWARD]  13 * 99999 10.0.2.15 80 0 0\n"
					    "  TCP[HOST_FORWARD]  13 * 80\n"
					    "  UDP[HOST_FORWARD]  13 * 53 10.0.2.15 54 0 0\n"
					    "  UDP[HOST_FORWARD]  13 1.2.3.4 5 10.0.2.15 6 0 0",
					    list, 1),
			 1);
	assert_true(list[0].is_udp);
	assert_int_equal(list[0].host_addr, 0);
	assert_int_equal(list[0].host_port, 53);
	assert_int_equal(list[0].guest_port, 54);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none_or_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
