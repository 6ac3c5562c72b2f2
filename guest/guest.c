// SPDX-License-Identifier: GPL-2.0-or-later
/* guest/guest.c - the host's side of the agent: all calls but exec */
#include "guest/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/random.h"
#include "base/timefmt.h"
#include "guest/call.h"
#include "guest/env.h"

enum {
	HEALTH_MS = 250,
	ENTROPY_BYTES = 64,
	PREPARE_MAX_MS = 60000,
	PREPARE_SPARE = 4, /* this part of the time is the answer's */
};

static const struct guest_request ask_health = {"GET", "/health", NULL};
static const struct guest_request ask_metrics = {"GET", "/metrics", NULL};
static const struct guest_request ask_shutdown = {"POST", "/shutdown", NULL};
static const struct guest_request ask_sync = {"POST", "/sync", NULL};
static const struct guest_request ask_fsthaw = {"POST", "/fsthaw", NULL};

int guest_health(const struct guest *g, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_within(d, HEALTH_MS);
	AUTO_BUF answer = BUF_INIT;
	int r = guest_ask(g, &ask_health, &soon, &answer, e);

	if (r == 0 || r == -ECANCELED)
		return r;
	return err_set(e, EHOSTDOWN, "no guest agent answers at %s:%u", g->addr, g->port);
}

/* New random numbers for the guest, which may have the same as another has. */
static int add_entropy(struct json_object *o)
{
	unsigned char bytes[ENTROPY_BYTES];
	AUTO_BUF text = BUF_INIT;
	int r = random_bytes(bytes, sizeof(bytes));

	base64_add(&text, bytes, sizeof(bytes));
	explicit_bzero(bytes, sizeof(bytes));
	r = r ? r : buf_error(&text);
	return r ? r : json_add_text(o, "entropy", buf_text(&text));
}

static int add_resumed(struct json_object *o, const struct guest_setup *s)
{
	if (!s->resumed)
		return 0;
	if (json_add_bool(o, "resumed", true) || json_add_text(o, "lifecycleID", s->life))
		return -ENOMEM;
	return add_entropy(o);
}

static int init_body(const struct guest_setup *s, const char *token, struct buf *b)
{
	AUTO_JSON o = json_object_new_object();
	char now[TIME_TEXT_SIZE];
	const char *text;

	if (!o || json_add_text(o, "accessToken", token) ||
	    json_add_text(o, "timestamp", time_text(wall_ms(), now)) ||
	    json_add_text(o, "hostname", s->hostname) || json_add_text(o, "defaultUser", s->user) ||
	    json_add_text(o, "defaultWorkdir", s->cwd) || json_add_text(o, "dns", s->dns) ||
	    json_add_text(o, "machineId", s->machine_id) || env_add(o, "envVars", s->env) ||
	    add_resumed(o, s))
		return -ENOMEM;
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	buf_adds(b, text ? text : "");
	return text ? buf_error(b) : -ENOMEM;
}

/* What the agent says of itself; an agent that says nothing is an agent as well. */
static int read_facts(const struct guest *g, const struct deadline *d, struct guest_facts *ret,
		      struct err *e)
{
	AUTO_BUF answer = BUF_INIT;
	AUTO_JSON o = NULL;
	int r = guest_ask(g, &ask_health, d, &answer, e);

	*ret = (struct guest_facts){0};
	if (r)
		return r;
	if (answer.len && json_parse(buf_text(&answer), answer.len, &o, NULL) == 0) {
		guest_said(json_text_at(o, "version", ""), ret->agent_version,
			   sizeof(ret->agent_version));
		guest_said(json_text_at(o, "kernel", ""), ret->kernel_version,
			   sizeof(ret->kernel_version));
	}
	return 0;
}

int guest_init(const struct guest *g, const struct guest_setup *s, const struct deadline *d,
	       struct guest_facts *ret_facts, struct err *e)
{
	struct guest after = *g;
	AUTO_BUF body = BUF_INIT;
	AUTO_BUF answer = BUF_INIT;
	struct guest_request ask = {.method = "POST", .path = "/init"};
	int r;

	/* The present one goes into the header, this one into the body: the agent takes either. */
	if (s->token)
		after.token = s->token;
	r = init_body(s, after.token, &body);
	if (r == -EIO)
		return err_set(e, EIO, "the kernel gives no random bytes");
	if (r)
		return err_set(e, ENOMEM, "no memory for the first call to the guest agent");
	ask.body = buf_text(&body);
	r = guest_ask(g, &ask, d, &answer, e);
	return r ? r : read_facts(&after, d, ret_facts, e);
}

int guest_sync(const struct guest *g, const struct deadline *d, struct err *e)
{
	AUTO_BUF answer = BUF_INIT;

	return guest_ask(g, &ask_sync, d, &answer, e);
}

int guest_fsfreeze(const struct guest *g, int64_t hold_ms, const struct deadline *d, struct err *e)
{
	char body[48];
	const struct guest_request ask = {"POST", "/fsfreeze", body};
	AUTO_BUF answer = BUF_INIT;

	(void)snprintf(body, sizeof(body), "{\"hold_ms\":%" PRId64 "}", hold_ms); /* fits */
	return guest_ask(g, &ask, d, &answer, e);
}

int guest_fsthaw(const struct guest *g, const struct deadline *d, struct err *e)
{
	AUTO_BUF answer = BUF_INIT;

	return guest_ask(g, &ask_fsthaw, d, &answer, e);
}

int guest_shutdown(const struct guest *g, const struct deadline *d, struct err *e)
{
	AUTO_BUF answer = BUF_INIT;

	return guest_ask(g, &ask_shutdown, d, &answer, e);
}

int guest_mem_used(const struct guest *g, const struct deadline *d, uint64_t *ret_bytes,
		   struct err *e)
{
	AUTO_BUF answer = BUF_INIT;
	AUTO_JSON o = NULL;
	int64_t used;
	int r = guest_ask(g, &ask_metrics, d, &answer, e);

	if (r)
		return r;
	if (json_parse(buf_text(&answer), answer.len, &o, NULL))
		return err_set(e, EIO, "the guest agent's metrics are no JSON");
	used = json_int_at(o, "mem_used", -1);
	if (used < 0)
		return err_set(e, EIO, "the guest agent's metrics do not tell its memory");
	*ret_bytes = (uint64_t)used;
	return 0;
}

int guest_prepare(const struct guest *g, const struct deadline *d, struct err *e)
{
	int64_t left = deadline_left_ms(d);
	char body[48];
	const struct guest_request ask = {"POST", "/snapshot/prepare", body};
	AUTO_BUF answer = BUF_INIT;

	/* A guest that begins to answer when nobody listens any more has done all of it for nothing. */
	if (left < 0 || left > PREPARE_MAX_MS)
		left = PREPARE_MAX_MS;
	left -= left / PREPARE_SPARE;
	(void)snprintf(body, sizeof(body), "{\"limit_ms\":%" PRId64 "}", left); /* fits */
	return guest_ask(g, &ask, d, &answer, e);
}
