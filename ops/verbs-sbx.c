/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/verbs-sbx.c - what a sandbox's verbs do */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/parse.h"
#include "ops/admit.h"
#include "ops/host.h"
#include "ops/lifecycle.h"
#include "ops/pause.h"
#include "ops/registry.h"
#include "ops/verbs-private.h"
#include "vm/vm.h"

enum {
	BALLOON_MS = 10000,
	KEEP_MIN_MIB = 64, /* that a guest keeps at least: the least that memory_mb may be */
	VMM_MS = 10000,    /* for the VMM to answer freeze and thaw */
	SYNC_MS = 30000,
	EXEC_MS = INT32_MAX, /* 24 days: until the writer has enough of it */
};

int run_start(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, host_start_ms());

	return pause_up_or_start(c->sbx, &d, c->out, e);
}

int run_pause(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, LIFECYCLE_PAUSE_MS);

	return pause_down(c->sbx, &d, c->out, e);
}

int run_resume(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, host_start_ms());

	return pause_up(c->sbx, &d, c->out, e);
}

int run_stop(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, LIFECYCLE_STOP_MS);

	return lifecycle_stop(c->sbx, &d, e);
}

int run_kill(struct verb_call *c, struct err *e)
{
	return lifecycle_kill(c->sbx, e);
}

int run_restart(struct verb_call *c, struct err *e)
{
	struct deadline stop = deadline_in(LIFECYCLE_STOP_MS, c->job->cancel_fd), start;
	enum sbx_state state = sbx_state(c->sbx);
	uint64_t mib;
	int r = 0;

	if (c->sbx->version) /* what a start would refuse is no reason to stop it */
		r = admit_disk(c->sbx, &mib, e);
	if (r == 0 && state != SBX_CREATED && state != SBX_STOPPED)
		r = lifecycle_stop(c->sbx, &stop, e);
	if (r < 0)
		return r;
	start = verb_deadline(c, host_start_ms());
	return lifecycle_start(c->sbx, &start, c->out, e);
}

int run_freeze(struct verb_call *c, struct err *e)
{
	struct deadline d = deadline_in(VMM_MS, c->job->cancel_fd);

	return lifecycle_freeze(c->sbx, &d, e);
}

int run_thaw(struct verb_call *c, struct err *e)
{
	struct deadline d = deadline_in(VMM_MS, c->job->cancel_fd);

	return lifecycle_thaw(c->sbx, &d, e);
}

int run_destroy(struct verb_call *c, struct err *e)
{
	int r = registry_retire(c->sbx, e);

	return r < 0 ? r : lifecycle_destroy(c->sbx, e);
}

int run_exec(struct verb_call *c, struct err *e)
{
	char addr[SLOT_ADDR_SIZE], token[GUEST_TOKEN_SIZE];
	struct deadline d = deadline_in(EXEC_MS, c->job->cancel_fd);
	struct guest_command command = {.text = c->rest};
	struct guest_exit exit = {0};
	AUTO_BUF output = BUF_INIT;
	struct guest g;
	int r = sbx_running_guest(c->sbx, addr, token, &g, e);

	if (r < 0)
		return r;
	sbx_touch(c->sbx);
	r = fault_point("exec-ask", &d, e);
	if (r == 0)
		r = guest_exec(&g, &command, &d, &output, &exit, e);
	sbx_touch(c->sbx);
	if (r == 0)
		r = fault_point("exec-done", &d, e);
	if (r < 0)
		return r;
	if (exit.signalled)
		buf_addf(c->out, "signal=%s\n", exit.signal);
	else
		buf_addf(c->out, "exit=%d\n", exit.status);
	if (exit.truncated_bytes)
		buf_addf(c->out, "truncated=%" PRIu64 "\n", exit.truncated_bytes);
	buf_add(c->out, buf_text(&output), output.len);
	return buf_error(c->out) < 0 ? err_set(e, ENOMEM, "no memory for the output") : 0;
}

int run_ping(struct verb_call *c, struct err *e)
{
	(void)e;
	sbx_touch(c->sbx);
	return 0;
}

int run_sync(struct verb_call *c, struct err *e)
{
	char addr[SLOT_ADDR_SIZE], token[GUEST_TOKEN_SIZE];
	struct deadline d = verb_deadline(c, SYNC_MS);
	struct guest g;
	int r = sbx_running_guest(c->sbx, addr, token, &g, e);

	return r < 0 ? r : guest_sync(&g, &d, e);
}

int run_balloon(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, BALLOON_MS);
	struct sbx *s = c->sbx;
	uint64_t mib, all, left = 0;
	int r = 0;

	if (parse_u64(c->argv[0], 0, UINT32_MAX, &mib) < 0)
		return err_set(e, EINVAL, "%s is not a number of MiB", c->argv[0]);
	pthread_mutex_lock(&s->vm_use); /* the VM stays while this is held and it is running */
	r = verb_check_state(c->verb, sbx_state(s), e);
	if (r == 0) {
		all = vm_common(s->vm)->memory_mib;
		if (mib + KEEP_MIN_MIB > all && mib)
			r = err_set(e, EINVAL, "it has %" PRIu64 " MiB and has to keep %d of them",
				    all, KEEP_MIN_MIB);
		else
			r = vm_driver_of(s->vm)->balloon(s->vm, all - mib, &d, &left, e);
	}
	pthread_mutex_unlock(&s->vm_use);
	if (r == 0)
		buf_addf(c->out, "memory_mb=%" PRIu64 "\n", left);
	return r;
}

static int parse_states(char *words, unsigned *ret_states, struct err *e)
{
	enum sbx_state state;
	char *next;

	*ret_states = 0;
	for (char *word = words; word; word = next) {
		next = strchr(word, ',');
		if (next)
			*next++ = '\0';
		if (sbx_state_parse(word, &state) < 0)
			return err_set(e, EINVAL, "%s is no state", word);
		*ret_states |= IN(state);
	}
	return 0;
}

static bool is_in(struct sbx *s, const void *states)
{
	return *(const unsigned *)states & IN(sbx_state(s));
}

int run_wait(struct verb_call *c, struct err *e)
{
	AUTO_FREE char *words = strdup(c->argv[0]);
	struct deadline d = verb_deadline(c, INT64_MAX / 2);
	unsigned states;
	int r;

	if (!words)
		return err_set(e, ENOMEM, "no memory");
	r = parse_states(words, &states, e);
	if (r < 0)
		return r;
	r = sbx_wait(c->sbx, is_in, &states, &d);
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "it is still %s", sbx_state_name(sbx_state(c->sbx)));
	return r < 0 ? err_sys(e, -r, "waiting") : 0;
}

/* Being queued as an overtaking job has ended the others already. */
int run_cancel(struct verb_call *c, struct err *e)
{
	(void)c;
	(void)e;
	return 0;
}
