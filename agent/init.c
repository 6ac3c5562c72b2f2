// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/init.c - POST /init: the host says who it is and how this guest is to be
 *
 * How it works: the first caller's token is obeyed from then on; later calls need it, in the header or in the
 * body, and one that shows it in the header may set another by the body. A host repeats /init until it is
 * answered, and repeats may overtake each other; so what is older than the newest timestamp seen is not
 * applied. Everything is checked before anything is changed: a refused request changes nothing.
 */
#include "agent/init.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/boot-parts.h"
#include "agent/boot.h"
#include "agent/http.h"
#include "agent/value.h"
#include "base/cleanup.h"
#include "base/json.h"

enum {
	TOKEN_MAX = 4096,
	MS = 1000,
	BEHIND_MAX_MS = 50,  /* a clock further behind than this is set ... */
	AHEAD_MAX_MS = 5000, /* ... and one further ahead: jumps back hurt programs more */
};

struct request {
	const char *token, *user, *cwd, *hostname,
		*dns;            /* NULL: not given; borrowed from the body */
	struct json_object *env; /* NULL: not given; borrowed */
	int64_t at_ms;           /* what time it is for the host; 0: not said */
};

/* "Z" or "+hh:mm" at @at as seconds east of UTC. Return: 0; -EINVAL. */
static int parse_zone(const char *at, int64_t *ret_seconds)
{
	if (strcmp(at, "Z") == 0 || strcmp(at, "z") == 0) {
		*ret_seconds = 0;
		return 0;
	}
	if (strlen(at) != strlen("+hh:mm") || (*at != '+' && *at != '-') || at[3] != ':')
		return -EINVAL;
	for (int i = 1; i <= 5; i++)
		if (i != 3 && !isdigit((unsigned char)at[i]))
			return -EINVAL;
	*ret_seconds = ((at[1] - '0') * 10 + at[2] - '0') * 3600LL +
		       ((at[4] - '0') * 10 + at[5] - '0') * 60LL;
	if (*at == '-')
		*ret_seconds = -*ret_seconds;
	return 0;
}

/* ".123456" at @at to milliseconds; where it ends. */
static const char *parse_fraction(const char *at, int64_t *ret_ms)
{
	int64_t unit = MS;

	*ret_ms = 0;
	if (*at != '.')
		return at;
	for (at++; isdigit((unsigned char)*at); at++) {
		unit /= 10;
		*ret_ms += (*at - '0') * unit;
	}
	return at;
}

/* RFC 3339, or decimal seconds. Return: 0; -EINVAL. */
static int parse_time(const char *text, int64_t *ret_ms)
{
	struct tm tm = {0};
	int64_t seconds, fraction, zone = 0;
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	char *end;

	if (at) {
		at = parse_fraction(at, &fraction);
		if (parse_zone(at, &zone))
			return -EINVAL;
		*ret_ms = (timegm(&tm) - zone) * MS + fraction;
		return 0;
	}
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	seconds = strtoll(text, &end, 10);
	at = parse_fraction(end, &fraction);
	if (errno || *at || seconds > INT64_MAX / MS - 1)
		return -EINVAL;
	*ret_ms = seconds * MS + fraction;
	return 0;
}

/* Empty text says as little as none. */
static const char *or_null(const char *text)
{
	return text && *text ? text : NULL;
}

static int read_time(struct json_object *body, struct request *r, struct err *e)
{
	struct json_object *v = value_at(body, "timestamp");

	if (!v)
		return 0;
	if (parse_time(json_object_get_string(v), &r->at_ms))
		return err_set(e, EINVAL, "timestamp is neither RFC 3339 nor seconds");
	return 0;
}

static bool hostname_is_valid(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr(".-_", name[i]))
			return false;
	return len < BOOT_HOST_SIZE;
}

static int read_env(struct json_object *body, struct request *r, struct err *e)
{
	r->env = value_at(body, "envVars");
	return r->env ? value_check_env(r->env, "envVars", e) : 0;
}

static int read_request(struct json_object *body, struct request *r, struct err *e)
{
	struct in_addr address;

	if (!json_object_is_type(body, json_type_object))
		return err_set(e, EINVAL, "the body is not a JSON object");
	if (value_text(body, "accessToken", &r->token, e) ||
	    value_text(body, "defaultUser", &r->user, e) ||
	    value_text(body, "defaultWorkdir", &r->cwd, e) ||
	    value_text(body, "hostname", &r->hostname, e) || value_text(body, "dns", &r->dns, e) ||
	    read_time(body, r, e) || read_env(body, r, e))
		return -EINVAL;
	r->token = or_null(r->token);
	r->user = or_null(r->user);
	r->cwd = or_null(r->cwd);
	r->hostname = or_null(r->hostname);
	r->dns = or_null(r->dns);
	if (r->token && strlen(r->token) > TOKEN_MAX)
		return err_set(e, EINVAL, "accessToken is longer than %d bytes", TOKEN_MAX);
	if (r->hostname && !hostname_is_valid(r->hostname))
		return err_set(e, EINVAL,
			       "hostname is not made of at most %d letters, digits, '.', '-', '_'",
			       BOOT_HOST_SIZE - 1);
	if (r->dns && inet_pton(AF_INET, r->dns, &address) != 1)
		return err_set(e, EINVAL, "dns is not an IPv4 address");
	return 0;
}

static void clock_set(int64_t want_ms)
{
	struct timespec now = {0};
	const struct timespec want = {.tv_sec = want_ms / MS, .tv_nsec = want_ms % MS * 1000000};
	int64_t ahead;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	ahead = (int64_t)now.tv_sec * MS + now.tv_nsec / 1000000 - want_ms;
	if ((ahead < -BEHIND_MAX_MS || ahead > AHEAD_MAX_MS) &&
	    clock_settime(CLOCK_REALTIME, &want))
		boot_say("cannot set the clock: %s, ignoring", strerrordesc_np(errno));
}

static void names_set(const struct request *r)
{
	struct boot_args args = {0};

	if (r->hostname)
		memcpy(args.host, r->hostname, strlen(r->hostname) + 1);
	args.has_dns = r->dns && inet_pton(AF_INET, r->dns, &args.dns) == 1;
	if (r->hostname || args.has_dns)
		boot_etc_write(&args);
}

/* Put a copy of @text in place of what is there; NULL leaves that. Return: 0; -ENOMEM. */
static int replace(char **place, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (!text)
		return 0;
	if (!copy)
		return -ENOMEM;
	free(*place);
	*place = copy;
	return 0;
}

/* The timestamp counts as seen only when all of it was applied. */
static int apply(struct agent *a, const struct request *r)
{
	if (r->at_ms && r->at_ms < a->init_ms)
		return 0;
	if (replace(&a->user, r->user) || replace(&a->cwd, r->cwd))
		return -ENOMEM;
	if (r->env) {
		json_object_put(a->env);
		a->env = json_object_get(r->env);
	}
	if (a->may_set) {
		if (r->at_ms)
			clock_set(r->at_ms);
		names_set(r);
	}
	if (r->at_ms)
		a->init_ms = r->at_ms;
	return 0;
}

void init_post(struct agent *a, struct evhttp_request *req)
{
	AUTO_JSON body = NULL;
	struct request r = {0};
	struct err e = {0};
	bool by_header = http_token_is(a, http_header(req, "X-Access-Token"));

	if (http_body(req, &body, &e) || read_request(body, &r, &e)) {
		/* Nor does a stranger learn what is wrong with the rest of his guess. */
		if (a->token && !by_header)
			http_error(req, 401, "the access token is missing or wrong");
		else
			http_error(req, HTTP_BADREQUEST, "%s", e.text);
		return;
	}
	if (a->token && !by_header && !http_token_is(a, r.token)) {
		http_error(req, 401, "another access token has been set already");
		return;
	}
	if (replace(&a->token, r.token) || apply(a, &r)) {
		http_error(req, HTTP_INTERNAL, "the agent is out of memory");
		return;
	}
	http_empty(req, HTTP_NOCONTENT);
}
