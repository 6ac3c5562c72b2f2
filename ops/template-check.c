/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-check.c - is there a newer one where a template was pulled from?
 *
 * How it works: a file URL.sha256 beside the URL, as sha256sum writes it, says it for certain. Without one the head of
 * an answer is compared with what the server said when it was pulled. Whoever cannot be reached is reported and is no
 * error: the version that is here goes on being used.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/event.h"
#include "ops/template-private.h"

enum {
	CHECK_MS = 15000, /* for all of it; sbxfs(5) */
	SUM_DIGITS = DIGEST_HEX_SIZE - 1,
	SUM_MAX = 4096, /* bytes that are looked at of URL.sha256 */
};

static int take_sum(void *arg, const char *data, size_t len)
{
	struct buf *b = arg;
	size_t room = b->len < SUM_MAX ? SUM_MAX - b->len : 0;

	buf_add(b, data, len < room ? len : room);
	return buf_error(b);
}

/* The digest that @b begins with, in lower case. Return: is there one? */
static bool sum_of(const struct buf *b, char ret[DIGEST_HEX_SIZE])
{
	if (b->len < SUM_DIGITS ||
	    (b->len > SUM_DIGITS && !isspace((unsigned char)b->data[SUM_DIGITS])))
		return false;
	for (size_t i = 0; i < SUM_DIGITS; i++) {
		if (!isxdigit((unsigned char)b->data[i]))
			return false;
		ret[i] = (char)tolower((unsigned char)b->data[i]);
	}
	ret[SUM_DIGITS] = '\0';
	return true;
}

/* URL.sha256, before a query. */
static bool sum_url(const char *url, char ret[FETCH_URL_MAX])
{
	size_t path = strcspn(url, "?#");

	return (size_t)snprintf(ret, FETCH_URL_MAX, "%.*s.sha256%s", (int)path, url, url + path) <
	       FETCH_URL_MAX;
}

/* Ask for the sum. Return: 1 @ret is it; 0 there is none; negative: nobody could be asked. */
static int ask_sum(const struct template_source *s, const struct deadline *d,
		   char ret[DIGEST_HEX_SIZE], struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	struct fetch_request r = {.sink = take_sum, .arg = &text};
	struct fetch_answer answer;
	char url[FETCH_URL_MAX];
	int result;

	if (!sum_url(s->url, url))
		return 0;
	r.url = url;
	result = fetch_file(&r, d, &answer, e);
	if (result < 0)
		return result;
	return answer.status == 200 && sum_of(&text, ret);
}

/* Compare what the server says with what it said. Return: 1 newer; 0 current; negative: nobody could be asked. */
static int ask_head(const struct template_source *s, const struct deadline *d, struct err *e)
{
	struct fetch_request r = {.url = s->url, .head = true};
	struct fetch_answer a;
	int result = fetch_file(&r, d, &a, e);

	if (result < 0)
		return result;
	if (a.status != 200)
		return err_set(e, EIO, "%s: HTTP %ld", s->url, a.status);
	if (s->etag[0] && a.etag[0])
		return strcmp(s->etag, a.etag) != 0;
	if (s->modified[0] && a.modified[0])
		return strcmp(s->modified, a.modified) != 0;
	if (s->bytes && a.total > 0)
		return (uint64_t)a.total != s->bytes;
	return err_set(e, EIO, "%s: the server says nothing to tell versions by", s->url);
}

static int ask(const struct template_source *s, const struct deadline *d, struct buf *out,
	       struct err *e)
{
	char sum[DIGEST_HEX_SIZE];
	int r = ask_sum(s, d, sum, e);

	if (r == 1) {
		if (strcmp(sum, s->sha256) == 0)
			buf_adds(out, "current\n");
		else
			buf_addf(out, "newer sha256=%s\n", sum);
		return 0;
	}
	r = r < 0 ? r : ask_head(s, d, e);
	if (r >= 0)
		buf_adds(out, r ? "newer\n" : "current\n");
	return r < 0 ? r : 0;
}

static void note_time(struct template *t)
{
	struct err e = {0};

	pthread_mutex_lock(&template_lock);
	t->checked_ms = wall_ms();
	pthread_mutex_unlock(&template_lock);
	if (template_save(t, &e) < 0)
		log_warning("template %s: cannot keep when it was checked: %s, ignoring", t->name,
			    e.text);
	event_tell(t->serial, EVENT_STATUS);
}

int template_check(struct template *t, const struct deadline *d, struct buf *out, struct err *e)
{
	struct deadline until = deadline_within(d, CHECK_MS);
	struct template_source source;
	struct err why = {0};
	int r;

	pthread_mutex_lock(&template_lock);
	source = t->source;
	pthread_mutex_unlock(&template_lock);
	if (!source.url[0])
		return err_set(e, EINVAL,
			       "it was not pulled, so there is nobody to ask for a newer one");
	r = ask(&source, &until, out, &why);
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "%s", why.text);
	if (r < 0)
		buf_addf(out, "unreachable: %s; the local version stays in use\n", why.text);
	else
		note_time(t);
	return 0;
}
