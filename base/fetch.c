/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/fetch.c - files from the outside by http and https
 *
 * How it works: one easy handle of libcurl for each hop. Redirects are followed here rather than by curl, so that each
 * hop has its own proxy and the rule "never from https to http" holds along the whole way. A stalled transfer is found by
 * a deadline that every byte moves on. The proxies are read from the environment once, since getenv() is not safe beside
 * threads; curl is told of them for each call and so never looks there itself.
 */
#include "base/fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/http-private.h"

enum {
	REDIRECTS_MAX = 10,
	CONNECT_MS = 15000,
	STALL_MS = 30000,
	IGNORED_MAX =
		64
		<< 10, /* bytes of an answer that nobody wants, read to learn where it redirects */
	STATUS_OK = 200,
	STATUS_PARTIAL = 206,
	STATUS_REDIRECTS = 300, /* to 399 */
	STATUS_ERRORS = 400,
};

/* One hop. */
struct call {
	const struct fetch_request *r;
	struct fetch_answer *answer;
	const struct deadline *d;
	struct deadline until; /* @d, or sooner when nothing comes */
	CURL *easy;
	CURLM *multi;
	struct curl_slist *headers;
	bool begun;     /* the head has been looked at */
	int taken;      /* 0, or the negative errno with which the answer was refused */
	size_t ignored; /* bytes thrown away */
	struct err *e;
	char detail[CURL_ERROR_SIZE];
};

/* ---- proxies ----------------------------------------------------------------------------------- */

static struct {
	char https[FETCH_URL_MAX], http[FETCH_URL_MAX], none[FETCH_URL_MAX];
} proxies;

/* The first of the variables @names that has a value; NULL-terminated. */
static void read_proxy(const char *const *names, char *ret, size_t size)
{
	const char *value = NULL;

	for (; *names && (!value || !*value); names++)
		value = getenv(*names); /* NOLINT(concurrency-mt-unsafe): before any thread */
	(void)snprintf(ret, size, "%s", value ? value : "");
}

void fetch_init(void)
{
	static const char *const https[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
					    NULL};
	/* HTTP_PROXY in capitals is what a CGI program gets from its client's "Proxy:", so nobody reads it. */
	static const char *const http[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
	static const char *const none[] = {"no_proxy", "NO_PROXY", NULL};

	read_proxy(https, proxies.https, sizeof(proxies.https));
	read_proxy(http, proxies.http, sizeof(proxies.http));
	read_proxy(none, proxies.none, sizeof(proxies.none));
}

/* ---- the answer -------------------------------------------------------------------------------- */

static void copy_header(const struct call *c, const char *name, char *ret, size_t size)
{
	struct curl_header *h;

	*ret = '\0';
	if (curl_easy_header(c->easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
	    strlen(h->value) < size)
		memcpy(ret, h->value, strlen(h->value) + 1);
}

/* "bytes FROM-TO/TOTAL", where TOTAL may be "*". */
static int read_range(struct call *c, int64_t length)
{
	char text[64], *end;

	copy_header(c, "Content-Range", text, sizeof(text));
	if (strncasecmp(text, "bytes ", 6) != 0 || strtoull(text + 6, &end, 10) != c->r->from ||
	    *end != '-')
		return err_set(c->e, EBADMSG,
			       "%s: asked for what comes behind byte %" PRIu64
			       ", it sent something else (Content-Range: %s)",
			       c->r->url, c->r->from, text);
	c->answer->from = c->r->from;
	end = strchr(end, '/');
	if (end && end[1] != '*')
		c->answer->total = strtoll(end + 1, NULL, 10);
	else if (length >= 0)
		c->answer->total = (int64_t)c->r->from + length;
	return 0;
}

static int read_head(struct call *c)
{
	struct fetch_answer *a = c->answer;
	curl_off_t length = -1;

	c->begun = true;
	*a = (struct fetch_answer){.total = -1};
	(void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &a->status); /* else 0 */
	(void)curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	copy_header(c, "ETag", a->etag, sizeof(a->etag));
	copy_header(c, "Last-Modified", a->modified, sizeof(a->modified));
	if (a->status == STATUS_PARTIAL)
		return read_range(c, length);
	a->total = length;
	return 0;
}

static bool is_wanted(const struct call *c)
{
	return !c->r->head &&
	       (c->answer->status == STATUS_OK || c->answer->status == STATUS_PARTIAL);
}

/* The head has come whole. */
static int begin(struct call *c)
{
	int r = read_head(c);

	return r == 0 && is_wanted(c) && c->r->begin ? c->r->begin(c->r->arg, c->answer) : r;
}

static void alive(struct call *c)
{
	c->until = deadline_within(c->d, c->r->stall_ms > 0 ? c->r->stall_ms : STALL_MS);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is curl's */
static size_t take_header(char *data, size_t size, size_t n, void *arg)
{
	(void)data; /* read by its name later */
	alive(arg);
	return size * n;
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t len = size * n;

	alive(c);
	if (!c->begun)
		c->taken = begin(c);
	if (c->taken == 0 && is_wanted(c)) {
		c->taken = c->r->sink(c->r->arg, data, len);
	} else if (c->taken == 0) {
		c->ignored += len;
		if (c->ignored > IGNORED_MAX)
			return CURL_WRITEFUNC_ERROR;
	}
	return c->taken < 0 ? CURL_WRITEFUNC_ERROR : len;
}

/* ---- one hop ----------------------------------------------------------------------------------- */

static bool set_long(const struct call *c, CURLoption option, long value)
{
	return curl_easy_setopt(c->easy, option, value) == CURLE_OK;
}

static bool set_text(const struct call *c, CURLoption option, const char *value)
{
	return curl_easy_setopt(c->easy, option, value) == CURLE_OK;
}

static bool set_range(struct call *c)
{
	char text[sizeof(c->answer->etag) + 16];

	if (c->r->from == 0)
		return true;
	(void)snprintf(text, sizeof(text), "%" PRIu64 "-", c->r->from);
	if (!set_text(c, CURLOPT_RANGE, text))
		return false;
	if (!c->r->if_range)
		return true;
	(void)snprintf(text, sizeof(text), "If-Range: %s", c->r->if_range);
	c->headers = curl_slist_append(NULL, text);
	return c->headers && curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK;
}

static bool set_callbacks(struct call *c)
{
	return curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
	       curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c) == CURLE_OK &&
	       curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c) == CURLE_OK &&
	       curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->detail) == CURLE_OK;
}

static bool is_https(const char *url)
{
	return strncasecmp(url, "https:", 6) == 0;
}

static bool set_up(struct call *c, const char *url)
{
	bool ok = true;

	ok &= set_text(c, CURLOPT_URL, url);
	ok &= set_text(c, CURLOPT_PROTOCOLS_STR, "http,https");
	ok &= set_text(c, CURLOPT_PROXY, is_https(url) ? proxies.https : proxies.http);
	ok &= set_text(c, CURLOPT_NOPROXY, proxies.none);
	ok &= set_text(c, CURLOPT_USERAGENT, "sbxfs/" SBXFS_VERSION);
	ok &= set_long(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	ok &= set_long(c, CURLOPT_NOSIGNAL, 1);
	ok &= set_long(c, CURLOPT_NOBODY, c->r->head);
	ok &= set_long(c, CURLOPT_FOLLOWLOCATION, 0);
	ok &= set_long(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	/* A cancel does not wait for a name server either. */
	ok &= set_long(c, CURLOPT_QUICK_EXIT, 1);
	return ok && set_callbacks(c) && set_range(c);
}

/* Why the hop failed with @r, in words for the user, unless a callback has found them already. */
static int fail(const struct call *c, const char *url, int r)
{
	if (c->taken < 0)
		return c->taken;
	if (r == -ECANCELED)
		return err_set(c->e, ECANCELED, "%s: cancelled", url);
	if (r == -ETIMEDOUT && !c->detail[0])
		return err_set(c->e, ETIMEDOUT, "%s: nothing came for too long", url);
	return err_set(c->e, -r, "%s: %s", url, c->detail[0] ? c->detail : "failed");
}

static int run(struct call *c, const char *url)
{
	CURLcode result;
	int r;

	if (!set_up(c, url) || curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
		return fail(c, url, -ENOMEM);
	alive(c);
	r = http_drive(c->multi, &c->until);
	result = r == 0 ? http_result(c->multi) : CURLE_OK;
	if (result == CURLE_WRITE_ERROR && c->taken == 0 && c->ignored > IGNORED_MAX)
		return 0; /* it was ended here: its status is all that counts */
	if (result != CURLE_OK)
		r = -http_errno(c->easy, result);
	if (r == 0 && !c->begun)
		c->taken = r = begin(c);
	return r < 0 ? fail(c, url, r) : 0;
}

/* Where the answer sends us, into @url. Return: 0 nowhere; 1; -EPERM, -EIO. */
static int next_hop(const struct call *c, char *url)
{
	const char *next = NULL;

	if (c->answer->status < STATUS_REDIRECTS || c->answer->status >= STATUS_ERRORS)
		return 0;
	(void)curl_easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &next); /* else NULL */
	if (!next)
		return 0;
	if (is_https(url) && !is_https(next))
		return err_set(c->e, EPERM,
			       "%s: it redirects from https to %s, which is not followed", url,
			       next);
	if (strlen(next) >= FETCH_URL_MAX)
		return err_set(c->e, EIO, "%s: it redirects to a URL that is too long", url);
	memcpy(url, next, strlen(next) + 1);
	return 1;
}

/* One request and its answer. Return: 0; 1 with @url the one to ask next; negative errno. */
static int hop(struct call *c, char *url)
{
	int r;

	c->easy = curl_easy_init();
	c->multi = c->easy ? curl_multi_init() : NULL;
	if (c->multi) {
		r = run(c, url);
		r = r == 0 ? next_hop(c, url) : r;
		/* Only a handle that was never added is refused, which does no harm. */
		(void)curl_multi_remove_handle(c->multi, c->easy);
	} else {
		r = err_set(c->e, ENOMEM, "no memory");
	}
	(void)curl_multi_cleanup(c->multi); /* takes NULL, as do the others */
	curl_easy_cleanup(c->easy);
	curl_slist_free_all(c->headers);
	return r;
}

int fetch_file(const struct fetch_request *r, const struct deadline *d, struct fetch_answer *ret,
	       struct err *e)
{
	char url[FETCH_URL_MAX];
	struct err none = {0};

	*ret = (struct fetch_answer){.total = -1};
	(void)snprintf(url, sizeof(url), "%s", r->url);
	for (int hops = 0; hops <= REDIRECTS_MAX; hops++) {
		struct call c = {.r = r, .answer = ret, .d = d, .e = e ? e : &none};
		int result = hop(&c, url);

		if (result <= 0)
			return result;
	}
	return err_set(e, EIO, "%s: more than %d redirects", r->url, REDIRECTS_MAX);
}

/* ---- URLs -------------------------------------------------------------------------------------- */

static bool has_part(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK && *text;

	curl_free(text);
	return has;
}

int fetch_check_url(const char *url, struct err *e)
{
	CURLU *u = curl_url();
	int r = 0;

	if (!u)
		return err_set(e, ENOMEM, "no memory");
	if (strlen(url) >= FETCH_URL_MAX || !(is_https(url) || strncasecmp(url, "http:", 5) == 0) ||
	    curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK || !has_part(u, CURLUPART_HOST))
		r = err_set(e, EINVAL, "%.200s is not a URL of http or https", url);
	else if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
		r = err_set(
			e, EINVAL,
			"a URL with a user or a password would be shown to all who may read status");
	curl_url_cleanup(u);
	return r;
}
