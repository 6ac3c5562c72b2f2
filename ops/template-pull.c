/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-pull.c - new versions from a URL, going on where an earlier pull broke off
 *
 * How it works: pull/part is what has come so far, appended as it comes, and pull/info says of which URL, digest and ETag.
 * A connection that breaks is made again, for as long as it brings something; anything else that ends the pull leaves
 * both files for the next one. What is wrong in the part, by a crash of the host or by a server that mixed two files, the
 * digest over the whole finds: then it is fetched once more from its beginning. The file is unpacked after its digest is
 * known to be right, and never before.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/room.h"
#include "ops/template-private.h"

enum {
	TRIES_MAX = 5,        /* in a row that brought nothing */
	PAUSE_MS = 500,       /* before the first of them, twice as long before each other */
	TELL_MS = 250,        /* between two looks at the progress by readers */
	LOOK_EVERY = 4 << 20, /* bytes between two looks at the room */
	INFO_MAX = 1 << 14,   /* bytes */
};

struct pull {
	struct template *t;
	const struct deadline *d;
	struct template_source want; /* of the part: etag, modified and bytes as the server said */
	int dir_fd, fd;              /* templates/NAME/pull and its part; owned */
	uint64_t at;                 /* length of the part */
	uint64_t best;               /* the most that it ever was */
	int64_t room_left;           /* bytes until the room is looked at again */
	int64_t told_ms;
	bool resumed;  /* the part is not from one answer alone */
	bool answered; /* the server has answered this pull once */
	struct err *e;
};

/* ---- what is on disk --------------------------------------------------------------------------- */

static int info_save(struct pull *p)
{
	AUTO_JSON o = json_object_new_object();
	const char *text = NULL;

	if (o && source_add_json(&p->want, o) == 0)
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (!text)
		return err_set(p->e, ENOMEM, "no memory");
	return file_replace(p->dir_fd, "info", 0600, text, strlen(text), p->e);
}

static int info_load(int dir_fd, struct template_source *ret)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_JSON o = NULL;
	int r = file_read(dir_fd, "info", INFO_MAX, &text, NULL);

	*ret = (struct template_source){0};
	if (r == 0)
		r = json_parse(buf_text(&text), text.len, &o, NULL);
	if (r == 0)
		source_from_json(o, ret);
	return r;
}

/* Nothing of it is kept. */
static void pull_remove(const struct template *t)
{
	struct err e = {0};

	if (file_remove_tree(t->dir_fd, "pull", &e) < 0)
		log_warning("template %s: %s, ignoring: the next pull tries again", t->name,
			    e.text);
}

static void show(struct pull *p, uint64_t bytes, uint64_t total)
{
	p->told_ms = clock_ms();
	pthread_mutex_lock(&template_lock);
	p->t->pull_bytes = bytes;
	p->t->pull_total = total;
	pthread_mutex_unlock(&template_lock);
	event_tell(p->t->serial, EVENT_STATUS);
}

void template_pull_load(struct template *t)
{
	struct template_source info;
	AUTO_FD dir_fd = -1;
	struct stat st;

	if (file_open_dir(t->dir_fd, "pull", &dir_fd, NULL) < 0 || info_load(dir_fd, &info) < 0 ||
	    fstatat(dir_fd, "part", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* there is none, or the next pull begins anew */
	t->pull_bytes = (uint64_t)st.st_size;
	t->pull_total = info.bytes;
}

/* Throw away what has come. */
static int begin_anew(struct pull *p)
{
	p->at = 0;
	p->resumed = false;
	p->want.bytes = 0;
	p->want.etag[0] = p->want.modified[0] = '\0';
	if (ftruncate(p->fd, 0) < 0)
		return err_sys(p->e, errno, "cannot empty pull/part");
	return info_save(p);
}

/* Open the part, with what an earlier pull of the same left in it. */
static int part_open(struct pull *p)
{
	struct template_source info;
	struct stat st;
	int r;

	if (mkdirat(p->t->dir_fd, "pull", 0700) < 0 && errno != EEXIST)
		return err_sys(p->e, errno, "cannot make a directory for the download");
	r = file_open_dir(p->t->dir_fd, "pull", &p->dir_fd, p->e);
	if (r < 0)
		return r;
	p->fd = openat(p->dir_fd, "part", O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	if (p->fd < 0 || fstat(p->fd, &st) < 0)
		return err_sys(p->e, errno, "cannot open pull/part");
	if (info_load(p->dir_fd, &info) < 0 || strcmp(info.url, p->want.url) != 0 ||
	    strcmp(info.sha256, p->want.sha256) != 0)
		return begin_anew(p);
	p->want = info;
	p->at = p->best = (uint64_t)st.st_size;
	p->resumed = p->at > 0;
	return 0;
}

/* ---- one answer -------------------------------------------------------------------------------- */

/* What the answer says goes to disk before the first byte of it does. */
static int take_head(void *arg, const struct fetch_answer *a)
{
	struct pull *p = arg;
	uint64_t total = a->total > 0 ? (uint64_t)a->total : 0;
	int r = 0;

	p->answered = true;
	if (a->from > 0 && p->want.bytes && total && total != p->want.bytes) {
		r = begin_anew(p);
		return r < 0 ? r : err_set(p->e, EAGAIN, "%s has changed", p->want.url);
	}
	if (a->from == 0 && p->at > 0 && ftruncate(p->fd, 0) < 0)
		return err_sys(p->e, errno, "cannot empty pull/part");
	p->at = a->from;
	p->resumed &= a->from > 0;
	if (total > p->at)
		r = room_check(total - p->at, p->e);
	p->want.bytes = total;
	if (a->from == 0 || a->etag[0] || a->modified[0]) {
		memcpy(p->want.etag, a->etag, sizeof(p->want.etag));
		memcpy(p->want.modified, a->modified, sizeof(p->want.modified));
	}
	if (r == 0)
		r = info_save(p);
	show(p, p->at, total);
	return r;
}

static int take_piece(void *arg, const char *data, size_t len)
{
	struct pull *p = arg;
	int r;

	p->room_left -= (int64_t)len;
	if (p->room_left < 0) {
		p->room_left = LOOK_EVERY;
		r = room_check(LOOK_EVERY, p->e);
		if (r < 0)
			return r;
	}
	r = file_write_all(p->fd, data, len);
	if (r < 0)
		return err_sys(p->e, -r, "cannot write what is downloaded");
	p->at += len;
	if (p->at > p->best)
		p->best = p->at;
	if (clock_ms() - p->told_ms >= TELL_MS)
		show(p, p->at, p->want.bytes);
	return 0;
}

/* A status other than that of a file. -EAGAIN: it may well go better later. */
static int status_error(const struct pull *p, long status)
{
	const char *url = p->want.url;

	switch (status) {
	case 404:
	case 410:
		return err_set(p->e, ENOENT, "%s: the server has no such file (HTTP %ld)", url,
			       status);
	case 401:
	case 403:
		return err_set(p->e, EACCES, "%s: the server does not give it (HTTP %ld)", url,
			       status);
	case 408:
	case 429:
		return err_set(p->e, EAGAIN, "%s: HTTP %ld", url, status);
	default:
		return err_set(p->e, status >= 500 ? EAGAIN : EIO, "%s: HTTP %ld", url, status);
	}
}

/* A weak ETag does not promise the same bytes. NULL: nothing does; the digest will tell. */
static const char *validator(const struct template_source *s)
{
	if (s->etag[0] == '"')
		return s->etag;
	return s->modified[0] ? s->modified : NULL;
}

static int fetch_rest(struct pull *p)
{
	struct fetch_request r = {
		.url = p->want.url,
		.from = p->at,
		.if_range = validator(&p->want),
		.begin = take_head,
		.sink = take_piece,
		.arg = p,
	};
	struct fetch_answer answer;
	int result;

	if (p->at > 0 && p->at == p->want.bytes)
		return 0; /* only what comes after it failed */
	result = fetch_file(&r, p->d, &answer, p->e);
	if (result < 0)
		return result;
	p->answered = true;
	if (answer.status == 200 || answer.status == 206)
		return 0;
	if (answer.status == 416 && p->at > 0)
		return 0; /* there is no more: is it whole? the digest tells */
	return status_error(p, answer.status);
}

/* ---- until it is whole ------------------------------------------------------------------------- */

/* May the same go better in a moment? */
static bool is_passing(int r)
{
	return r == -ECONNRESET || r == -ECONNREFUSED || r == -EHOSTUNREACH || r == -ETIMEDOUT ||
	       r == -EAGAIN;
}

static int pause_before_try(const struct pull *p, unsigned failed)
{
	struct deadline soon = deadline_within(p->d, (int64_t)PAUSE_MS << failed);

	if (deadline_poll(&soon, NULL, 0) == -ECANCELED)
		return err_set(p->e, ECANCELED, "the pull was cancelled");
	return 0;
}

/* A server that has not answered once is not waited for: the URL may be wrong. */
static int download(struct pull *p)
{
	unsigned failed = 0; /* in a row, without a byte more */

	for (;;) {
		uint64_t best = p->best;
		int r = fetch_rest(p);

		if (!is_passing(r) || !p->answered)
			return r;
		failed = p->best > best ? 0 : failed + 1;
		if (failed == TRIES_MAX)
			return err_wrap(p->e, "given up after %d tries that brought nothing",
					TRIES_MAX);
		log_debug("template %s: %s, going on at byte %llu", p->t->name, p->e->text,
			  (unsigned long long)p->at);
		p->resumed |= p->at > 0;
		r = pause_before_try(p, failed);
		if (r < 0)
			return r;
	}
}

static int verify(const struct pull *p)
{
	struct digest *digest = digest_new();
	char hex[DIGEST_HEX_SIZE] = "";
	int r = digest ? 0 : err_set(p->e, ENOMEM, "no memory");

	if (r == 0)
		r = digest_add_fd(digest, p->fd, p->d->cancel_fd, p->e);
	if (r == 0)
		digest_hex(digest, hex);
	digest_free(digest);
	if (r == 0 && strcmp(hex, p->want.sha256) != 0)
		return err_set(p->e, EBADMSG,
			       "%s has sha256 %s, not the one given; nothing is kept of it",
			       p->want.url, hex);
	return r;
}

static int fetch_whole(struct pull *p)
{
	int r = part_open(p);

	if (r == 0)
		r = fault_point("template-pull", p->d, p->e);
	if (r == 0)
		r = download(p);
	if (r == 0)
		r = verify(p);
	if (r == -EBADMSG && p->resumed) {
		log_info("template %s: %s: fetching it once more, as a whole", p->t->name,
			 p->e->text);
		p->best = 0;
		r = begin_anew(p);
		r = r == 0 ? download(p) : r;
		r = r == 0 ? verify(p) : r;
	}
	return r;
}

/* ---- the version ------------------------------------------------------------------------------- */

static int take_version(struct pull *p)
{
	struct template_parts parts = TEMPLATE_PARTS_NONE;
	int r = template_unpack(p->fd, &parts, p->d, p->e);

	for (int i = TEMPLATE_PART_KERNEL; i <= TEMPLATE_PART_INITRD && r == 0; i++)
		if (parts.fd[i] < 0)
			r = template_lend(i, &parts, p->e);
	if (parts.fd[TEMPLATE_PART_CONF] < 0)
		parts.conf = "cmdline=\n";
	parts.source = &p->want;
	if (r == 0)
		r = template_import_parts(p->t, &parts, p->d, p->e);
	template_parts_done(&parts);
	return r;
}

static bool is_current(struct template *t, const char *url, const char *sha256)
{
	bool same;

	pthread_mutex_lock(&template_lock);
	same = strcmp(t->source.url, url) == 0 && strcmp(t->source.sha256, sha256) == 0;
	pthread_mutex_unlock(&template_lock);
	return same;
}

/* The errors of the network that users are told of are two. */
static int told_as(int r, struct err *e)
{
	if (is_passing(r) && r != -ETIMEDOUT)
		e->code = EIO;
	return r < 0 ? -e->code : 0;
}

static int pull(struct pull *p)
{
	int r = fetch_whole(p);

	if (r == 0) {
		show(p, p->at, p->at);
		r = take_version(p);
	}
	/* What is wrong, or has no room, is of no use to the next pull; and what is taken over neither. */
	if (r == 0 || r == -EBADMSG || r == -ENOSPC || r == -EDQUOT) {
		pull_remove(p->t);
		show(p, 0, 0);
	} else {
		show(p, p->at, p->want.bytes);
	}
	return told_as(r, p->e);
}

int template_pull(struct template *t, const char *url, const char *sha256, const struct deadline *d,
		  struct err *e)
{
	struct err none = {0};
	struct pull p = {.t = t, .d = d, .dir_fd = -1, .fd = -1, .e = e ? e : &none};
	int r;

	if (is_current(t, url, sha256))
		return 0;
	(void)snprintf(p.want.url, sizeof(p.want.url), "%s", url);
	(void)snprintf(p.want.sha256, sizeof(p.want.sha256), "%s", sha256);
	template_doing(t, "pulling");
	r = pull(&p);
	fd_close(p.fd);
	fd_close(p.dir_fd);
	template_did(t, r, p.e);
	return r;
}
