/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch-api.c - talking to cloud-hypervisor: requests over HTTP, events out of a FIFO
 *
 * How it works: each request has a connection of its own to the socket in run_dir. The VMM answers one after the
 * other, and its answer to vm.snapshot comes when all is written: nothing here asks it whether it lives, pidfds tell.
 * An event is a JSON object over several lines that ends with a line "}". The VMM drops what the FIFO does not take, also in
 * the middle of one: a line "{" begins anew.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/http.h"
#include "vm/ch.h"

enum {
	ANSWER_MAX = 4 << 20, /* bytes */
	HTTP_OK_FIRST = 200,
	HTTP_OK_LAST = 299,
	REASON_MAX = 1024,    /* bytes of the VMM's own words in an error */
	EVENTS_MAX = 1 << 20, /* bytes read at once, lest a guest that makes events keeps us */
};

/* The reasons of a refusal, outermost first, as one sentence. */
static void add_reasons(struct buf *b, const struct buf *answer)
{
	AUTO_JSON o = NULL;

	if (json_parse(buf_text(answer), answer->len, &o, NULL) < 0 ||
	    !json_object_is_type(o, json_type_array)) {
		buf_addf(b, ": %.*s", REASON_MAX, buf_text(answer));
		return;
	}
	/* The first says no more than that it is an error. */
	for (size_t i = 1; i < json_object_array_length(o) && b->len < REASON_MAX; i++)
		buf_addf(b, ": %s", json_object_get_string(json_object_array_get_idx(o, i)));
}

static int refused(const char *what, long status, const struct buf *answer, struct err *e)
{
	AUTO_BUF why = BUF_INIT;

	add_reasons(&why, answer);
	return err_set(e, EIO, "cloud-hypervisor refused %s (%ld)%s", what, status, buf_text(&why));
}

static int call_failed(int r, const char *what, struct err *e)
{
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "cloud-hypervisor did not answer %s in time", what);
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "%s was cancelled", what);
	if (r == -ECONNREFUSED || r == -ECONNRESET)
		return err_set(e, EIO, "cloud-hypervisor is gone, or does not listen any more");
	if (e)
		e->code = EIO;
	return -EIO;
}

int ch_call(const char *run_dir, const char *what, struct json_object *body,
	    const struct deadline *d, struct json_object **ret, struct err *e)
{
	static const char *const json_header[] = {"Content-Type: application/json", NULL};
	const char *text =
		body ? json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN |
								    JSON_C_TO_STRING_NOSLASHESCAPE)
		     : NULL;
	char url[96], path[CH_RUN_DIR_SIZE + sizeof(CH_SOCKET) + 1];
	AUTO_BUF answer = BUF_INIT;
	struct http_request r = {
		.method = ret ? "GET" : "PUT",
		.url = url,
		.unix_path = path,
		.headers = body ? json_header : NULL,
		.body = text,
		.body_len = text ? strlen(text) : 0,
		.answer = &answer,
		.answer_max = ANSWER_MAX,
	};
	long status = 0;
	int failed;

	if (body && !text)
		return err_set(e, ENOMEM, "no memory for %s", what);
	(void)snprintf(url, sizeof(url), "http://localhost/api/v1/%s", what);
	(void)snprintf(path, sizeof(path), "%s/" CH_SOCKET, run_dir);
	failed = http_call(&r, d, &status, e);
	if (failed < 0)
		return call_failed(failed, what, e);
	if (status < HTTP_OK_FIRST || status > HTTP_OK_LAST)
		return refused(what, status, &answer, e);
	if (!ret)
		return 0;
	if (json_parse(buf_text(&answer), answer.len, ret, NULL) < 0)
		return err_set(e, EIO, "cloud-hypervisor's answer to %s is no JSON", what);
	return 0;
}

static int put_one(const char *run_dir, const char *what, struct json_object *body, int added,
		   const struct deadline *d, struct err *e)
{
	if (added < 0)
		return err_set(e, ENOMEM, "no memory for %s", what);
	return ch_call(run_dir, what, body, d, NULL, e);
}

int ch_put_text(const char *run_dir, const char *what, const char *key, const char *value,
		const struct deadline *d, struct err *e)
{
	AUTO_JSON body = json_object_new_object();

	return put_one(run_dir, what, body, body ? json_add_text(body, key, value) : -ENOMEM, d, e);
}

int ch_put_int(const char *run_dir, const char *what, const char *key, int64_t value,
	       const struct deadline *d, struct err *e)
{
	AUTO_JSON body = json_object_new_object();

	return put_one(run_dir, what, body, body ? json_add_int(body, key, value) : -ENOMEM, d, e);
}

int ch_info(const char *run_dir, const struct deadline *d, struct json_object **ret, struct err *e)
{
	return ch_call(run_dir, "vm.info", NULL, d, ret, e);
}

/* ---- events ------------------------------------------------------------------------------------------ */

static void event_whole(struct ch_events *ev)
{
	AUTO_JSON o = NULL;

	if (buf_error(&ev->text) == 0 &&
	    json_parse(buf_text(&ev->text), ev->text.len, &o, NULL) == 0)
		ev->event(ev->arg, json_text_at(o, "source", ""), json_text_at(o, "event", ""));
	buf_done(&ev->text); /* also after a failure, so that the next begins afresh */
}

void ch_events_take(struct ch_events *ev, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t have = ev->text.len;
		bool first = have == 0 || ev->text.data[have - 1] == '\n';

		if (first && data[i] == '{')
			buf_reset(&ev->text);
		else if (have == 0 && data[i] != '{')
			continue; /* between two, or the rest of one whose beginning was lost */
		buf_addc(&ev->text, data[i]);
		if ((first && data[i] == '}') || ev->text.failed)
			event_whole(ev);
		else if (ev->text.len > CH_EVENT_MAX)
			buf_reset(&ev->text);
	}
}

void ch_events_read(struct ch_events *ev, int fd)
{
	char piece[4096];
	size_t taken = 0;
	ssize_t n;

	while (fd >= 0 && taken < EVENTS_MAX && (n = read(fd, piece, sizeof(piece))) > 0) {
		ch_events_take(ev, piece, (size_t)n);
		taken += (size_t)n;
	}
}
