// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/init.c - POST /init: the host says who it is and how this guest is to be
 *
 * How it works: the first caller's token is obeyed from then on; later calls need it, in the header or in the
 * body, and one that shows it in the header may set another by the body. A host repeats /init until it is
 * answered, and repeats may overtake each other; so what is older than the newest timestamp seen is not
 * applied. Everything is checked before anything is changed: a refused request changes nothing.
 *
 * A machine that goes on from saved memory knows nothing of the time in between, and may be one of several that go on from the same. Its
 * host says so, with a name for this going on: the first call with that name counts whatever the times say, and is the end of all
 * connections of before; what else comes with it is a repeat.
 */
#include "agent/init.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "agent/boot-parts.h"
#include "agent/boot.h"
#include "agent/connection.h"
#include "agent/http.h"
#include "agent/process.h"
#include "agent/value.h"
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json.h"

enum {
	TOKEN_MAX = 4096,
	MS = 1000,
	BEHIND_MAX_MS = 50,  /* a clock further behind than this is set ... */
	AHEAD_MAX_MS = 5000, /* ... and one further ahead: jumps back hurt programs more */
	ENTROPY_BYTES = 64,
	MACHINE_ID_LEN = 32,
	LIFE_MAX = 256,
};

struct request {
	const char *token, *user, *cwd, *hostname,
		*dns;                            /* NULL: not given; borrowed from the body */
	const char *machine_id, *entropy, *life; /* likewise */
	struct json_object *env;                 /* NULL: not given; borrowed */
	int64_t at_ms;                           /* what time it is for the host; 0: not said */
	bool resumed;                            /* the machine has stood still until now */
	unsigned char seed[ENTROPY_BYTES];       /* what entropy stands for */
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

static int read_identity(struct json_object *body, struct request *r, struct err *e)
{
	static const char digits[] = "0123456789abcdef";

	if (value_text(body, "machineId", &r->machine_id, e) ||
	    value_text(body, "lifecycleID", &r->life, e) ||
	    value_text(body, "lifecycleId", &r->life, e) ||
	    value_bool(body, "resumed", &r->resumed, e))
		return -EINVAL;
	r->machine_id = or_null(r->machine_id);
	r->life = or_null(r->life);
	if (r->machine_id && (strlen(r->machine_id) != MACHINE_ID_LEN ||
			      strspn(r->machine_id, digits) != MACHINE_ID_LEN))
		return err_set(e, EINVAL, "machineId is not made of %d digits 0-9a-f",
			       MACHINE_ID_LEN);
	if (r->life && strlen(r->life) > LIFE_MAX)
		return err_set(e, EINVAL, "lifecycleId is longer than %d bytes", LIFE_MAX);
	return 0;
}

static int read_entropy(struct json_object *body, struct request *r, struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	if (value_text(body, "entropy", &r->entropy, e))
		return -EINVAL;
	r->entropy = or_null(r->entropy);
	if (!r->entropy)
		return 0;
	if (base64_decode(&b, r->entropy, strlen(r->entropy)) || b.len != ENTROPY_BYTES)
		return err_set(e, EINVAL, "entropy is not the base64 of %d bytes", ENTROPY_BYTES);
	memcpy(r->seed, b.data, ENTROPY_BYTES);
	return 0;
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
	    read_time(body, r, e) || read_env(body, r, e) || read_identity(body, r, e) ||
	    read_entropy(body, r, e))
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

static void clock_set(int64_t want_ms, bool whatever)
{
	struct timespec now = {0};
	const struct timespec want = {.tv_sec = want_ms / MS, .tv_nsec = want_ms % MS * 1000000};
	int64_t ahead;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	ahead = (int64_t)now.tv_sec * MS + now.tv_nsec / 1000000 - want_ms;
	if ((whatever || ahead < -BEHIND_MAX_MS || ahead > AHEAD_MAX_MS) &&
	    clock_settime(CLOCK_REALTIME, &want))
		boot_say("cannot set the clock: %s, ignoring", strerrordesc_np(errno));
}

/* The kernel's generator takes it in, and whoever asks from now on gets what comes of it. */
static void entropy_add(const struct request *r)
{
	AUTO_FREE struct rand_pool_info *pool = calloc(1, sizeof(*pool) + ENTROPY_BYTES);
	AUTO_FD fd = open("/dev/random", O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (!pool) {
		boot_say("no memory to renew the random numbers, ignoring");
		return;
	}
	pool->entropy_count = ENTROPY_BYTES * 8;
	pool->buf_size = ENTROPY_BYTES;
	memcpy(pool->buf, r->seed, ENTROPY_BYTES);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, pool) || ioctl(fd, RNDRESEEDCRNG))
		boot_say("cannot renew the random numbers: %s, ignoring", strerrordesc_np(errno));
	explicit_bzero(pool->buf, ENTROPY_BYTES);
}

static void names_set(const struct request *r)
{
	struct boot_args args = {0};

	if (r->hostname)
		memcpy(args.host, r->hostname, strlen(r->hostname) + 1);
	args.has_dns = r->dns && inet_pton(AF_INET, r->dns, &args.dns) == 1;
	if (r->hostname || args.has_dns)
		boot_etc_write(&args);
	if (r->machine_id)
		boot_etc_machine_id(r->machine_id);
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

static bool is_new_life(const struct agent *a, const struct request *r)
{
	return r->resumed && !(r->life && a->life && strcmp(r->life, a->life) == 0);
}

static void machine_set(const struct request *r)
{
	/* Random numbers first: nothing that is made anew from here on is to be another machine's too. */
	if (r->entropy)
		entropy_add(r);
	if (r->at_ms)
		clock_set(r->at_ms, r->resumed);
	names_set(r);
}

/* The timestamp counts as seen only when all of it was applied. */
static int apply(struct agent *a, const struct request *r, bool new_life)
{
	if (r->at_ms && r->at_ms < a->init_ms && !new_life)
		return 0;
	if (replace(&a->user, r->user) || replace(&a->cwd, r->cwd) ||
	    (new_life && replace(&a->life, r->life)))
		return -ENOMEM;
	if (r->env) {
		json_object_put(a->env);
		a->env = json_object_get(r->env);
	}
	if (a->may_set)
		machine_set(r);
	if (r->at_ms)
		a->init_ms = r->at_ms;
	return 0;
}

void init_post(struct agent *a, struct evhttp_request *req)
{
	AUTO_JSON body = NULL;
	struct request r = {0};
	struct err e = {0};
	bool new_life, by_header = http_token_is(a, http_header(req, "X-Access-Token"));

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
	new_life = is_new_life(a, &r);
	if (new_life) {
		process_resumed(a);
		connection_cut_others(req);
	} else {
		process_pause_over(a);
	}
	if (replace(&a->token, r.token) || apply(a, &r, new_life)) {
		http_error(req, HTTP_INTERNAL, "the agent is out of memory");
		return;
	}
	http_empty(req, HTTP_NOCONTENT);
}
