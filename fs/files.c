/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/files.c - the file tables
 *
 * Rows are only ever appended: a row's place is part of node ids, which outlive the process.
 */
#include "fs/files.h"

#include <errno.h>
#include <string.h>

#include "fs/text.h"
#include "ops/registry.h"
#include "ops/verbs.h"

static int host_help(const struct object *o, struct buf *b);
static int template_help(const struct object *o, struct buf *b);
static int sbx_help(const struct object *o, struct buf *b);

/* ---- the tables ---------------------------------------------------------------------------------------- */

/* clang-format off */
static const struct file host_files[] = {
	{".ctl", 0600, FILE_COMMANDS | FILE_REPLY, NULL, COMMAND_HOST_CTL, NODE_ROOT,
	 "write commands to the daemon, one a line; reads as the reply"},
	{".status", 0444, 0, text_host_status, 0, NODE_ROOT,
	 "the daemon: version, drivers and why, what is promised"},
	{".status.json", 0444, 0, text_host_status_json, 0, NODE_ROOT, "the same as one JSON object"},
	{".ps", 0444, 0, text_host_ps, 0, NODE_ROOT, "a table of all sandboxes"},
	{".events", 0600, FILE_STREAM, NULL, 0, NODE_ROOT,
	 "every sandbox's events, a JSON object a line; write since=SEQ to begin at that number"},
	{".version", 0444, FILE_FIXED, text_version, 0, NODE_ROOT, "the daemon's version"},
	{".help", 0444, FILE_FIXED, host_help, 0, NODE_ROOT, "this text"},
	{".templates", 0755, FILE_DIR, NULL, 0, NODE_TEMPLATE,
	 "what sandboxes are made from: mkdir and rmdir make and remove one"},
	{".metrics", 0444, 0, text_host_metrics, 0, NODE_ROOT,
	 "measurements of the daemon and of every sandbox, for Prometheus"},
	{NULL, 0, 0, NULL, 0, NODE_ROOT, NULL}
};

static const struct file template_files[] = {
	{"ctl", 0666, FILE_COMMANDS | FILE_REPLY, NULL, COMMAND_TEMPLATE_CTL, NODE_ROOT,
	 "write commands, one a line; reads as the reply"},
	{"config", 0666, FILE_COMMANDS, text_template_config, COMMAND_TEMPLATE_CONFIG, NODE_ROOT,
	 "default settings of its sandboxes, KEY=VALUE lines"},
	{"status", 0444, 0, text_template_status, 0, NODE_ROOT, "what it is, key=value lines"},
	{"status.json", 0444, 0, text_template_status_json, 0, NODE_ROOT, "the same as one JSON object"},
	{"help", 0444, FILE_FIXED, template_help, 0, NODE_ROOT, "this text"},
	{NULL, 0, 0, NULL, 0, NODE_ROOT, NULL}
};

static const struct file sbx_files[] = {
	{"ctl", 0666, FILE_COMMANDS | FILE_REPLY, NULL, COMMAND_SBX_CTL, NODE_ROOT,
	 "write commands, one a line; reads as the reply"},
	{"config", 0666, FILE_COMMANDS, text_config, COMMAND_SBX_CONFIG, NODE_ROOT,
	 "settings, KEY=VALUE lines"},
	{"state", 0444, FILE_POLLABLE, text_state, 0, NODE_ROOT, "one word; poll() tells of changes"},
	{"status", 0444, FILE_POLLABLE, text_status, 0, NODE_ROOT, "what it is, key=value lines"},
	{"status.json", 0444, 0, text_status_json, 0, NODE_ROOT, "the same as one JSON object"},
	{"events", 0666, FILE_STREAM, NULL, 0, NODE_ROOT,
	 "what happens to it, a JSON object a line; write since=SEQ to begin at that number"},
	{"console", 0666, FILE_CONSOLE, NULL, 0, NODE_ROOT,
	 "what the guest wrote to its serial line; a write is input to it"},
	{"token", 0400, 0, text_token, 0, NODE_ROOT, "the guest agent's access token"},
	{"net", 0555, FILE_DIR, NULL, 0, NODE_NET_FILE, "how it is reached"},
	{"help", 0444, FILE_FIXED, sbx_help, 0, NODE_ROOT, "this text"},
	{"snapshot", 0666, FILE_COMMANDS | FILE_POLLABLE, text_snapshot, COMMAND_SBX_SNAPSHOT, NODE_ROOT,
	 "its snapshots; write create, rollback, delete, export, import, commit"},
	{"metrics", 0444, 0, text_metrics, 0, NODE_ROOT, "measurements, for Prometheus"},
	{NULL, 0, 0, NULL, 0, NODE_ROOT, NULL}
};

static const struct file net_files[] = {
	{"address", 0444, 0, text_net_address, 0, NODE_ROOT, "where the host reaches the guest"},
	{"gateway", 0444, 0, text_net_gateway, 0, NODE_ROOT, "the guest's default route"},
	{"mac", 0444, 0, text_net_mac, 0, NODE_ROOT, "the guest's hardware address"},
	{"netns", 0444, 0, text_net_netns, 0, NODE_ROOT, "the network namespace that its VMM runs in"},
	{"egress", 0666, FILE_COMMANDS, text_net_egress, COMMAND_SBX_EGRESS, NODE_ROOT,
	 "what the guest may send to; write allow, deny, allow-name, policy, remove, reset"},
	{"ports", 0666, FILE_COMMANDS, text_net_ports, COMMAND_SBX_PORTS, NODE_ROOT,
	 "ports of the host that lead to the guest; write HOSTPORT:GUESTPORT, remove, reset"},
	{NULL, 0, 0, NULL, 0, NODE_ROOT, NULL}
};

static const struct file *const tables[NODE_KIND_COUNT] = {
	[NODE_HOST_FILE] = host_files,
	[NODE_TEMPLATE_FILE] = template_files,
	[NODE_SBX_FILE] = sbx_files,
	[NODE_NET_FILE] = net_files,
};
/* clang-format on */

const struct file *file_rows(enum node_kind kind)
{
	return (unsigned)kind < NODE_KIND_COUNT ? tables[kind] : NULL;
}

static uint32_t row_count(const struct file *rows)
{
	uint32_t n = 0;

	while (rows[n].name)
		n++;
	return n;
}

const struct file *file_of(const struct node *n)
{
	const struct file *rows = file_rows(n->kind);

	return rows && n->index >= 1 && n->index <= row_count(rows) ? &rows[n->index - 1] : NULL;
}

uint32_t file_find(enum node_kind kind, const char *name)
{
	const struct file *rows = file_rows(kind);

	for (uint32_t i = 0; rows && rows[i].name; i++)
		if (strcmp(rows[i].name, name) == 0)
			return i + 1;
	return 0;
}

bool dir_of(const struct node *n, struct dir *ret)
{
	const struct file *f = file_of(n);

	*ret = (struct dir){NODE_ROOT, NODE_ROOT};
	if (n->kind == NODE_ROOT)
		*ret = (struct dir){NODE_HOST_FILE, NODE_SBX};
	else if (n->kind == NODE_TEMPLATE)
		ret->files = NODE_TEMPLATE_FILE;
	else if (n->kind == NODE_SBX)
		ret->files = NODE_SBX_FILE;
	else if (!f || !(f->flags & FILE_DIR))
		return false;
	else if (file_rows(f->below))
		ret->files = f->below;
	else
		ret->objects = f->below;
	return true;
}

mode_t file_mode(const struct file *f, mode_t dir_mode)
{
	return f->mode & dir_mode;
}

/* ---- objects ------------------------------------------------------------------------------------------- */

int object_get(const struct node *n, struct object *ret)
{
	struct object o = {NULL, NULL};

	switch (n->kind) {
	case NODE_ROOT:
	case NODE_HOST_FILE:
		*ret = o;
		return 0;
	case NODE_TEMPLATE:
	case NODE_TEMPLATE_FILE:
		o.template = template_find_serial(n->serial);
		break;
	case NODE_SBX:
	case NODE_SBX_FILE:
	case NODE_NET_FILE:
		o.sbx = registry_find_serial(n->serial);
		break;
	case NODE_KIND_COUNT:
	default: /* an id of a version that knew more kinds */
		break;
	}
	if (!o.template && !o.sbx)
		return -ESTALE;
	*ret = o;
	return 0;
}

void object_put(struct object *o)
{
	if (o->template)
		template_put(o->template);
	sbx_put(o->sbx);
	*o = (struct object){NULL, NULL};
}

/* ---- help ---------------------------------------------------------------------------------------------- */

static void help_rows(enum node_kind kind, const char *prefix, struct buf *b)
{
	const struct file *f;

	for (f = file_rows(kind); f && f->name; f++) {
		buf_addf(b, "  %s%s%s  %s\n", prefix, f->name, f->flags & FILE_DIR ? "/" : "",
			 f->help);
	}
}

static void help_keys(struct buf *b)
{
	buf_adds(b, "\nSettings (config, set, unset):\n");
	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		buf_addf(b, "  %s  %s%s\n", config_rows[i].name, config_rows[i].help,
			 config_rows[i].restart ? " (takes effect at the next start)" : "");
	buf_adds(b, "  env.NAME  a variable of what is run in the guest\n"
		    "  label.NAME  for your own use; .ctl chooses by label=NAME=VALUE\n");
}

static int host_help(const struct object *o, struct buf *b)
{
	(void)o; /* the same for all */
	buf_adds(
		b,
		"mkdir NAME defines a sandbox, echo start >NAME/ctl runs it, rmdir NAME destroys it.\n"
		"Files here:\n");
	help_rows(NODE_HOST_FILE, "", b);
	buf_adds(b, "\nCommands (.ctl):\n");
	verb_help(COMMAND_HOST_CTL, b);
	return 0;
}

static int template_help(const struct object *o, struct buf *b)
{
	(void)o;
	buf_adds(
		b,
		"A template: what sandboxes are made from. rmdir removes it once nothing needs it.\n"
		"Files here:\n");
	help_rows(NODE_TEMPLATE_FILE, "", b);
	buf_adds(b, "\nCommands (ctl):\n");
	verb_help(COMMAND_TEMPLATE_CTL, b);
	help_keys(b);
	return 0;
}

static int sbx_help(const struct object *o, struct buf *b)
{
	(void)o;
	buf_adds(b, "A sandbox. rmdir destroys it; rm -r is not the way.\n"
		    "Files here:\n");
	help_rows(NODE_SBX_FILE, "", b);
	help_rows(NODE_NET_FILE, "net/", b);
	buf_adds(b, "\nCommands (ctl):\n");
	verb_help(COMMAND_SBX_CTL, b);
	buf_adds(b, "\nCommands (snapshot; in ctl after the word snapshot):\n");
	verb_help(COMMAND_SBX_SNAPSHOT, b);
	buf_adds(b, "\nCommands (net/egress):\n");
	verb_help(COMMAND_SBX_EGRESS, b);
	buf_adds(b, "\nCommands (net/ports):\n");
	verb_help(COMMAND_SBX_PORTS, b);
	help_keys(b);
	return 0;
}

/* ---- for the check of the manual ----------------------------------------------------------------------- */

static void dump_files(enum node_kind kind, const char *prefix, struct buf *b)
{
	for (const struct file *f = file_rows(kind); f->name; f++)
		buf_addf(b, "file %s%s\n", prefix, f->name);
}

static void dump_verbs(enum command_target target, const char *prefix, struct buf *b)
{
	for (const struct verb *v = verb_table(target); v && v->name; v++)
		if (!(v->flags & VERB_HIDDEN))
			buf_addf(b, "verb %s%s\n", prefix, v->name);
}

void files_dump(struct buf *b)
{
	dump_files(NODE_HOST_FILE, "", b);
	dump_files(NODE_TEMPLATE_FILE, "", b);
	dump_files(NODE_SBX_FILE, "", b);
	dump_files(NODE_NET_FILE, "net/", b);
	dump_verbs(COMMAND_HOST_CTL, "", b);
	dump_verbs(COMMAND_TEMPLATE_CTL, "", b);
	dump_verbs(COMMAND_SBX_CTL, "", b);
	dump_verbs(COMMAND_SBX_SNAPSHOT, "snapshot ", b);
	dump_verbs(COMMAND_SBX_EGRESS, "", b);
	dump_verbs(COMMAND_SBX_PORTS, "ports ", b);
	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		buf_addf(b, "key %s\n", config_rows[i].name);
	text_dump_keys(b);
}
