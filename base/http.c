/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/http.c - an HTTP/1.1 client over TCP or a UNIX socket, every call with a deadline
 *
 * How it works: one easy and one multi handle of libcurl for each call, so that calls share nothing.
 * The multi interface is used for its poll alone: the cancel descriptor goes in as one more, and so a
 * cancel ends the call at once, whatever the other side does. Nothing is taken from the environment.
 */
#include "base/http.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/http-private.h"

/* One call on its way. */
struct call {
	const struct http_request *r;
	long *ret_status;
	CURL *easy;
	CURLM *multi;
	struct curl_slist *headers;
	int taken; /* 0, or the negative errno with which the answer's body was refused */
	char detail[CURL_ERROR_SIZE];
};

int http_init(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM;
}

void http_done(void)
{
	curl_global_cleanup();
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	const struct http_request *r = c->r;
	size_t len = size * n;

	/* A sink may want to know what it is given the body of. Without a head there is no body. */
	(void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, c->ret_status);
	if (r->sink) {
		c->taken = r->sink(r->sink_arg, data, len);
	} else if (r->answer) {
		if (len > r->answer_max || r->answer->len > r->answer_max - len) {
			c->taken = -EMSGSIZE;
		} else {
			buf_add(r->answer, data, len);
			c->taken = buf_error(r->answer);
		}
	}
	return c->taken < 0 ? CURL_WRITEFUNC_ERROR : len;
}

/* ---- setting up: each returns false when curl has no memory ------------------------------------ */

static bool set_long(const struct call *c, CURLoption option, long value)
{
	return curl_easy_setopt(c->easy, option, value) == CURLE_OK;
}

static bool set_text(const struct call *c, CURLoption option, const char *value)
{
	return curl_easy_setopt(c->easy, option, value) == CURLE_OK;
}

static bool add_header(struct call *c, const char *header)
{
	struct curl_slist *longer = curl_slist_append(c->headers, header);

	if (longer)
		c->headers = longer;
	return longer != NULL;
}

static bool set_headers(struct call *c)
{
	const char *const *h = c->r->headers;
	bool typed = false;

	/* Small servers do not know "Expect: 100-continue", and curl then waits a second. */
	if (!add_header(c, "Expect:"))
		return false;
	for (; h && *h; h++) {
		typed |= strncasecmp(*h, "Content-Type:", strlen("Content-Type:")) == 0;
		if (!add_header(c, *h))
			return false;
	}
	/* Else curl calls every body a form. */
	if (!typed && !add_header(c, "Content-Type:"))
		return false;
	return curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK;
}

static bool set_body(const struct call *c)
{
	const struct http_request *r = c->r;

	if (!r->body && strcmp(r->method, "GET") == 0)
		return true;
	/* A POST or PUT without a body says "Content-Length: 0". */
	return curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				(curl_off_t)(r->body ? r->body_len : 0)) == CURLE_OK &&
	       curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, r->body ? r->body : "") == CURLE_OK;
}

static bool set_callbacks(struct call *c)
{
	return curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c) == CURLE_OK &&
	       curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->detail) == CURLE_OK;
}

static bool set_up(struct call *c)
{
	const struct http_request *r = c->r;
	/* The deadline is ours to keep; 0 would mean curl's own limit of 300 s. */
	long connect_ms = r->connect_ms > 0 ? r->connect_ms : INT_MAX;
	bool ok = true;

	ok &= set_text(c, CURLOPT_URL, r->url);
	ok &= set_text(c, CURLOPT_CUSTOMREQUEST, r->method);
	ok &= set_text(c, CURLOPT_PROTOCOLS_STR, "http,https");
	ok &= set_text(c, CURLOPT_PROXY, "");
	if (r->unix_path)
		ok &= set_text(c, CURLOPT_UNIX_SOCKET_PATH, r->unix_path);
	ok &= set_long(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	ok &= set_long(c, CURLOPT_NOSIGNAL, 1);
	ok &= set_long(c, CURLOPT_FORBID_REUSE, 1);
	ok &= set_long(c, CURLOPT_FRESH_CONNECT, 1);
	ok &= set_long(c, CURLOPT_FOLLOWLOCATION, 0);
	ok &= set_long(c, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
	/* A cancel does not wait for a name server either. */
	ok &= set_long(c, CURLOPT_QUICK_EXIT, 1);
	return ok && set_callbacks(c) && set_headers(c) && set_body(c);
}

/* ---- the call ---------------------------------------------------------------------------------- */

int http_drive(CURLM *multi, const struct deadline *d)
{
	struct curl_waitfd cancel = {.fd = d->cancel_fd, .events = CURL_WAIT_POLLIN};
	unsigned extra = d->cancel_fd >= 0 ? 1 : 0;
	int running;

	for (;;) {
		int left;

		if (deadline_cancelled(d))
			return -ECANCELED;
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			return -EIO;
		if (!running)
			return 0;
		left = deadline_left_ms(d);
		if (left == 0)
			return -ETIMEDOUT;
		if (curl_multi_poll(multi, &cancel, extra, left < 0 ? INT_MAX : left, NULL) !=
		    CURLM_OK)
			return -EIO;
	}
}

CURLcode http_result(CURLM *multi)
{
	CURLcode result = CURLE_FAILED_INIT;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(multi, &left)))
		if (m->msg == CURLMSG_DONE)
			result = m->data.result;
	return result;
}

/* Why it could not connect, by the errno that curl kept. */
static int connect_errno(CURL *easy)
{
	long code = 0;

	(void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &code); /* else 0 stays */
	switch (code) {
	case ECONNREFUSED:
	case ENOENT: /* no socket of that name: nobody listens, just the same */
		return ECONNREFUSED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
		return EHOSTUNREACH;
	case ETIMEDOUT:
		return ETIMEDOUT;
	case ECONNRESET:
		return ECONNRESET;
	default:
		return EIO;
	}
}

int http_errno(CURL *easy, CURLcode result)
{
	switch ((int)result) {
	case CURLE_COULDNT_CONNECT:
		return connect_errno(easy);
	case CURLE_COULDNT_RESOLVE_HOST:
		return EHOSTUNREACH;
	case CURLE_OPERATION_TIMEDOUT:
		return ETIMEDOUT;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return ECONNRESET;
	default:
		return EIO;
	}
}

static const char *what_failed(const struct call *c, int code)
{
	switch (code) {
	case ETIMEDOUT:
		return "no answer in time";
	case ECANCELED:
		return "cancelled";
	case EMSGSIZE:
		return "the answer is too long";
	default:
		break;
	}
	if (c->taken < 0)
		return "its answer could not be taken";
	return c->detail[0] ? c->detail : "failed";
}

static int run(struct call *c, const struct deadline *d)
{
	CURLcode result;
	int r;

	if (!set_up(c) || curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
		return -EIO;
	r = http_drive(c->multi, d);
	result = r == 0 ? http_result(c->multi) : CURLE_OK;
	if (result == CURLE_WRITE_ERROR && c->taken < 0)
		return c->taken;
	return result == CURLE_OK ? r : -http_errno(c->easy, result);
}

/* Record what was asked of whom, and how it failed. */
static int fail(const struct call *c, int code, struct err *e)
{
	const struct http_request *r = c->r;

	return err_set(e, code, "%s %s%s%s: %s", r->method, r->url, r->unix_path ? " on " : "",
		       r->unix_path ? r->unix_path : "", what_failed(c, code));
}

int http_call(const struct http_request *r, const struct deadline *d, long *ret_status,
	      struct err *e)
{
	struct call c = {.r = r, .ret_status = ret_status};
	long status = 0;
	int result = -EIO;

	c.easy = curl_easy_init();
	c.multi = c.easy ? curl_multi_init() : NULL;
	if (c.multi) {
		result = run(&c, d);
		(void)curl_easy_getinfo(c.easy, CURLINFO_RESPONSE_CODE, &status); /* else 0 */
		if (status > 0)
			*ret_status = status;
		/* Only a handle that was never added is refused, which does no harm. */
		(void)curl_multi_remove_handle(c.multi, c.easy);
	}
	if (result < 0)
		result = fail(&c, -result, e);
	(void)curl_multi_cleanup(c.multi); /* takes NULL, as do the others */
	curl_easy_cleanup(c.easy);
	curl_slist_free_all(c.headers);
	return result;
}
