/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/verbs.c - the tables of verbs; what they do is in verbs-sbx.c, verbs-host.c and verbs-template.c */
#include "ops/verbs.h"

#include <errno.h>
#include <string.h>

#include "ops/verbs-private.h"

/* clang-format off */
#define ALWAYS  (~0u)
#define RESTING (IN(SBX_CREATED) | IN(SBX_STOPPED))
#define ALIVE   (IN(SBX_RUNNING) | IN(SBX_FROZEN))
#define LASTING (RESTING | ALIVE | IN(SBX_PAUSED) | IN(SBX_ERROR))

static const struct verb sbx_verbs[] = {
	{ "start", "[timeout=SEC]", "build disk, network and VM, boot, and wait for the guest's agent",
	  JOB_LIFECYCLE, VERB_DECIDES, 0, 0, true, RESTING | IN(SBX_ERROR) | IN(SBX_PAUSED), IN(SBX_RUNNING), IN(SBX_FROZEN), run_start },
	{ "stop", "[timeout=SEC]", "ask the guest to shut down, then end the VM; the disk is kept",
	  JOB_LIFECYCLE, VERB_DECIDES, 0, 0, true, ALIVE | IN(SBX_ERROR), RESTING, 0, run_stop },
	{ "kill", "", "end the VM at once, give up saved memory; the disk is kept",
	  JOB_OVERTAKING, VERB_DECIDES, 0, 0, false, ALIVE | IN(SBX_ERROR) | IN(SBX_PAUSED), RESTING, 0, run_kill },
	{ "restart", "[timeout=SEC]", "stop and start",
	  JOB_LIFECYCLE, VERB_DECIDES, 0, 0, true, ALIVE | RESTING | IN(SBX_ERROR), 0, 0, run_restart },
	{ "pause", "[timeout=SEC]", "save memory and devices, end the VM, release network and disk",
	  JOB_LIFECYCLE, VERB_DECIDES, 0, 0, true, ALIVE, IN(SBX_PAUSED), 0, run_pause },
	{ "resume", "[timeout=SEC]", "go on after pause, in a new network slot",
	  JOB_LIFECYCLE, VERB_DECIDES, 0, 0, true, IN(SBX_PAUSED) | IN(SBX_ERROR), IN(SBX_RUNNING), IN(SBX_FROZEN), run_resume },
	{ "freeze", "", "stop the vCPUs, release nothing",
	  JOB_LIFECYCLE, 0, 0, 0, false, IN(SBX_RUNNING), IN(SBX_FROZEN), 0, run_freeze },
	{ "thaw", "", "go on after freeze",
	  JOB_LIFECYCLE, 0, 0, 0, false, IN(SBX_FROZEN), IN(SBX_RUNNING), 0, run_thaw },
	{ "destroy", "", "remove it with everything it has, and wait for that",
	  JOB_OVERTAKING, VERB_GUARDED, 0, 0, false, ALWAYS, 0, 0, run_destroy },
	{ "exec", "COMMAND", "run COMMAND with /bin/sh -c in the guest and wait; the reply has its status and output",
	  JOB_ASIDE, VERB_RAW | VERB_GUEST, 1, 1, false, IN(SBX_RUNNING), 0, IN(SBX_FROZEN), run_exec },
	{ "ping", "", "count as activity",
	  JOB_ASIDE, 0, 0, 0, false, ALWAYS, 0, 0, run_ping },
	{ "sync", "[timeout=SEC]", "flush the guest's dirty pages to its disk",
	  JOB_ASIDE, VERB_GUEST, 0, 0, true, IN(SBX_RUNNING), 0, IN(SBX_FROZEN), run_sync },
	{ "balloon", "MIB [timeout=SEC]", "have the guest give back so much memory; 0 returns all",
	  JOB_ASIDE, VERB_GUEST, 1, 1, true, IN(SBX_RUNNING), 0, IN(SBX_FROZEN), run_balloon },
	{ "snapshot", "COMMAND", "what may be written to snapshot",
	  JOB_LIFECYCLE, VERB_GROUP, 1, -1, false, ALWAYS, 0, 0, NULL },
	{ "clone", "NAME… [from=SNAPSHOT] [timeout=SEC]", "new sandboxes that go on from here, all of them or none",
	  JOB_LIFECYCLE, 0, 1, -1, true, LASTING & ~IN(SBX_ERROR), 0, 0, run_clone },
	{ "set", "KEY=VALUE…", "change settings, as config does",
	  JOB_LIFECYCLE, VERB_PAIRS, 1, -1, false, ALWAYS, 0, 0, run_change },
	{ "unset", "KEY…", "back to the default",
	  JOB_LIFECYCLE, 0, 1, -1, false, ALWAYS, 0, 0, run_change },
	{ "wait", "STATE[,STATE…] [timeout=SEC]", "return when it is in one of the states",
	  JOB_ASIDE, 0, 1, 1, true, ALWAYS, 0, 0, run_wait },
	{ "cancel", "", "cancel the command that runs and those that wait",
	  JOB_OVERTAKING, VERB_UNSEEN, 0, 0, false, ALWAYS, 0, 0, run_cancel },
	{ "config", "", "the whole of a write to config",
	  JOB_LIFECYCLE, VERB_HIDDEN, 0, 0, false, ALWAYS, 0, 0, run_change },
	{ .name = NULL },
};

static const struct verb snapshot_verbs[] = {
	{ "create", "NAME [disk|full] [timeout=SEC]", "keep the disk, or memory and all, as it is now; it goes on as it was",
	  JOB_LIFECYCLE, VERB_SNAPSHOT, 1, 2, true, LASTING, 0, 0, run_snapshot_create },
	{ "rollback", "NAME [timeout=SEC]", "go back to it: what has changed since is lost",
	  JOB_LIFECYCLE, VERB_SNAPSHOT, 1, 1, true, LASTING, 0, 0, run_snapshot_rollback },
	{ "delete", "NAME", "remove it for ever",
	  JOB_ASIDE, VERB_SNAPSHOT, 1, 1, false, ALWAYS, 0, 0, run_snapshot_delete },
	{ "export", "NAME PATH", "write it to a new file of the host, with a digest",
	  JOB_ASIDE, VERB_SNAPSHOT, 2, 2, false, ALWAYS, 0, 0, run_snapshot_export },
	{ "import", "NAME PATH", "take one from such a file",
	  JOB_LIFECYCLE, VERB_SNAPSHOT, 2, 2, false, ALWAYS, 0, 0, run_snapshot_import },
	{ "commit", "TEMPLATE [image|full] [timeout=SEC]", "make a template of it",
	  JOB_LIFECYCLE, VERB_SNAPSHOT, 1, 2, true, LASTING & ~IN(SBX_ERROR), 0, 0, run_snapshot_commit },
	{ .name = NULL },
};

static const struct verb egress_verbs[] = {
	{ "allow", "ADDRESS[/PREFIX][:PORT]", "the guest may send there",
	  JOB_LIFECYCLE, VERB_EGRESS, 1, 3, false, ALWAYS, 0, 0, run_egress_add },
	{ "deny", "ADDRESS[/PREFIX][:PORT]", "it may not",
	  JOB_LIFECYCLE, VERB_EGRESS, 1, 3, false, ALWAYS, 0, 0, run_egress_add },
	{ "allow-name", "DOMAIN", "it may look up that name and send to its addresses; *.DOMAIN is all below it",
	  JOB_LIFECYCLE, VERB_EGRESS, 1, 3, false, ALWAYS, 0, 0, run_egress_add },
	{ "policy", "allow|deny", "what holds where no rule speaks",
	  JOB_LIFECYCLE, VERB_EGRESS, 1, 3, false, ALWAYS, 0, 0, run_egress_add },
	{ "remove", "RULE", "take a rule away, written as it reads",
	  JOB_LIFECYCLE, VERB_EGRESS, 2, 4, false, ALWAYS, 0, 0, run_egress_remove },
	{ "reset", "", "back to the default",
	  JOB_LIFECYCLE, VERB_EGRESS, 0, 0, false, ALWAYS, 0, 0, run_egress_reset },
	{ .name = NULL },
};

static const struct verb ports_verbs[] = {
	{ "add", "[ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp]", "lead a port of the host to one of the guest; the word add may be left out",
	  JOB_LIFECYCLE, VERB_PORTS | VERB_BARE, 1, 1, false, ALWAYS, 0, 0, run_ports_add },
	{ "remove", "[ADDRESS:]HOSTPORT[:GUESTPORT][/tcp|/udp]", "no longer, and end what goes through it",
	  JOB_LIFECYCLE, VERB_PORTS, 1, 1, false, ALWAYS, 0, 0, run_ports_remove },
	{ "reset", "", "remove all",
	  JOB_LIFECYCLE, VERB_PORTS, 0, 0, false, ALWAYS, 0, 0, run_ports_reset },
	{ .name = NULL },
};

static const struct verb host_verbs[] = {
	{ "create", "NAME [KEY=VALUE…] [start]", "define a sandbox with settings, and start it",
	  JOB_DAEMON, 0, 1, -1, false, ALWAYS, 0, 0, run_create },
	{ "loglevel", "error|warning|info|debug", "what is logged from now on",
	  JOB_DAEMON, 0, 1, 1, false, ALWAYS, 0, 0, run_loglevel },
	{ "pause-all", "", "pause all that run, side by side",
	  JOB_DAEMON, 0, 0, 0, false, ALWAYS, 0, 0, run_pause_all },
	{ "stop-all", "", "stop all that run, side by side",
	  JOB_DAEMON, 0, 0, 0, false, ALWAYS, 0, 0, run_stop_all },
	{ "prune", "", "remove what a crash has left of sandboxes that are no more: network, disks, files",
	  JOB_DAEMON, 0, 0, 0, false, ALWAYS, 0, 0, run_prune },
	{ "reload", "", "read the configuration file again; the reply tells what has changed",
	  JOB_DAEMON, 0, 0, 0, false, ALWAYS, 0, 0, run_reload },
	{ "shutdown", "[stop|pause|leave]", "stop or pause all sandboxes, or leave them running; answer, and end the daemon",
	  JOB_DAEMON, 0, 0, 1, false, ALWAYS, 0, 0, run_shutdown },
	{ .name = NULL },
};

static const struct verb template_verbs[] = {
	{ "import", "DIR | rootfs=PATH [kernel=PATH] [initrd=PATH] [cmdline=STRING]",
	  "copy in a new version, as sbx-mktemplate wrote it or from single files",
	  JOB_LIFECYCLE, VERB_PAIRS, 1, 4, false, ALWAYS, 0, 0, run_import },
	{ "pull", "url=URL sha256=HEX", "download a new version, or what an earlier pull left of it",
	  JOB_LIFECYCLE, VERB_PAIRS, 2, 2, false, ALWAYS, 0, 0, run_pull },
	{ "check", "", "ask where it was pulled from whether there is a newer one",
	  JOB_ASIDE, 0, 0, 0, false, ALWAYS, 0, 0, run_check },
	{ "set", "KEY=VALUE…", "default settings of its sandboxes",
	  JOB_LIFECYCLE, VERB_PAIRS, 1, -1, false, ALWAYS, 0, 0, run_template_change },
	{ "unset", "KEY…", "back to the default",
	  JOB_LIFECYCLE, 0, 1, -1, false, ALWAYS, 0, 0, run_template_change },
	{ "cancel", "", "cancel the command that runs and those that wait",
	  JOB_OVERTAKING, VERB_UNSEEN, 0, 0, false, ALWAYS, 0, 0, run_cancel },
	{ "config", "", "the whole of a write to config",
	  JOB_LIFECYCLE, VERB_HIDDEN, 0, 0, false, ALWAYS, 0, 0, run_template_change },
	{ .name = NULL },
};

static const struct verb *const tables[COMMAND_TARGET_COUNT] = {
	[COMMAND_SBX_CTL]         = sbx_verbs,
	[COMMAND_SBX_CONFIG]      = sbx_verbs,
	[COMMAND_SBX_SNAPSHOT]    = snapshot_verbs,
	[COMMAND_SBX_EGRESS]      = egress_verbs,
	[COMMAND_SBX_PORTS]       = ports_verbs,
	[COMMAND_HOST_CTL]        = host_verbs,
	[COMMAND_TEMPLATE_CTL]    = template_verbs,
	[COMMAND_TEMPLATE_CONFIG] = template_verbs,
};
/* clang-format on */

const struct verb *verb_table(enum command_target target)
{
	return tables[target];
}

static const struct verb *find_in(const struct verb *table, const char *name)
{
	for (; table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

const struct verb *verb_find_hidden(enum command_target target, const char *name)
{
	return find_in(tables[target], name);
}

const struct verb *verb_find(enum command_target target, const char *name)
{
	const struct verb *v = find_in(tables[target], name);

	if (!v && target == COMMAND_HOST_CTL)
		v = find_in(sbx_verbs, name);
	return v && !(v->flags & VERB_HIDDEN) ? v : NULL;
}

const struct verb *verb_find_bare(enum command_target target)
{
	for (const struct verb *v = tables[target]; v->name; v++)
		if (v->flags & VERB_BARE)
			return v;
	return NULL;
}

const struct verb *verb_find_below(const struct verb *group, const char *name)
{
	return group->flags & VERB_GROUP ? find_in(snapshot_verbs, name) : NULL;
}

const char *verb_prefix(const struct verb *v)
{
	if (v->flags & VERB_EGRESS)
		return "egress-";
	if (v->flags & VERB_PORTS)
		return "ports-";
	return v->flags & VERB_SNAPSHOT ? "snapshot-" : "";
}

bool verb_is_for_sbx(const struct verb *v)
{
	return v->flags & VERB_SNAPSHOT ||
	       (v >= sbx_verbs && v < sbx_verbs + sizeof(sbx_verbs) / sizeof(sbx_verbs[0]));
}

/* The states of a set, for a message. */
static void add_states(struct buf *b, unsigned states)
{
	bool first = true;

	for (int i = 0; i < SBX_STATE_COUNT; i++) {
		if (!(states & IN(i)))
			continue;
		buf_addf(b, "%s%s", first ? "" : ", ", sbx_state_name((enum sbx_state)i));
		first = false;
	}
}

int verb_check_state(const struct verb *v, enum sbx_state state, struct err *e)
{
	struct buf b = BUF_INIT;
	int r;

	if (v->from & IN(state))
		return 0;
	if (v->idle & IN(state))
		return 1;
	if (v->busy & IN(state))
		return err_set(e, EBUSY, "it is %s; thaw goes on with it", sbx_state_name(state));
	if (v->flags & VERB_GUEST)
		return err_set(e, EHOSTDOWN, "it is %s and has no guest to talk to; start it",
			       sbx_state_name(state));
	add_states(&b, v->from | v->idle);
	r = err_set(e, EINVAL, "it is %s, and %s is for: %s%s", sbx_state_name(state), v->name,
		    buf_text(&b),
		    state == SBX_PAUSED ? "; resume goes on with it, kill gives its memory up"
					: "");
	buf_done(&b);
	return r;
}

void verb_help(enum command_target target, struct buf *b)
{
	for (const struct verb *v = tables[target]; v->name; v++)
		if (!(v->flags & VERB_HIDDEN))
			buf_addf(b, "  %s%s%s\n      %s\n", v->name, v->args[0] ? " " : "", v->args,
				 v->help);
	buf_adds(
		b,
		"  async COMMAND\n      return once it is accepted; job, last_error and events tell the outcome\n");
	if (target == COMMAND_HOST_CTL)
		buf_adds(b, "  VERB NAME… [ARGUMENT…], VERB label=KEY=VALUE [ARGUMENT…]\n"
			    "      a sandbox's verb on each of them, side by side\n");
}

struct deadline verb_deadline(const struct verb_call *c, int64_t fallback_ms)
{
	return deadline_in(c->timeout_ms >= 0 ? c->timeout_ms : fallback_ms, c->job->cancel_fd);
}
