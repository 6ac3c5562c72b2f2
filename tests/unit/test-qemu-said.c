/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-qemu-said.c - what the QEMU driver hears by itself, from a peer that says it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vm/qemu.h"

#define GREETING "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}},\"capabilities\":[]}}\r\n"
#define DISK_ERROR(action, nospace)                                                                \
	"{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"device\":\"\",\"node-name\":\"d0\","            \
	"\"operation\":\"write\",\"action\":\"" action "\",\"nospace\":" nospace "}}\r\n"

enum {
	LONG_MS = 20 * 1000, /* is never reached when all is well */
	SHORT_MS = 150,
	SLOW_MS = 400, /* that an answer takes while another thread asks */
};

/* What stands for QEMU: the sockets of a run directory, and this very process. */
static struct {
	char dir[64];
	int listener, fifo, peer;
	const char *status; /* what query-status answers */
	int delay_ms;       /* before it does */
	pthread_t thread;
	struct vm *vm;
} q;

static void say(const char *text)
{
	assert_int_equal(send(q.peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Answers every command until the other side is gone. */
static void *answer(void *arg)
{
	char text[512];
	ssize_t n;

	(void)arg;
	q.peer = accept(q.listener, NULL, NULL);
	(void)send(q.peer, GREETING, strlen(GREETING), MSG_NOSIGNAL);
	while ((n = recv(q.peer, text, sizeof(text) - 1, 0)) > 0) {
		const char *id;
		char reply[256];

		text[n] = '\0';
		id = strstr(text, "\"id\":");
		if (!id)
			break;
		(void)usleep((useconds_t)q.delay_ms * 1000);
		(void)snprintf(reply, sizeof(reply),
			       "{\"return\":{\"running\":%s,\"status\":\"%s\"},\"id\":%d}\r\n",
			       strcmp(q.status, "running") == 0 ? "true" : "false", q.status,
			       atoi(id + 5));
		(void)send(q.peer, reply, strlen(reply), MSG_NOSIGNAL);
	}
	return NULL;
}

static int setup(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct deadline d = deadline_in(LONG_MS, -1);
	struct proc_id id = {.pid = getpid()};
	struct err e = {0};
	char path[100];

	(void)state;
	(void)snprintf(q.dir, sizeof(q.dir), "/tmp/sbxfs-said-XXXXXX");
	assert_non_null(mkdtemp(q.dir));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" QEMU_QMP_SOCKET, q.dir);
	(void)snprintf(path, sizeof(path), "%s/" QEMU_SERIAL_IN, q.dir);
	q.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(q.listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(q.listener, 1), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	q.fifo = open(path, O_RDWR | O_CLOEXEC);
	q.status = "running";
	q.delay_ms = 0;
	assert_int_equal(pthread_create(&q.thread, NULL, answer, NULL), 0);
	assert_int_equal(proc_start_time(id.pid, &id.start), 0);
	if (qemu_driver.open(&id, q.dir, &d, &q.vm, &e) < 0)
		fail_msg("%s", e.text);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qemu_driver.close(q.vm);
	(void)pthread_join(q.thread, NULL);
	fd_close(q.peer);
	fd_close(q.listener);
	fd_close(q.fifo);
	qemu_names_remove(q.dir);
	return rmdir(q.dir);
}

/* Said once, and gone with the asking. */
static void test_said(void **state)
{
	struct pollfd p = {.fd = vm_common(q.vm)->events, .events = POLLIN};

	(void)state;
	assert_int_equal(qemu_driver.said(q.vm), 0);
	say(DISK_ERROR("stop", "false"));
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	assert_int_equal(qemu_driver.said(q.vm), VM_SAID_DISK_ERROR);
	assert_int_equal(qemu_driver.said(q.vm), 0);
	say(DISK_ERROR("stop", "false") DISK_ERROR("stop", "true") "{\"event\":\"STOP\"}\r\n");
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	assert_int_equal(qemu_driver.said(q.vm), VM_SAID_DISK_ERROR | VM_SAID_DISK_FULL);
	assert_int_equal(qemu_driver.said(q.vm), 0);
}

/* What the guest was told of did not stop it. */
static void test_reported(void **state)
{
	struct pollfd p = {.fd = vm_common(q.vm)->events, .events = POLLIN};

	(void)state;
	say(DISK_ERROR("report", "false") DISK_ERROR("ignore", "true"));
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	assert_int_equal(qemu_driver.said(q.vm), 0);
}

static void *ask(void *ret)
{
	struct deadline d = deadline_in(LONG_MS, -1);

	assert_int_equal(qemu_driver.disk_stopped(q.vm, &d, ret, NULL), 0);
	return NULL;
}

/* It does not wait for a thread that talks to QEMU, which hears the event for it. */
static void test_never_waits(void **state)
{
	bool stopped = false;
	pthread_t other;
	unsigned said = 0;
	int64_t began;

	(void)state;
	q.delay_ms = SLOW_MS;
	q.status = "io-error";
	assert_int_equal(pthread_create(&other, NULL, ask, &stopped), 0);
	(void)usleep(SLOW_MS / 4 * 1000);
	say(DISK_ERROR("stop", "false"));
	began = clock_ms();
	said |= qemu_driver.said(q.vm);
	assert_true(clock_ms() - began < SHORT_MS);
	assert_int_equal(pthread_join(other, NULL), 0);
	said |= qemu_driver.said(q.vm);
	assert_int_equal(said, VM_SAID_DISK_ERROR);
	assert_true(stopped);
}

static void test_disk_stopped(void **state)
{
	static const struct {
		const char *status;
		bool stopped;
	} all[] = {{"running", false}, {"paused", false}, {"io-error", true}, {"running", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		bool stopped = !all[i].stopped;

		q.status = all[i].status;
		(void)ask(&stopped);
		assert_int_equal(stopped, all[i].stopped);
	}
}

/* A connection that has broken says nothing more, and nobody is to wait on it. */
static void test_broken(void **state)
{
	struct pollfd p = {.fd = vm_common(q.vm)->events, .events = POLLIN};

	(void)state;
	say(DISK_ERROR("stop", "true") "nonsense\r\n");
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	assert_int_equal(qemu_driver.said(q.vm), VM_SAID_DISK_ERROR | VM_SAID_DISK_FULL);
	assert_int_equal(vm_common(q.vm)->events, -1);
	assert_int_equal(qemu_driver.said(q.vm), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_said, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reported, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
