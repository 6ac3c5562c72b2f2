/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/sbx.c - one sandbox's state, its changes and what readers see of it */
#include "ops/sbx.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "ops/event.h"
#include "ops/host.h"
#include "ops/policy.h"
#include "ops/template.h"
#include "ops/vmm.h"
#include "ops/warm.h"

static const char *const state_names[] = {
	[SBX_CREATED] = "created",   [SBX_RUNNING] = "running",       [SBX_FROZEN] = "frozen",
	[SBX_PAUSED] = "paused",     [SBX_STOPPED] = "stopped",       [SBX_ERROR] = "error",
	[SBX_STARTING] = "starting", [SBX_PAUSING] = "pausing",       [SBX_RESUMING] = "resuming",
	[SBX_STOPPING] = "stopping", [SBX_DESTROYING] = "destroying",
};
static_assert(sizeof(state_names) / sizeof(state_names[0]) == SBX_STATE_COUNT,
	      "a name for each state");

static const char *const job_states[] = {[JOB_RUNNING] = "running",
					 [JOB_QUEUED] = "queued",
					 [JOB_DONE] = "done",
					 [JOB_FAILED] = "failed"};

const char *sbx_state_name(enum sbx_state state)
{
	return state_names[state];
}

int sbx_state_parse(const char *name, enum sbx_state *ret)
{
	for (int i = 0; i < SBX_STATE_COUNT; i++) {
		if (strcmp(state_names[i], name) == 0) {
			*ret = (enum sbx_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

enum sbx_state sbx_state(struct sbx *s)
{
	enum sbx_state state;

	pthread_mutex_lock(&s->lock);
	state = s->state;
	pthread_mutex_unlock(&s->lock);
	return state;
}

int sbx_open(const struct sbx *s, const char *name, int flags)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%" PRIu32 "/%s", s->serial,
		       name); /* names here are a few letters */
	return openat(host.sandboxes_fd, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

void sbx_name(struct sbx *s, char ret_name[NAME_MAX_LEN + 1])
{
	pthread_mutex_lock(&s->lock);
	memcpy(ret_name, s->name, sizeof(s->name));
	pthread_mutex_unlock(&s->lock);
}

const struct volume_driver *sbx_store(struct sbx *s)
{
	const struct volume_driver *store;

	pthread_mutex_lock(&s->lock);
	store = s->store ? s->store : host.volume;
	pthread_mutex_unlock(&s->lock);
	return store;
}

static void waiters_wake(struct sbx *s)
{
	uint64_t one = 1;

	for (struct sbx_waiter *w = s->waiters; w; w = w->next)
		(void)file_write_all(w->fd, &one, sizeof(one)); /* full means woken already */
}

void sbx_wait_add(struct sbx *s, struct sbx_waiter *w)
{
	pthread_mutex_lock(&s->lock);
	w->next = s->waiters;
	s->waiters = w;
	waiters_wake(s);
	pthread_mutex_unlock(&s->lock);
}

void sbx_wait_remove(struct sbx *s, struct sbx_waiter *w)
{
	struct sbx_waiter **at;

	pthread_mutex_lock(&s->lock);
	for (at = &s->waiters; *at && *at != w; at = &(*at)->next)
		;
	if (*at)
		*at = w->next;
	pthread_mutex_unlock(&s->lock);
}

int sbx_wait(struct sbx *s, bool (*is_so)(struct sbx *s, const void *arg), const void *arg,
	     const struct deadline *d)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	struct sbx_waiter waiter = {.fd = fd};
	uint64_t count;
	int r = 0;

	if (fd < 0)
		return -errno;
	sbx_wait_add(s, &waiter);
	while (r >= 0 && !is_so(s, arg)) {
		r = deadline_poll(d, &pfd, 1);
		if (r > 0 && read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			r = -errno;
	}
	sbx_wait_remove(s, &waiter);
	return r < 0 ? r : 0;
}

void sbx_changed(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->change++;
	waiters_wake(s);
	pthread_mutex_unlock(&s->lock);
	event_tell(s->serial, EVENT_STATUS);
}

void sbx_set_state(struct sbx *s, enum sbx_state state)
{
	char name[sizeof(s->name)];
	enum sbx_state old;

	pthread_mutex_lock(&s->lock);
	old = s->state;
	s->state = state;
	if (state == SBX_RUNNING && old != SBX_FROZEN) {
		s->policy.up_ms = s->policy.touched_ms = clock_ms();
		s->policy.health_fails = 0;
		s->policy.unhealthy = false;
	}
	memcpy(name, s->name, sizeof(name));
	pthread_mutex_unlock(&s->lock);
	if (old == state)
		return;
	log_debug("state %s -> %s", state_names[old], state_names[state]);
	warm_note(old, state);
	if (!s->hidden)
		event_add(s->serial, name, "state", ",\"state\":\"%s\",\"from\":\"%s\"",
			  state_names[state], state_names[old]);
	sbx_changed(s);
	policy_kick(s);
}

void sbx_touch(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->active_ms = wall_ms();
	s->policy.touched_ms = clock_ms();
	pthread_mutex_unlock(&s->lock);
}

void sbx_set_error(struct sbx *s, const char *text)
{
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->last_error, sizeof(s->last_error), "%s", text ? text : "");
	pthread_mutex_unlock(&s->lock);
	sbx_changed(s);
}

struct guest sbx_agent(const struct sbx *s)
{
	return (struct guest){
		.addr = s->slot.agent_addr, .port = s->slot.agent_port, .token = s->token};
}

int sbx_running_guest(struct sbx *s, char addr[SLOT_ADDR_SIZE], char token[GUEST_TOKEN_SIZE],
		      struct guest *ret, struct err *e)
{
	enum sbx_state state;

	pthread_mutex_lock(&s->lock);
	state = s->state;
	memcpy(addr, s->shown.agent_addr, SLOT_ADDR_SIZE);
	memcpy(token, s->token, GUEST_TOKEN_SIZE);
	*ret = (struct guest){.addr = addr, .port = s->shown.agent_port, .token = token};
	pthread_mutex_unlock(&s->lock);
	if (state == SBX_RUNNING)
		return 0;
	if (state == SBX_FROZEN)
		return err_set(e, EBUSY, "it is frozen; thaw goes on with it");
	return err_set(e, EHOSTDOWN, "it is %s and has no guest to talk to; start it",
		       state_names[state]);
}

int sbx_console_write(struct sbx *s, const void *data, size_t len, struct err *e)
{
	ssize_t n = 0;
	int code = 0;

	pthread_mutex_lock(&s->lock);
	if (s->state == SBX_FROZEN)
		code = EBUSY;
	else if (s->console_fd < 0)
		code = EHOSTDOWN;
	else
		n = write(s->console_fd, data, len);
	if (n < 0)
		code = errno == EAGAIN ? EAGAIN : EHOSTDOWN;
	else if (code == 0) {
		s->active_ms = wall_ms();
		s->policy.touched_ms = clock_ms();
	}
	pthread_mutex_unlock(&s->lock);
	if (code == EBUSY)
		return err_set(e, EBUSY, "it is frozen; thaw goes on with it");
	if (code == EHOSTDOWN)
		return err_set(e, EHOSTDOWN, "it has no guest to type to; start it");
	return code ? err_set(e, code, "the guest does not read its console") : (int)n;
}

off_t sbx_console_begin(int fd)
{
	off_t begin = lseek(fd, 0, SEEK_DATA);

	return begin < 0 ? 0 : begin; /* an empty file has none */
}

/* What its settings come to, and where it runs; the sandbox's lock is held. */
static void view_settings(const struct sbx *s, const struct template_version *v,
			  struct sbx_view *ret)
{
	const struct config *base = v ? &v->defaults : NULL;
	const struct vm_host *vmm = vmm_shown(s, base);

	ret->vcpus = (unsigned)config_number(&s->config, base, CONFIG_VCPUS);
	ret->memory_mb = config_number(&s->config, base, CONFIG_MEMORY_MB);
	ret->disk_mb = template_disk_mb(&s->config, v);
	ret->timeout_sec = (unsigned)config_number(&s->config, base, CONFIG_TIMEOUT_SEC);
	(void)snprintf(ret->template_name, sizeof(ret->template_name), "%s",
		       s->template_pin[0] ? s->template_pin
					  : config_effective(&s->config, NULL, CONFIG_TEMPLATE));
	ret->storage = s->store ? s->store->name : host.volume ? host.volume->name : "";
	ret->network = host.net ? host.net->name : "";
	ret->vmm = vmm ? vmm->driver->name : "";
	ret->accel = vmm ? vm_accel_name(vmm->accel) : "";
	ret->vmm_version = vmm ? vmm->version : "";
}

static void view_network(const struct sbx *s, struct sbx_view *ret)
{
	memcpy(ret->host_ip, s->shown.host_ip, sizeof(ret->host_ip));
	memcpy(ret->guest_ip, s->shown.guest_ip, sizeof(ret->guest_ip));
	memcpy(ret->gateway, s->shown.gateway, sizeof(ret->gateway));
	memcpy(ret->mac, s->shown.mac, sizeof(ret->mac));
	memcpy(ret->netns, s->shown.netns, sizeof(ret->netns));
}

static void view_job(const struct sbx *s, struct sbx_view *ret)
{
	char when[TIME_TEXT_SIZE];

	ret->job[0] = '\0';
	if (s->job.id)
		(void)snprintf(ret->job, sizeof(ret->job), "%" PRIu64 " %s %s since=%s", s->job.id,
			       s->job.verb, job_states[s->job.state],
			       time_text(s->job.since_ms, when));
}

/* Everything that is plainly copied; the sandbox's lock is held. */
static void view_facts(const struct sbx *s, struct sbx_view *ret)
{
	ret->serial = s->serial;
	ret->state = s->state;
	ret->change = s->change;
	ret->uid = s->uid;
	ret->gid = s->gid;
	ret->mode = s->mode;
	ret->pid = s->shown_vm.pid;
	ret->created_ms = s->created_ms;
	ret->started_ms = s->started_ms;
	ret->active_ms = s->active_ms;
	ret->restart_count = (unsigned)s->policy.restarts;
	memcpy(ret->exit_reason, s->exit_reason, sizeof(ret->exit_reason));
	memcpy(ret->last_error, s->last_error, sizeof(ret->last_error));
	memcpy(ret->token, s->token, sizeof(ret->token));
	ret->facts = s->facts;
	ret->cow_used_bytes = s->cow_used_bytes;
	ret->cow_total_bytes = s->cow_total_bytes;
	ret->mem_used_bytes = s->mem_used_bytes;
	ret->traffic = s->traffic;
	if (s->gone)
		(void)snprintf(ret->name, sizeof(ret->name), "%s~%" PRIu32, s->name, s->serial);
	else
		(void)snprintf(ret->name, sizeof(ret->name), "%s", s->name);
	(void)snprintf(ret->health, sizeof(ret->health), "%s",
		       s->state != SBX_RUNNING ? ""
		       : s->policy.unhealthy   ? "unhealthy"
					       : "ok");
	(void)snprintf(ret->id, sizeof(ret->id), "%s-%" PRIx32, host.instance, s->serial);
}

int sbx_template(struct sbx *s, struct template_version *ret, struct err *e)
{
	char pin[sizeof(s->template_pin)];

	pthread_mutex_lock(&s->lock);
	(void)snprintf(pin, sizeof(pin), "%s",
		       s->template_pin[0] ? s->template_pin
					  : config_effective(&s->config, NULL, CONFIG_TEMPLATE));
	pthread_mutex_unlock(&s->lock);
	return template_version_find(pin, ret, e);
}

void sbx_view(struct sbx *s, struct sbx_view *ret)
{
	struct template_version v = {0};
	bool have = sbx_template(s, &v, NULL) == 0;

	*ret = (struct sbx_view){0};
	pthread_mutex_lock(&s->lock);
	view_facts(s, ret);
	view_settings(s, have ? &v : NULL, ret);
	view_network(s, ret);
	view_job(s, ret);
	pthread_mutex_unlock(&s->lock);
	if (have)
		template_version_done(&v);
}
