/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/verbs-private.h - what the verbs' rows run; for verbs*.c only
 *
 * Each runs with the turn of its object if its row is lifecycle or overtaking, beside others if aside.
 */
#ifndef SBXFS_OPS_VERBS_PRIVATE_H
#define SBXFS_OPS_VERBS_PRIVATE_H

#include "ops/verbs.h"

/* verbs-sbx.c */
int run_start(struct verb_call *c, struct err *e);
int run_stop(struct verb_call *c, struct err *e);
int run_kill(struct verb_call *c, struct err *e);
int run_restart(struct verb_call *c, struct err *e);
int run_pause(struct verb_call *c, struct err *e);
int run_resume(struct verb_call *c, struct err *e);
int run_balloon(struct verb_call *c, struct err *e);
int run_freeze(struct verb_call *c, struct err *e);
int run_thaw(struct verb_call *c, struct err *e);
int run_destroy(struct verb_call *c, struct err *e);
int run_exec(struct verb_call *c, struct err *e);
int run_ping(struct verb_call *c, struct err *e);
int run_sync(struct verb_call *c, struct err *e);
int run_wait(struct verb_call *c, struct err *e);
int run_cancel(struct verb_call *c, struct err *e);

/* verbs-snapshot.c */
int run_snapshot_create(struct verb_call *c, struct err *e);
int run_snapshot_rollback(struct verb_call *c, struct err *e);
int run_snapshot_delete(struct verb_call *c, struct err *e);
int run_snapshot_export(struct verb_call *c, struct err *e);
int run_snapshot_import(struct verb_call *c, struct err *e);
int run_snapshot_commit(struct verb_call *c, struct err *e);
int run_clone(struct verb_call *c, struct err *e);

/* verbs-ports.c */
int run_ports_add(struct verb_call *c, struct err *e);
int run_ports_remove(struct verb_call *c, struct err *e);
int run_ports_reset(struct verb_call *c, struct err *e);

/* verbs-config.c: set, unset and config */
int run_change(struct verb_call *c, struct err *e);
int run_template_change(struct verb_call *c, struct err *e);

/**
 * sbx_change_config() - Have a sandbox's settings be these: durably, and at once for those that are live
 * @config: taken, on failure too
 * Return: 0; a negative errno with the old settings in force again, or what went wrong with that in @e.
 */
int sbx_change_config(struct verb_call *c, struct config *config, struct err *e);

/* verbs-egress.c */
int run_egress_add(struct verb_call *c, struct err *e);
int run_egress_remove(struct verb_call *c, struct err *e);
int run_egress_reset(struct verb_call *c, struct err *e);

/* verbs-host.c */
int run_create(struct verb_call *c, struct err *e);
int run_loglevel(struct verb_call *c, struct err *e);
int run_pause_all(struct verb_call *c, struct err *e);
int run_stop_all(struct verb_call *c, struct err *e);
int run_prune(struct verb_call *c, struct err *e);
int run_reload(struct verb_call *c, struct err *e);
int run_shutdown(struct verb_call *c, struct err *e);

/* verbs-template.c */
int run_import(struct verb_call *c, struct err *e);
int run_pull(struct verb_call *c, struct err *e);
int run_check(struct verb_call *c, struct err *e);

#endif
