/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-webhook.c - events are delivered signed, in order, at least once, over failures and daemons */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/http.h"
#include "base/json.h"
#include "ops/event.h"
#include "ops/settings.h"
#include "ops/webhook.h"

#define SECRET "not so secret"

/* Where events go to: takes each POST, and answers what the test says at that time. */
static struct {
	int fd;
	pthread_t thread;
	char url[64];
	_Atomic(const char *) answer;
	atomic_uint posts;    /* all that came */
	pthread_mutex_t lock; /* the rest: of those that were answered with 2xx */
	uint64_t seqs[4096];  /* of the events */
	unsigned seq_count, lists, largest;
	struct buf words; /* " EVENT" of each */
	char bad[200];    /* what was wrong first; "": nothing */
} receiver = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char good[] = "HTTP/1.1 204 Taken\r\nContent-Length: 0\r\n\r\n";
static const char sorry[] = "HTTP/1.1 503 Sorry\r\nContent-Length: 5\r\n\r\nsorry";

static void complain(const char *what)
{
	if (!receiver.bad[0])
		(void)snprintf(receiver.bad, sizeof(receiver.bad), "%s", what);
}

static const char *header(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);

	return at ? at + strlen(name) : "";
}

static void check_head(const char *head, const char *body, size_t len, uint64_t first,
		       uint64_t last)
{
	char hex[DIGEST_HEX_SIZE], range[64];

	assert_int_equal(digest_hmac(SECRET, strlen(SECRET), body, len, hex), 0);
	if (strncmp(header(head, "\r\nX-Sbxfs-Signature: sha256="), hex, 64) != 0)
		complain("the signature");
	(void)snprintf(range, sizeof(range), "%llu-%llu\r\n", (unsigned long long)first,
		       (unsigned long long)last);
	if (strncmp(header(head, "\r\nX-Sbxfs-Seq: "), range, strlen(range)) != 0)
		complain("the numbers");
	if (strncmp(header(head, "\r\nContent-Type: "), "application/json\r\n", 18) != 0)
		complain("the type");
	if (strncmp(head, "POST /events?key=hidden HTTP/1.1\r\n", 34) != 0)
		complain("the request");
}

static void take_list(const char *head, const char *body, size_t len)
{
	AUTO_JSON list = NULL;
	size_t count;

	pthread_mutex_lock(&receiver.lock);
	if (json_parse(body, len, &list, NULL) < 0 || !json_object_is_type(list, json_type_array)) {
		complain("no list");
		pthread_mutex_unlock(&receiver.lock);
		return;
	}
	count = json_object_array_length(list);
	receiver.lists++;
	if (count > receiver.largest)
		receiver.largest = (unsigned)count;
	for (size_t i = 0; i < count && receiver.seq_count < 4096; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		receiver.seqs[receiver.seq_count++] = (uint64_t)json_int_at(o, "seq", 0);
		buf_addf(&receiver.words, " %s", json_text_at(o, "event", ""));
	}
	if (count > 0)
		check_head(head, body, len, receiver.seqs[receiver.seq_count - count],
			   receiver.seqs[receiver.seq_count - 1]);
	pthread_mutex_unlock(&receiver.lock);
}

static void take_post(int fd)
{
	AUTO_BUF b = BUF_INIT;
	const char *answer, *end;
	size_t length = 0, head = 0;

	while (head == 0 || b.len < head + length) {
		char piece[4096];
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n <= 0)
			return;
		buf_add(&b, piece, (size_t)n);
		end = head == 0 ? strstr(buf_text(&b), "\r\n\r\n") : NULL;
		if (end) {
			head = (size_t)(end - b.data) + 4;
			length = strtoul(header(b.data, "\r\nContent-Length: "), NULL, 10);
		}
	}
	answer = atomic_load(&receiver.answer);
	if (answer == good)
		take_list(b.data, b.data + head, length);
	(void)file_write_all(fd, answer, strlen(answer)); /* the test fails if this did */
	atomic_fetch_add(&receiver.posts, 1);
}

static void *receive(void *arg)
{
	(void)arg;
	for (;;) {
		AUTO_FD fd = accept4(receiver.fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return NULL;
		take_post(fd);
	}
}

static unsigned seq_count(void)
{
	unsigned n;

	pthread_mutex_lock(&receiver.lock);
	n = receiver.seq_count;
	pthread_mutex_unlock(&receiver.lock);
	return n;
}

/* Has it been told of such an event? */
static bool has(const char *word)
{
	bool found;

	pthread_mutex_lock(&receiver.lock);
	found = strstr(buf_text(&receiver.words), word) != NULL;
	pthread_mutex_unlock(&receiver.lock);
	return found;
}

/* All that came is in order and each once, but for what was dropped. */
static void assert_order(void)
{
	pthread_mutex_lock(&receiver.lock);
	assert_string_equal(receiver.bad, "");
	for (unsigned i = 1; i < receiver.seq_count; i++)
		assert_true(receiver.seqs[i] > receiver.seqs[i - 1]);
	pthread_mutex_unlock(&receiver.lock);
}

static void tick(const char *event)
{
	event_add(1, "web1", event, "%s", "");
}

static void daemon_begins(void)
{
	struct err e = {0};

	event_done();
	if (event_start(&e) < 0 || webhook_load(&e) < 0 || webhook_start(&e) < 0)
		fail_msg("%s", e.text);
}

static const char *state(void)
{
	struct webhook_view v;

	webhook_view(&v);
	return v.state;
}

static uint64_t acknowledged(void)
{
	struct webhook_view v;

	webhook_view(&v);
	return v.acknowledged;
}

static uint64_t last_number(void)
{
	uint64_t first, next;

	event_numbers(&first, &next);
	return next - 1;
}

static void set_secret(const char *text, mode_t mode)
{
	ops_write("secret", text);
	assert_int_equal(fchmodat(host.state_fd, "secret", mode, 0), 0);
}

/* Each test has a state directory as new. */
static int begin(void **unused)
{
	(void)unused;
	webhook_stop();
	event_done();
	(void)file_remove_tree(host.state_fd, "events", NULL);
	(void)unlinkat(host.state_fd, "event", 0);
	(void)unlinkat(host.state_fd, "webhook", 0);
	set_secret(SECRET "\n", 0600);
	(void)snprintf(settings.webhook_url, sizeof(settings.webhook_url), "%s", receiver.url);
	(void)snprintf(settings.webhook_secret_file, sizeof(settings.webhook_secret_file),
		       "%s/secret", host.state_dir);
	settings.webhook_lost = 0;
	settings.webhook_on_lost = ON_LOST_NONE;
	atomic_store(&receiver.answer, good);
	pthread_mutex_lock(&receiver.lock);
	receiver.seq_count = receiver.lists = receiver.largest = 0;
	receiver.bad[0] = '\0';
	buf_reset(&receiver.words);
	pthread_mutex_unlock(&receiver.lock);
	return 0;
}

static void test_load(void **unused)
{
	struct err e = {0};

	(void)unused;
	assert_int_equal(webhook_load(&e), 0);
	set_secret(SECRET, 0644);
	assert_int_equal(webhook_load(&e), -EPERM);
	set_secret(SECRET, 0620);
	assert_int_equal(webhook_load(&e), -EPERM);
	set_secret(SECRET, 0640);
	assert_int_equal(webhook_load(&e), 0);
	set_secret("\n", 0600);
	assert_int_equal(webhook_load(&e), -EINVAL);
	(void)snprintf(settings.webhook_secret_file, sizeof(settings.webhook_secret_file), "%s",
		       host.state_dir);
	assert_int_equal(webhook_load(&e), -EINVAL);
	(void)snprintf(settings.webhook_secret_file, sizeof(settings.webhook_secret_file),
		       "%s/none", host.state_dir);
	assert_int_equal(webhook_load(&e), -ENOENT);
	settings.webhook_secret_file[0] = '\0';
	assert_int_equal(webhook_load(&e), -EINVAL);
	assert_non_null(strstr(e.text, "webhook_secret_file"));
	settings.webhook_url[0] = '\0';
	assert_int_equal(webhook_load(&e), 0);
	assert_string_equal(state(), "none");
	assert_int_equal(webhook_start(&e), 0); /* nothing to do */
	webhook_stop();
}

static void test_deliver(void **unused)
{
	(void)unused;
	daemon_begins();
	assert_string_equal(state(), "ok");
	for (int i = 0; i < 250; i++)
		tick("tick");
	ops_await(seq_count() == 250);
	ops_await(acknowledged() == last_number());
	assert_order();
	assert_true(receiver.largest <= 100);
	assert_true(receiver.lists >= 3);
	assert_string_equal(state(), "ok");
}

/* The same list again until it is taken, and nobody is shown the URL. */
static void test_failing(void **unused)
{
	struct webhook_view v;
	unsigned before;

	(void)unused;
	atomic_store(&receiver.answer, sorry);
	before = atomic_load(&receiver.posts);
	daemon_begins();
	tick("first");
	ops_await(strcmp(state(), "failing") == 0);
	tick("second");
	webhook_view(&v);
	assert_string_equal(v.error, "it answered 503");
	assert_true(v.acknowledged == 0);
	ops_await(atomic_load(&receiver.posts) >= before + 2); /* it was tried again */
	assert_int_equal(seq_count(), 0);
	atomic_store(&receiver.answer,
		     "HTTP/1.1 302 There\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
	ops_await((webhook_view(&v), strstr(v.error, "302") != NULL)); /* not followed */
	atomic_store(&receiver.answer, "nonsense");
	ops_await((webhook_view(&v), strstr(v.error, "it answered") == NULL));
	assert_null(strstr(v.error, "hidden"));
	assert_true(v.error[0]);
	atomic_store(&receiver.answer, good);
	ops_await(seq_count() == 2);
	ops_await(strcmp(state(), "ok") == 0);
	ops_await(acknowledged() == last_number());
	webhook_view(&v);
	assert_string_equal(v.error, "");
	assert_order();
}

/* What happened while nobody delivered, or nobody took, is delivered by the next daemon. */
static void test_daemons(void **unused)
{
	(void)unused;
	daemon_begins();
	tick("one");
	ops_await(acknowledged() == 1);
	atomic_store(&receiver.answer, sorry);
	tick("two");
	ops_await(strcmp(state(), "failing") == 0);
	webhook_stop();
	tick("three");
	daemon_begins();
	tick("four");
	atomic_store(&receiver.answer, good);
	ops_await(seq_count() == 4);
	ops_await(acknowledged() == 4);
	assert_string_equal(buf_text(&receiver.words), " one two three four");
	assert_order();
	/* Without a webhook for a while: a later one begins anew. */
	webhook_stop();
	settings.webhook_url[0] = '\0';
	daemon_begins();
	tick("unheard");
	(void)snprintf(settings.webhook_url, sizeof(settings.webhook_url), "%s", receiver.url);
	daemon_begins();
	tick("five");
	ops_await(has(" five"));
	assert_false(has(" unheard"));
}

/* The log has less room than happened meanwhile. */
static void test_gap(void **unused)
{
	char text[20001];

	(void)unused;
	daemon_begins();
	tick("before");
	ops_await(acknowledged() == 1);
	webhook_stop();
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 300; i++)
		event_add(1, "web1", "big", ",\"text\":\"%s\"", text);
	daemon_begins();
	ops_await(has(" webhook-gap"));
	ops_await(acknowledged() == last_number());
	assert_order();
	assert_true(seq_count() > 50 && seq_count() < 200);
	assert_true(receiver.seqs[1] > 100);
}

static unsigned count_events(const char *word)
{
	AUTO_BUF b = BUF_INIT;
	unsigned n = 0;

	(void)event_read(0, 0, UINT64_MAX, &b);
	for (const char *at = buf_text(&b); (at = strstr(at, word)); at++)
		n++;
	return n;
}

static void test_lost(void **unused)
{
	unsigned posts;

	(void)unused;
	settings.webhook_lost = 1;
	settings.webhook_on_lost = ON_LOST_PAUSE_ALL;
	atomic_store(&receiver.answer, sorry);
	daemon_begins();
	tick("first");
	ops_await(count_events("\"event\":\"control-plane-lost\",\"action\":\"pause-all\"") == 1);
	posts = atomic_load(&receiver.posts);
	ops_await(atomic_load(&receiver.posts) > posts);
	assert_int_equal(count_events("control-plane-lost"), 1); /* once */
	atomic_store(&receiver.answer, good);
	ops_await(count_events("control-plane-back") == 1);
	ops_await(has(" first control-plane-lost control-plane-back"));
	/* And again, but not while the daemon goes down. */
	webhook_go_down();
	atomic_store(&receiver.answer, sorry);
	posts = atomic_load(&receiver.posts);
	tick("second");
	ops_await(atomic_load(&receiver.posts) >= posts + 3); /* more than a second */
	assert_int_equal(count_events("control-plane-lost"), 1);
	atomic_store(&receiver.answer, good);
	ops_await(has(" second"));
	assert_order();
}

static int setup(void **state_)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);

	receiver.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (http_init() < 0 || receiver.fd < 0 ||
	    bind(receiver.fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    getsockname(receiver.fd, (struct sockaddr *)&a, &len) < 0 ||
	    listen(receiver.fd, 16) < 0)
		return -1;
	(void)snprintf(receiver.url, sizeof(receiver.url), "http://127.0.0.1:%u/events?key=hidden",
		       ntohs(a.sin_port));
	atomic_store(&receiver.answer, good);
	return pthread_create(&receiver.thread, NULL, receive, NULL) == 0 ? ops_dir_make(state_)
									  : -1;
}

static int teardown(void **state_)
{
	webhook_stop();
	event_done();
	lane_done();
	(void)shutdown(receiver.fd, SHUT_RDWR);
	assert_int_equal(pthread_join(receiver.thread, NULL), 0);
	fd_close(receiver.fd);
	buf_done(&receiver.words);
	http_done();
	return ops_dir_remove(state_);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_load, begin),
		cmocka_unit_test_setup(test_deliver, begin),
		cmocka_unit_test_setup(test_failing, begin),
		cmocka_unit_test_setup(test_daemons, begin),
		cmocka_unit_test_setup(test_gap, begin),
		cmocka_unit_test_setup(test_lost, begin),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
