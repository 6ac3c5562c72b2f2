/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-qmp.c - the QMP client against a peer that says anything */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "vm/qmp.h"

#define GREETING "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}},\"capabilities\":[]}}\r\n"

enum {
	LONG_MS = 20 * 1000, /* is never reached when all is well */
	SHORT_MS = 150,
	NESTED_MS = 600,
	FLOOD_MS = 3000,
	FLOOD_EVENTS = 20000,
};

/* A client, and the other end of its socket. */
struct pair {
	struct qmp qmp;
	int peer;
	int events;
	char last[64]; /* name of the last event */
};

static void note(void *arg, const char *name, struct json_object *message)
{
	struct pair *p = arg;

	assert_non_null(message);
	p->events++;
	(void)snprintf(p->last, sizeof(p->last), "%s", name);
}

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fds[2];

	if (!p || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	qmp_init(&p->qmp, fds[0], -1);
	p->qmp.event = note;
	p->qmp.arg = p;
	p->peer = fds[1];
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	qmp_done(&p->qmp);
	fd_close(p->peer);
	free(p);
	return 0;
}

static void say(struct pair *p, const char *text)
{
	assert_int_equal(send(p->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Writes on and on, in a thread of its own, since a socket holds less than a message may have. */
struct writer {
	pthread_t thread;
	int fd;
	const char *piece;
	size_t times; /* 0: until the socket is closed */
};

static void *write_on(void *arg)
{
	struct writer *w = arg;
	size_t len = strlen(w->piece);

	for (size_t i = 0; w->times == 0 || i < w->times; i++)
		for (size_t done = 0; done < len;) {
			ssize_t n = send(w->fd, w->piece + done, len - done, MSG_NOSIGNAL);

			if (n < 0)
				return NULL;
			done += (size_t)n;
		}
	return NULL;
}

static void writer_start(struct writer *w, struct pair *p, const char *piece, size_t times)
{
	*w = (struct writer){.fd = p->peer, .piece = piece, .times = times};
	assert_int_equal(pthread_create(&w->thread, NULL, write_on, w), 0);
}

static int call(struct pair *p, int64_t ms, struct json_object **ret, struct err *e)
{
	struct deadline d = deadline_in(ms, -1);

	return qmp_call(&p->qmp, "query-status", NULL, &d, ret, e);
}

static int greet(struct pair *p, int64_t ms, struct err *e)
{
	struct deadline d = deadline_in(ms, -1);

	return qmp_greet(&p->qmp, &d, e);
}

static void test_greeting(void **state)
{
	struct pair *p = *state;
	char sent[200] = "";

	say(p, GREETING "{\"return\":{},\"id\":1}\r\n");
	assert_int_equal(greet(p, LONG_MS, NULL), 0);
	assert_true(recv(p->peer, sent, sizeof(sent) - 1, 0) > 0);
	assert_string_equal(sent, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
}

static void test_no_greeting(void **state)
{
	struct pair *p = *state;
	struct err e = {0};

	say(p, "{\"hello\":1}\n");
	assert_int_equal(greet(p, LONG_MS, &e), -EIO);
	assert_non_null(strstr(e.text, "greeting"));
	assert_int_equal(p->qmp.fd, -1);
	assert_int_equal(call(p, LONG_MS, NULL, &e), -EIO);
}

static void test_arguments_and_reply(void **state)
{
	struct pair *p = *state;
	struct json_object *args = json_object_new_object();
	struct deadline d = deadline_in(LONG_MS, -1);
	AUTO_JSON reply = NULL;
	char sent[200] = "";

	assert_int_equal(json_add_int(args, "value", 7), 0);
	say(p, "{\"return\":{\"a\":[1,2]},\"id\":1}\n");
	assert_int_equal(qmp_call(&p->qmp, "balloon", args, &d, &reply, NULL), 0);
	assert_non_null(json_at(reply, "return/a"));
	assert_true(recv(p->peer, sent, sizeof(sent) - 1, 0) > 0);
	assert_string_equal(sent,
			    "{\"execute\":\"balloon\",\"id\":1,\"arguments\":{\"value\":7}}\n");
}

static void test_error_reply(void **state)
{
	struct pair *p = *state;
	struct err e = {0};

	say(p, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such thing\"},\"id\":1}\n");
	assert_int_equal(call(p, LONG_MS, NULL, &e), -EIO);
	assert_non_null(strstr(e.text, "no such thing"));
	/* The connection is as good as before. */
	say(p, "{\"return\":{},\"id\":2}\n");
	assert_int_equal(call(p, LONG_MS, NULL, NULL), 0);
}

static void test_events_between(void **state)
{
	struct pair *p = *state;

	say(p, "{\"event\":\"STOP\"}\n\n\r\n{\"event\":\"RESUME\"}\n{\"return\":{},\"id\":1}\n"
	       "{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-shutdown\"}}\n");
	assert_int_equal(call(p, LONG_MS, NULL, NULL), 0);
	assert_int_equal(p->events, 2);
	assert_string_equal(p->last, "RESUME");
	fd_close(steal_fd(&p->peer)); /* what came before the end still counts */
	qmp_drain(&p->qmp);
	assert_int_equal(p->events, 3);
	assert_string_equal(p->last, "SHUTDOWN");
	assert_int_equal(p->qmp.fd, -1);
	qmp_drain(&p->qmp);
}

/* The descriptor comes with the command, once. */
static void test_passed_fd(void **state)
{
	struct pair *p = *state;
	struct deadline d = deadline_in(LONG_MS, -1);
	union {
		char room[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char sent[200] = "", byte = 0;
	struct iovec part = {.iov_base = sent, .iov_len = sizeof(sent) - 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control.room)};
	struct cmsghdr *c;
	AUTO_FD passed = -1;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	say(p, "{\"return\":{},\"id\":1}\n");
	assert_int_equal(qmp_give_fd(&p->qmp, "a", ends[1], &d, NULL), 0);
	fd_close(ends[1]);
	assert_true(recvmsg(p->peer, &message, MSG_CMSG_CLOEXEC) > 0);
	assert_string_equal(sent,
			    "{\"execute\":\"getfd\",\"id\":1,\"arguments\":{\"fdname\":\"a\"}}\n");
	assert_int_equal(message.msg_controllen, CMSG_SPACE(sizeof(int)));
	c = &control.align;
	assert_int_equal(c->cmsg_type, SCM_RIGHTS);
	assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(int)));
	memcpy(&passed, CMSG_DATA(c), sizeof(passed));
	assert_int_equal(write(passed, "x", 1), 1);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	fd_close(ends[0]);
}

/* One event at a time, whatever answers lie between. */
static void test_await(void **state)
{
	struct pair *p = *state;
	struct deadline d = deadline_in(LONG_MS, -1);
	struct deadline soon;

	say(p, "{\"return\":{},\"id\":7}\n{\"event\":\"STOP\"}\n{\"event\":\"RESUME\"}\n{\"ev");
	assert_int_equal(qmp_await(&p->qmp, &d, NULL), 0);
	assert_string_equal(p->last, "STOP");
	assert_int_equal(qmp_await(&p->qmp, &d, NULL), 0);
	assert_string_equal(p->last, "RESUME");
	soon = deadline_in(SHORT_MS, -1);
	assert_int_equal(qmp_await(&p->qmp, &soon, NULL), -ETIMEDOUT);
	say(p, "ent\":\"MIGRATION\"}\n");
	assert_int_equal(qmp_await(&p->qmp, &d, NULL), 0);
	assert_string_equal(p->last, "MIGRATION");
	fd_close(steal_fd(&p->peer));
	assert_int_equal(qmp_await(&p->qmp, &d, NULL), -EIO);
	assert_int_equal(qmp_await(&p->qmp, &d, NULL), -EIO);
}

/* One byte at a time, each in a packet of its own. */
static void *write_bytes(void *arg)
{
	static const char text[] =
		"{\"event\":\"STOP\"}\n{\"return\":{\"x\":\"\\u00e4\"},\"id\":1}\n";
	const struct pair *p = arg;

	for (size_t i = 0; i + 1 < sizeof(text); i++)
		if (send(p->peer, text + i, 1, MSG_NOSIGNAL) != 1)
			break;
	return NULL;
}

static void test_split_lines(void **state)
{
	struct pair *p = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, write_bytes, p), 0);
	assert_int_equal(call(p, LONG_MS, NULL, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(p->events, 1);
}

static void test_late_reply(void **state)
{
	struct pair *p = *state;
	AUTO_JSON reply = NULL;
	struct err e = {0};

	assert_int_equal(call(p, SHORT_MS, NULL, &e), -ETIMEDOUT);
	say(p, "{\"return\":\"old\",\"id\":1}\n{\"return\":\"new\",\"id\":2}\n");
	assert_int_equal(call(p, LONG_MS, &reply, NULL), 0);
	assert_string_equal(json_text_at(reply, "return", ""), "new");
}

static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"\n\n\x01\x02\xff\xfe\n", "hello\n", "[1,2]\n",
		"{\"return\":{}\n",       "null\n",  "{\"return\":{},\"id\":1} x\n",
	};

	for (size_t i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
		struct pair *p;
		struct err e = {0};

		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
		p = *state;
		say(p, garbage[i]);
		assert_int_equal(call(p, LONG_MS, NULL, &e), -EIO);
		assert_int_equal(p->qmp.fd, -1);
	}
}

/* Members of the wrong type are as good as absent. */
static void test_wrong_types(void **state)
{
	struct pair *p = *state;
	struct err e = {0};

	say(p, "{\"event\":[]}\n{\"event\":5,\"id\":\"1\"}\n{\"id\":{}}\n"
	       "{\"error\":{\"desc\":[]},\"id\":1}\n");
	assert_int_equal(call(p, LONG_MS, NULL, &e), -EIO);
	assert_int_equal(p->events, 0);
}

static void test_deep_nesting(void **state)
{
	struct pair *p = *state;
	struct writer w;

	writer_start(&w, p, "{\"a\":", 100000);
	assert_int_equal(call(p, NESTED_MS, NULL, NULL), -ETIMEDOUT);
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	say(p, "\n");
	assert_int_equal(call(p, LONG_MS, NULL, NULL), -EIO);
}

static void test_huge_line(void **state)
{
	struct pair *p = *state;
	struct writer w;
	struct err e = {0};

	writer_start(&w, p, "aaaaaaaaaaaaaaaa", 0);
	assert_int_equal(call(p, LONG_MS, NULL, &e), -EIO);
	assert_non_null(strstr(e.text, "1 MiB"));
	assert_int_equal(pthread_join(w.thread, NULL), 0); /* the socket is closed */
}

/* Almost the limit is still read. */
static void test_long_line(void **state)
{
	struct pair *p = *state;
	size_t len = QMP_LINE_MAX - 100;
	AUTO_FREE char *text = malloc(len + 1);
	struct writer w;

	assert_non_null(text);
	memset(text, ' ', len);
	memcpy(text, "{\"return\":{},", 13);
	(void)strcpy(text + len - 9, "\"id\":1 }\n");
	writer_start(&w, p, text, 1);
	assert_int_equal(call(p, LONG_MS, NULL, NULL), 0);
	assert_int_equal(pthread_join(w.thread, NULL), 0);
}

/* Events without an end do not hold a call beyond its deadline, nor a drain. */
static void test_flood(void **state)
{
	struct pair *p = *state;
	struct writer w;
	int64_t begin = clock_ms();

	writer_start(&w, p, "{\"event\":\"STOP\"}\n{\"return\":{},\"id\":99}\n\n\n\n", 0);
	assert_int_equal(call(p, SHORT_MS, NULL, NULL), -ETIMEDOUT);
	qmp_drain(&p->qmp);
	assert_true(clock_ms() - begin < LONG_MS / 2);
	assert_true(p->events > 0);
	qmp_done(&p->qmp);
	assert_int_equal(pthread_join(w.thread, NULL), 0);
}

static void test_many_events(void **state)
{
	struct pair *p = *state;
	struct writer w;

	writer_start(&w, p, "{\"event\":\"STOP\"}\n", FLOOD_EVENTS);
	assert_int_equal(call(p, FLOOD_MS, NULL, NULL), -ETIMEDOUT);
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	assert_int_equal(p->events, FLOOD_EVENTS);
}

static void test_silence(void **state)
{
	struct pair *p = *state;
	int64_t begin = clock_ms();
	struct err e = {0};

	assert_int_equal(greet(p, SHORT_MS, &e), -ETIMEDOUT);
	assert_true(clock_ms() - begin >= SHORT_MS - 5);
	assert_true(clock_ms() - begin < LONG_MS / 2);
	assert_true(p->qmp.fd >= 0);
}

static void test_end_of_file(void **state)
{
	struct pair *p = *state;
	struct err e = {0};

	say(p, "{\"return\":{},\"id\":1}"); /* no newline: never whole */
	fd_close(steal_fd(&p->peer));
	assert_int_equal(call(p, LONG_MS, NULL, &e), -EIO);
	assert_int_equal(p->qmp.fd, -1);
}

/* A pidfd that is readable ends a wait, although somebody holds the socket open. */
static void test_process_end(void **state)
{
	struct pair *p = *state;
	struct err e = {0};
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(close(fds[1]), 0);
	p->qmp.pidfd = fds[0];
	assert_int_equal(call(p, LONG_MS, NULL, &e), -EIO);
	assert_non_null(strstr(e.text, "ended"));
	assert_int_equal(close(fds[0]), 0);
}

/* A peer that reads nothing fills the socket; a call then ends by its deadline. */
static void test_deaf_peer(void **state)
{
	struct pair *p = *state;
	char block[4096];

	memset(block, ' ', sizeof(block));
	while (send(p->qmp.fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	assert_int_equal(call(p, SHORT_MS, NULL, NULL), -ETIMEDOUT);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(greeting),     test(no_greeting),    test(arguments_and_reply),
		test(error_reply),  test(events_between), test(split_lines),
		test(late_reply),   test(garbage),        test(wrong_types),
		test(deep_nesting), test(huge_line),      test(long_line),
		test(flood),        test(many_events),    test(silence),
		test(passed_fd),    test(await),          test(end_of_file),
		test(process_end),  test(deaf_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
