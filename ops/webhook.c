/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/webhook.c - events are sent to a control plane as they happen
 *
 * How it works: one thread sends lists of events by POST, in order, the next one when the one before has been answered with 2xx. What
 * waits is in the ring and the log of events, so there is no other queue: the file `webhook` of the state directory has the number
 * of the next event to send, written behind each answer. A daemon that dies between the two sends that list again. What cannot be
 * delivered is tried again, the same list, later and later; what the log has dropped meanwhile is told in an event.
 *
 * The lock guards what .status shows; all else is the thread's own.
 */
#include "ops/webhook.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/http.h"
#include "base/log.h"
#include "base/random.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/lane.h"
#include "ops/nested.h"
#include "ops/serial.h"
#include "ops/settings.h"

enum {
	LIST_MAX = 100, /* events of one POST */
	CONNECT_MS = 5000,
	ANSWER_MS = 20000, /* with connecting */
	RETRY_MIN_MS = 1000,
	RETRY_MAX_MS = 60000,
	SECRET_MAX = 4096, /* bytes */
};

static struct {
	char url[sizeof(settings.webhook_url)]; /* "": none */
	unsigned char secret[SECRET_MAX];
	size_t secret_len;
} target; /* before there are threads */

static pthread_t thread;
static bool threaded;    /* changed by whoever starts and stops it */
static int news_fd = -1; /* stays: somebody may be about to write to it */
static int stop_fd = -1;
static atomic_bool goes_down;
static struct lane lost_lane; /* of what is done about a lost control plane */

static pthread_mutex_t view_lock = PTHREAD_MUTEX_INITIALIZER; /* memory only */
static bool failing;
static char last_error[sizeof(((struct webhook_view *)0)->error)];
static uint64_t acknowledged;

/* The thread's own. */
static uint64_t next_number;
static int64_t failing_since_ms; /* monotonic; 0: the last delivery was answered */
static unsigned fails;           /* one after the other */
static bool is_lost, cannot_save;

/* A list on its way. */
struct list {
	struct buf body; /* owned */
	struct event_span span;
};

/* ---- settings -------------------------------------------------------------------------------------------- */

static int check_file(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "webhook_secret_file: %s is not a file", path);
	if (st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP))
		return err_set(e, EPERM,
			       "webhook_secret_file: others may read or change %s; chmod 600 helps",
			       path);
	return 0;
}

static int read_secret(const char *path, struct err *e)
{
	/* One that is no file is not waited for. */
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	unsigned char text[SECRET_MAX + 2];
	ssize_t n;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "webhook_secret_file: cannot open %s", path);
	r = check_file(fd, path, e);
	if (r < 0)
		return r;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return err_sys(e, errno, "webhook_secret_file: cannot read %s", path);
	if (n > 0 && text[n - 1] == '\n')
		n--;
	if (n == 0 || n > SECRET_MAX)
		return err_set(e, EINVAL, "webhook_secret_file: %s should have 1 to %d bytes", path,
			       SECRET_MAX);
	memcpy(target.secret, text, (size_t)n);
	target.secret_len = (size_t)n;
	return 0;
}

int webhook_load(struct err *e)
{
	int r = 0;

	target.url[0] = '\0';
	if (!settings.webhook_url[0])
		return 0;
	if (!settings.webhook_secret_file[0])
		return err_set(e, EINVAL,
			       "webhook_url needs webhook_secret_file: what is sent is signed");
	r = read_secret(settings.webhook_secret_file, e);
	if (r == 0)
		(void)snprintf(target.url, sizeof(target.url), "%s",
			       settings.webhook_url); /* fits */
	return r;
}

/* ---- one delivery ---------------------------------------------------------------------------------------- */

static int ignore(void *arg, const char *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return 0;
}

/* Everybody may read why it failed, and the URL may be as good as a password. */
static void hide_url(struct err *e)
{
	static const char method[] = "POST ";
	size_t skip = sizeof(method) - 1 + strlen(target.url) + strlen(": ");

	if (strncmp(e->text, method, sizeof(method) - 1) == 0 && strlen(e->text) > skip)
		memmove(e->text, e->text + skip, strlen(e->text + skip) + 1);
}

static int post(const struct list *l, struct err *e)
{
	const struct deadline d = deadline_in(ANSWER_MS, stop_fd);
	static const char type[] = "Content-Type: application/json";
	static const char agent[] = "User-Agent: sbxfs/" SBXFS_VERSION;
	static const char sign[] = "X-Sbxfs-Signature: sha256=";
	char signature[sizeof(sign) + DIGEST_HEX_SIZE], numbers[80];
	const char *const headers[] = {type, agent, signature, numbers, NULL};
	const struct http_request r = {.method = "POST",
				       .url = target.url,
				       .headers = headers,
				       .body = l->body.data,
				       .body_len = l->body.len,
				       .connect_ms = CONNECT_MS,
				       .sink = ignore};
	long status = 0;
	int code;

	memcpy(signature, sign, sizeof(sign));
	if (digest_hmac(target.secret, target.secret_len, l->body.data, l->body.len,
			signature + sizeof(sign) - 1) < 0)
		return err_set(e, ENOMEM, "no memory to sign it");
	(void)snprintf(numbers, sizeof(numbers), "X-Sbxfs-Seq: %" PRIu64 "-%" PRIu64, l->span.first,
		       l->span.last); /* fits */
	code = http_call(&r, &d, &status, e);
	if (code < 0) {
		hide_url(e);
		return code;
	}
	return status >= 200 && status <= 299 ? 0 : err_set(e, EIO, "it answered %ld", status);
}

/* ---- a lost control plane -------------------------------------------------------------------------------- */

static int pause_all(struct job *j, struct err *e)
{
	(void)j;
	log_subject(NULL);
	return nested_all("pause", IN(SBX_RUNNING) | IN(SBX_FROZEN), 0, e);
}

static void pause_all_over(struct job *j, int result, const struct err *e)
{
	if (result < 0)
		log_error("not every sandbox could be paused: %s", e->text);
	job_done(j);
	free(j);
}

static void begin_pause_all(void)
{
	struct job *j = calloc(1, sizeof(*j));
	int r = j ? job_init(j, JOB_DAEMON) : -ENOMEM;

	if (r == 0) {
		j->run = pause_all;
		j->done = pause_all_over;
		r = lane_submit(&lost_lane, j);
		if (r == 0)
			return;
		job_done(j);
	}
	log_error("cannot pause the sandboxes: %s", strerrordesc_np(-r));
	free(j);
}

/* Milliseconds until it counts as lost; INT64_MAX: it does, or never will. */
static int64_t lost_in_ms(void)
{
	int64_t limit_ms = (int64_t)settings.webhook_lost * 1000, left;

	if (is_lost || limit_ms == 0 || failing_since_ms == 0 || atomic_load(&goes_down))
		return INT64_MAX;
	left = failing_since_ms + limit_ms - clock_ms();
	return left > 0 ? left : 0;
}

static void look_lost(void)
{
	bool pauses = settings.webhook_on_lost == ON_LOST_PAUSE_ALL;

	if (lost_in_ms() > 0)
		return;
	is_lost = true;
	log_error("webhook: nothing could be delivered for %" PRId64 " seconds%s",
		  (clock_ms() - failing_since_ms) / 1000,
		  pauses ? ": all sandboxes are paused" : "");
	event_add(0, "", "control-plane-lost", ",\"action\":\"%s\"", pauses ? "pause-all" : "none");
	if (pauses)
		begin_pause_all();
}

/* ---- the thread ------------------------------------------------------------------------------------------ */

static void on_event(void)
{
	const uint64_t one = 1;

	(void)file_write_all(news_fd, &one, sizeof(one)); /* an eventfd takes it */
}

/* Until there are news, or @ms are over. Return: false when the thread is to end. */
static bool wait_news(int64_t ms)
{
	const struct deadline d = {.at_ms = ms == INT64_MAX ? ms : clock_ms() + ms,
				   .cancel_fd = stop_fd};
	struct pollfd news = {.fd = news_fd, .events = POLLIN};
	uint64_t count;
	int r = deadline_poll(&d, &news, 1);

	if (r > 0 && read(news_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warning("webhook: %s, ignoring", strerrordesc_np(errno));
	return r != -ECANCELED;
}

/* News or not. Return: as wait_news(). */
static bool sleep_ms(int64_t ms)
{
	const struct deadline d = deadline_in(ms, stop_fd);
	struct pollfd none = {.fd = -1};

	return deadline_poll(&d, &none, 1) != -ECANCELED;
}

/* What comes next. Return: is there anything? */
static bool list_take(struct list *l)
{
	buf_reset(&l->body);
	event_list(next_number, LIST_MAX, &l->body, &l->span);
	if (l->span.missed > 0) {
		log_warning("webhook: %" PRIu64 " events were dropped before they could be "
			    "delivered",
			    l->span.missed);
		event_add(0, "", "webhook-gap",
			  ",\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"count\":%" PRIu64,
			  next_number, l->span.from - 1, l->span.missed);
		next_number = l->span.from;
	}
	if (l->span.count == 0)
		next_number = l->span.next; /* lines that there was no memory for */
	return l->span.count > 0;
}

static void save_next(void)
{
	struct err e = {0};

	if (serial_file_write("webhook", next_number, &e) == 0) {
		cannot_save = false;
		return;
	}
	if (!cannot_save)
		log_warning("webhook: %s, ignoring: the next daemon will send events again",
			    e.text);
	cannot_save = true;
}

static void note_delivered(const struct list *l)
{
	next_number = l->span.next;
	save_next();
	pthread_mutex_lock(&view_lock);
	acknowledged = l->span.last;
	failing = false;
	last_error[0] = '\0';
	pthread_mutex_unlock(&view_lock);
	if (fails > 0)
		log_info("webhook: events are delivered again");
	if (is_lost)
		event_add(0, "", "control-plane-back", "%s", "");
	fails = 0;
	failing_since_ms = 0;
	is_lost = false;
}

/* @begun_ms: of the attempt that failed. */
static void note_failure(const struct err *e, int64_t begun_ms)
{
	pthread_mutex_lock(&view_lock);
	failing = true;
	(void)snprintf(last_error, sizeof(last_error), "%s", e->text);
	pthread_mutex_unlock(&view_lock);
	if (fails++ == 0) {
		failing_since_ms = begun_ms;
		log_warning("webhook: events cannot be delivered, trying again: %s", e->text);
	}
}

/* So that many hosts do not come all at once: up to a half more, at random. */
static int64_t retry_ms(void)
{
	unsigned doublings = fails - 1 < 6 ? fails - 1 : 6;
	int64_t ms = (int64_t)RETRY_MIN_MS << doublings;
	uint16_t random = 0;

	(void)random_bytes((void *)&random, sizeof(random)); /* 0 will do */
	ms += ms / 2 * random / UINT16_MAX;
	return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

/* Return: as wait_news(). */
static bool back_off(void)
{
	const int64_t until_ms = clock_ms() + retry_ms();
	int64_t left;

	look_lost();
	while ((left = until_ms - clock_ms()) > 0) {
		int64_t lost = lost_in_ms();

		if (!sleep_ms(lost < left ? lost + 1 : left))
			return false;
		look_lost();
	}
	return true;
}

/* Until it is delivered, unless there was no memory for it. Return: as wait_news(). */
static bool deliver(const struct list *l)
{
	for (;;) {
		int64_t begun_ms = clock_ms();
		struct err e = {0};
		int r;

		if (buf_error(&l->body) < 0)
			return sleep_ms(RETRY_MIN_MS); /* and make the list again */
		r = post(l, &e);
		if (r == 0) {
			note_delivered(l);
			return true;
		}
		if (r == -ECANCELED)
			return false;
		note_failure(&e, begun_ms);
		if (!back_off())
			return false;
	}
}

static void *webhook_main(void *arg)
{
	struct list l = {.body = BUF_INIT};
	bool goes_on = true;

	(void)arg;
	while (goes_on)
		goes_on = list_take(&l) ? deliver(&l) : wait_news(INT64_MAX);
	buf_done(&l.body);
	return NULL;
}

/* ---- start and end --------------------------------------------------------------------------------------- */

/* Behind what was acknowledged; the first time, with this daemon's first event. */
static void find_next(void)
{
	uint64_t first, next, saved = 0;
	struct err e = {0};
	int r = serial_file_read("webhook", INT64_MAX, &saved, &e);

	event_numbers(&first, &next);
	if (r < 0 && r != -ENOENT)
		log_warning("webhook: its file in the state directory is damaged, ignoring: older "
			    "events are not sent");
	next_number = r == 0 && saved <= next ? saved : first;
	acknowledged = next_number - 1;
	if (r < 0)
		save_next();
}

int webhook_start(struct err *e)
{
	AUTO_FD stop = -1;
	int code;

	if (!target.url[0]) {
		/* One that is set later begins anew. */
		if (unlinkat(host.state_fd, "webhook", 0) < 0 && errno != ENOENT)
			log_warning("cannot remove %s/webhook, ignoring", host.state_dir);
		return 0;
	}
	if (news_fd < 0)
		news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	stop = eventfd(0, EFD_CLOEXEC);
	if (news_fd < 0 || stop < 0)
		return err_sys(e, errno, "no descriptors for the webhook");
	failing_since_ms = 0;
	fails = 0;
	is_lost = failing = cannot_save = false;
	last_error[0] = '\0';
	atomic_store(&goes_down, false);
	find_next();
	stop_fd = stop;
	code = pthread_create(&thread, NULL, webhook_main, NULL);
	if (code) {
		stop_fd = -1;
		return err_sys(e, code, "cannot start a thread for the webhook");
	}
	(void)steal_fd(&stop);
	threaded = true;
	event_set_follower(on_event);
	on_event(); /* what came before that */
	return 0;
}

void webhook_go_down(void)
{
	atomic_store(&goes_down, true);
}

void webhook_stop(void)
{
	const uint64_t one = 1;

	if (!threaded)
		return;
	event_set_follower(NULL);
	(void)file_write_all(stop_fd, &one, sizeof(one)); /* an eventfd takes it */
	(void)pthread_join(thread, NULL);                 /* it was started, and only once */
	threaded = false;
	fd_close(steal_fd(&stop_fd));
}

void webhook_view(struct webhook_view *ret)
{
	*ret = (struct webhook_view){.state = target.url[0] ? "ok" : "none"};
	if (!target.url[0])
		return;
	pthread_mutex_lock(&view_lock);
	if (failing)
		ret->state = "failing";
	memcpy(ret->error, last_error, sizeof(ret->error));
	ret->acknowledged = acknowledged;
	pthread_mutex_unlock(&view_lock);
}
