/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/fetch.h - files from the outside by http and https: from where an earlier fetch stopped, through proxies */
#ifndef SBXFS_BASE_FETCH_H
#define SBXFS_BASE_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/err.h"

enum {
	FETCH_URL_MAX = 2048, /* bytes of a URL, with the NUL */
};

/* Read which proxies the environment names (https_proxy, http_proxy, all_proxy, no_proxy). Once, before any thread. */
void fetch_init(void);

/* What the head of an answer says. */
struct fetch_answer {
	long status;       /* HTTP's, of the last answer after redirects; 0: none came */
	uint64_t from;     /* the byte of the file that its body begins at */
	int64_t total;     /* length of the whole file; -1: it does not say */
	char etag[256];    /* "": none, or one that is too long to keep */
	char modified[64]; /* Last-Modified; "": none */
};

struct fetch_request {
	const char *url; /* http or https; fetch_check_url() */
	bool head;       /* ask for the head alone */
	uint64_t from;   /* ask for what comes behind so many bytes; 0: for the whole file */
	const char *
		if_range; /* ETag or Last-Modified that the rest must belong to, else the whole comes; NULL: none */
	int stall_ms; /* -ETIMEDOUT after so long without a byte; 0: 30 s */

	/* Called with each answer of status 200 or 206, before its body (not when @head), then with the body's pieces. Each
	 * returns 0, or a negative errno to end the fetch with: then it has filled the struct err itself. begin: NULL for none. */
	int (*begin)(void *arg, const struct fetch_answer *a);
	int (*sink)(void *arg, const char *data, size_t len);
	void *arg;
};

/* Is it one that can be fetched: http or https, a host, no user and password (which readers of status would see)? 0; -EINVAL. */
int fetch_check_url(const char *url, struct err *e);

/**
 * fetch_file() - Fetch a file, or what is missing of it, following up to 10 redirects
 * @r:   borrowed
 * @d:   ends it with -ETIMEDOUT or -ECANCELED
 * @ret: filled as far as an answer came, also on failure
 *
 * Certificates are verified against the system's store; there are no cookies and no .netrc; a redirect never leads from
 * https to http. The body of a status other than 200 and 206 is thrown away.
 *
 * Context: blocks; any thread.
 * Return: 0 with any status; -ECONNREFUSED, -EHOSTUNREACH, -ECONNRESET (also: cut short), -ETIMEDOUT, -ECANCELED; -EPERM a
 *         redirect that is not followed; -EBADMSG another range than was asked for; what begin or sink returned; -EIO for
 *         the rest.
 */
int fetch_file(const struct fetch_request *r, const struct deadline *d, struct fetch_answer *ret,
	       struct err *e);

#endif
