/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/text.c - what files read as
 *
 * How it works: a view of the object is taken once, then a table of keys goes over it: one row is a key,
 * how its field is written, and where in the view the field lies. The same rows make status and
 * status.json, so that the two cannot differ. A field that adds nothing is unknown: empty in the one,
 * null in the other.
 */
#include "fs/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timefmt.h"
#include "ops/host.h"
#include "ops/net.h"
#include "ops/ports.h"
#include "ops/snapshot.h"

struct key {
	const char *name;
	bool number; /* in JSON: as it is, no quotes */
	void (*add)(const void *field, struct buf *b);
	size_t offset; /* of the field in the view */
};

/* ---- how fields are written ---------------------------------------------------------------------------- */

/* A char array. */
static void add_text(const void *field, struct buf *b)
{
	buf_adds(b, field);
}

/* A const char *. */
static void add_pointer(const void *field, struct buf *b)
{
	const char *text = *(const char *const *)field;

	buf_adds(b, text ? text : "");
}

static void add_unsigned(const void *field, struct buf *b)
{
	buf_addf(b, "%u", *(const unsigned *)field);
}

static void add_u64(const void *field, struct buf *b)
{
	buf_addf(b, "%" PRIu64, *(const uint64_t *)field);
}

/* 0: not known. */
static void add_known(const void *field, struct buf *b)
{
	if (*(const uint64_t *)field)
		add_u64(field, b);
}

/* 0: none. */
static void add_pid(const void *field, struct buf *b)
{
	pid_t pid = *(const pid_t *)field;

	if (pid)
		buf_addf(b, "%ld", (long)pid);
}

static void add_uid(const void *field, struct buf *b)
{
	buf_addf(b, "%lu", (unsigned long)*(const uid_t *)field);
}

static void add_gid(const void *field, struct buf *b)
{
	buf_addf(b, "%lu", (unsigned long)*(const gid_t *)field);
}

static void add_time(const void *field, struct buf *b)
{
	char text[TIME_TEXT_SIZE];

	buf_adds(b, time_text(*(const int64_t *)field, text));
}

static void add_state(const void *field, struct buf *b)
{
	buf_adds(b, sbx_state_name(*(const enum sbx_state *)field));
}

static void add_daemon_version(const void *field, struct buf *b)
{
	(void)field; /* the same for all */
	buf_adds(b, SBXFS_VERSION);
}

/* ---- the keys ------------------------------------------------------------------------------------------ */

/* clang-format off */
#define VIEW(field) offsetof(struct sbx_view, field)

/* In the order in which they are shown; keys are only ever added. */
static const struct key sbx_keys[] = {
	{"name",                 false, add_text,           VIEW(name)},
	{"id",                   false, add_text,           VIEW(id)},
	{"state",                false, add_state,          VIEW(state)},
	{"template",             false, add_text,           VIEW(template_name)},
	{"owner",                true,  add_uid,            VIEW(uid)},
	{"group",                true,  add_gid,            VIEW(gid)},
	{"vmm",                  false, add_pointer,        VIEW(vmm)},
	{"accel",                false, add_pointer,        VIEW(accel)},
	{"storage",              false, add_pointer,        VIEW(storage)},
	{"network",              false, add_pointer,        VIEW(network)},
	{"vcpus",                true,  add_unsigned,       VIEW(vcpus)},
	{"memory_mb",            true,  add_u64,            VIEW(memory_mb)},
	{"disk_mb",              true,  add_u64,            VIEW(disk_mb)},
	{"pid",                  true,  add_pid,            VIEW(pid)},
	{"host_ip",              false, add_text,           VIEW(host_ip)},
	{"guest_ip",             false, add_text,           VIEW(guest_ip)},
	{"created",              false, add_time,           VIEW(created_ms)},
	{"started",              false, add_time,           VIEW(started_ms)},
	{"last_active",          false, add_time,           VIEW(active_ms)},
	{"timeout_sec",          true,  add_unsigned,       VIEW(timeout_sec)},
	{"restart_count",        true,  add_unsigned,       VIEW(restart_count)},
	{"exit_reason",          false, add_text,           VIEW(exit_reason)},
	{"health",               false, add_text,           VIEW(health)},
	{"agent_version",        false, add_text,           VIEW(facts.agent_version)},
	{"kernel_version",       false, add_text,           VIEW(facts.kernel_version)},
	{"vmm_version",          false, add_pointer,        VIEW(vmm_version)},
	{"sbxfs_version",        false, add_daemon_version, 0},
	{"cow_used_bytes",       true,  add_known,          VIEW(cow_used_bytes)},
	{"cow_total_bytes",      true,  add_known,          VIEW(cow_total_bytes)},
	{"guest_mem_used_bytes", true,  add_known,          VIEW(mem_used_bytes)},
	{"job",                  false, add_text,           VIEW(job)},
	{"last_error",           false, add_text,           VIEW(last_error)},
	{NULL, false, NULL, 0}
};

#undef VIEW
#define VIEW(field) offsetof(struct template_view, field)

static const struct key template_keys[] = {
	{"name",         false, add_text,     VIEW(name)},
	{"state",        false, add_pointer,  VIEW(state)},
	{"digest",       false, add_text,     VIEW(digest)},
	{"owner",        true,  add_uid,      VIEW(uid)},
	{"group",        true,  add_gid,      VIEW(gid)},
	{"rootfs_bytes", true,  add_known,    VIEW(rootfs_bytes)},
	{"disk_bytes",   true,  add_known,    VIEW(disk_bytes)},
	{"used_by",      true,  add_unsigned, VIEW(used_by)},
	{"warm",         false, add_pointer,  VIEW(warm)},
	{"warm_bytes",   true,  add_known,    VIEW(warm_bytes)},
	{"created",      false, add_time,     VIEW(created_ms)},
	{"imported",     false, add_time,     VIEW(imported_ms)},
	{"source",       false, add_text,     VIEW(source.url)},
	{"sha256",       false, add_text,     VIEW(source.sha256)},
	{"pull_bytes",   true,  add_known,    VIEW(pull_bytes)},
	{"pull_total",   true,  add_known,    VIEW(pull_total)},
	{"checked",      false, add_time,     VIEW(checked_ms)},
	{"last_error",   false, add_text,     VIEW(last_error)},
	{NULL, false, NULL, 0}
};

#undef VIEW
/* clang-format on */

void text_dump_keys(struct buf *b)
{
	for (const struct key *k = sbx_keys; k->name; k++)
		buf_addf(b, "status %s\n", k->name);
	for (const struct key *k = template_keys; k->name; k++)
		buf_addf(b, "status %s\n", k->name);
}

static const void *field_of(const struct key *k, const void *view)
{
	return (const char *)view + k->offset;
}

static void add_lines(const struct key *k, const void *view, struct buf *b)
{
	AUTO_BUF value = BUF_INIT;

	for (; k->name; k++) {
		buf_reset(&value);
		k->add(field_of(k, view), &value);
		buf_addf(b, "%s=", k->name);
		buf_add_escaped(b, buf_text(&value));
		buf_addc(b, '\n');
	}
}

/* The members of an object, without its braces. */
static void add_members(const struct key *k, const void *view, struct buf *b)
{
	AUTO_BUF value = BUF_INIT;
	const char *comma = "";

	for (; k->name; k++, comma = ",") {
		buf_reset(&value);
		k->add(field_of(k, view), &value);
		buf_addf(b, "%s\"%s\":", comma, k->name);
		if (value.len == 0)
			buf_adds(b, "null");
		else if (k->number)
			buf_adds(b, buf_text(&value));
		else
			buf_add_json(b, buf_text(&value));
	}
}

/* ---- the daemon's files -------------------------------------------------------------------------------- */

int text_host_status(const struct object *o, struct buf *b)
{
	(void)o; /* the daemon is no object */
	host_status(b);
	return 0;
}

int text_host_status_json(const struct object *o, struct buf *b)
{
	(void)o;
	host_status_json(b);
	return 0;
}

int text_host_ps(const struct object *o, struct buf *b)
{
	(void)o;
	host_ps(b);
	return 0;
}

int text_version(const struct object *o, struct buf *b)
{
	(void)o;
	buf_adds(b, "sbxfs " SBXFS_VERSION "\n");
	return 0;
}

/* ---- a template's files -------------------------------------------------------------------------------- */

int text_template_status(const struct object *o, struct buf *b)
{
	struct template_view view;

	template_view(o->template, &view);
	add_lines(template_keys, &view, b);
	return 0;
}

int text_template_status_json(const struct object *o, struct buf *b)
{
	struct template_view view;

	template_view(o->template, &view);
	buf_addc(b, '{');
	add_members(template_keys, &view, b);
	buf_adds(b, "}\n");
	return 0;
}

int text_template_config(const struct object *o, struct buf *b)
{
	struct config own = {0}, all = {0};
	int r = template_own_config(o->template, &own);

	if (r == 0)
		r = template_config(o->template, &all);
	if (r == 0)
		config_render(&own, &all, b);
	config_done(&own);
	config_done(&all);
	return r;
}

/* ---- a sandbox's files --------------------------------------------------------------------------------- */

/* Its own settings; config_done() is the caller's, whatever is returned. */
static int config_of(struct sbx *s, struct config *ret)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = config_copy(&s->config, ret);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int text_state(const struct object *o, struct buf *b)
{
	buf_addf(b, "%s\n", sbx_state_name(sbx_state(o->sbx)));
	return 0;
}

int text_status(const struct object *o, struct buf *b)
{
	struct sbx_view view;

	sbx_view(o->sbx, &view);
	add_lines(sbx_keys, &view, b);
	return 0;
}

/* The pairs whose keys begin with @prefix, as one JSON object. */
static void add_pairs(const struct config *c, const char *prefix, struct buf *b)
{
	size_t len = strlen(prefix);
	const char *comma = "";

	buf_addc(b, '{');
	for (const struct config_pair *p = c->pairs; p; p = p->next) {
		if (strncmp(p->key, prefix, len) != 0)
			continue;
		buf_adds(b, comma);
		buf_add_json(b, p->key + len);
		buf_addc(b, ':');
		buf_add_json(b, p->value);
		comma = ",";
	}
	buf_addc(b, '}');
}

int text_status_json(const struct object *o, struct buf *b)
{
	struct config c = {0};
	struct sbx_view view;
	int r = config_of(o->sbx, &c);

	if (r == 0) {
		sbx_view(o->sbx, &view);
		buf_addc(b, '{');
		add_members(sbx_keys, &view, b);
		buf_adds(b, ",\"labels\":");
		add_pairs(&c, "label.", b);
		buf_adds(b, ",\"env\":");
		add_pairs(&c, "env.", b);
		buf_adds(b, "}\n");
	}
	config_done(&c);
	return r;
}

int text_config(const struct object *o, struct buf *b)
{
	struct template_version *version = calloc(1, sizeof(*version));
	struct config c = {0};
	struct sbx_view view;
	bool found = false;
	int r = version ? config_of(o->sbx, &c) : -ENOMEM;

	if (r == 0) {
		sbx_view(o->sbx, &view);
		found = template_version_find(view.template_name, version, NULL) == 0;
		config_render(&c, found ? &version->defaults : NULL, b);
	}
	if (found)
		template_version_done(version);
	free(version);
	config_done(&c);
	return r;
}

/* One word and a newline; nothing at all when it is not known. */
static int add_word(const char *word, struct buf *b)
{
	if (word[0])
		buf_addf(b, "%s\n", word);
	return 0;
}

int text_snapshot(const struct object *o, struct buf *b)
{
	snapshot_render(o->sbx, b);
	return 0;
}

int text_token(const struct object *o, struct buf *b)
{
	struct sbx_view view;

	sbx_view(o->sbx, &view);
	return add_word(view.token, b);
}

int text_net_address(const struct object *o, struct buf *b)
{
	struct sbx_view view;

	sbx_view(o->sbx, &view);
	return add_word(view.host_ip, b);
}

int text_net_gateway(const struct object *o, struct buf *b)
{
	struct sbx_view view;

	sbx_view(o->sbx, &view);
	return add_word(view.gateway, b);
}

int text_net_mac(const struct object *o, struct buf *b)
{
	struct sbx_view view;

	sbx_view(o->sbx, &view);
	return add_word(view.mac, b);
}

int text_net_netns(const struct object *o, struct buf *b)
{
	struct sbx_view view;

	sbx_view(o->sbx, &view);
	return add_word(view.netns, b);
}

int text_net_egress(const struct object *o, struct buf *b)
{
	struct egress rules = EGRESS_DEFAULT;
	AUTO_BUF text = BUF_INIT;
	int r;

	net_egress_setting(o->sbx, &text);
	r = buf_error(&text);
	if (r == 0)
		r = egress_parse(buf_text(&text), &rules, NULL);
	if (r < 0)
		return r;
	egress_counted(o->sbx, &rules);
	egress_render(&rules, "\n", true, b);
	buf_addc(b, '\n');
	egress_done(&rules);
	return 0;
}

int text_net_ports(const struct object *o, struct buf *b)
{
	ports_render(o->sbx, b);
	return 0;
}
