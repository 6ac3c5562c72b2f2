// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/net.c - what a sandbox's settings say about its network, given to the slot that it has
 *
 * How it works: the rules that a slot was given last are kept in the sandbox, with what has been counted by them, so that files are rendered
 * from memory. Whoever reads the counts from the kernel does so without the turn, by a copy: when the sandbox has other rules by the time
 * they are there, they are thrown away.
 */
#include "ops/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/pool.h"
#include "ops/host.h"
#include "ops/ports.h"
#include "ops/steps.h"
#include "ops/template.h"
#include "vm/vm.h"

enum {
	RELEASE_MS = 2000, /* for the ports of one that goes down to be free for others */
};

/* The setting's text as it holds, copied. */
static char *egress_setting(struct sbx *s)
{
	char *text;

	pthread_mutex_lock(&s->lock);
	text = strdup(config_effective(&s->config, &s->version->defaults, CONFIG_EGRESS));
	pthread_mutex_unlock(&s->lock);
	return text;
}

/* Takes @rules. */
static void egress_keep(struct sbx *s, const struct egress *rules)
{
	struct egress old;

	pthread_mutex_lock(&s->lock);
	old = s->egress;
	s->egress = *rules;
	s->egress_serial = s->slot.serial;
	pthread_mutex_unlock(&s->lock);
	egress_done(&old);
}

static int egress_apply(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct egress rules = EGRESS_DEFAULT;
	AUTO_FREE char *text = NULL;
	int r = sbx_load_version(s, e);

	if (r < 0)
		return r;
	text = egress_setting(s);
	if (!text)
		return err_set(e, ENOMEM, "no memory");
	r = egress_parse(text, &rules, e);
	if (r == 0)
		r = host.net->egress(&s->slot, &rules, d, e);
	if (r < 0) {
		egress_done(&rules);
		return err_wrap(e, "egress");
	}
	egress_keep(s, &rules);
	egress_refresh(s); /* rules that stay have counted already */
	return 0;
}

void net_egress_setting(struct sbx *s, struct buf *b)
{
	struct template_version *version = NULL;
	bool found = false, own;
	struct sbx_view view;

	pthread_mutex_lock(&s->lock);
	own = s->config.value[CONFIG_EGRESS];
	if (own)
		buf_adds(b, s->config.value[CONFIG_EGRESS]);
	pthread_mutex_unlock(&s->lock);
	if (own)
		return;
	version = calloc(1, sizeof(*version));
	if (!version) {
		b->failed = true;
		return;
	}
	sbx_view(s, &view);
	found = template_version_find(view.template_name, version, NULL) == 0;
	buf_adds(b, config_effective(&(struct config){0}, found ? &version->defaults : NULL,
				     CONFIG_EGRESS));
	if (found)
		template_version_done(version);
	free(version);
}

static int apply_limit(struct sbx *s, const struct deadline *d, struct err *e)
{
	uint64_t bytes_per_sec;
	int r;

	pthread_mutex_lock(&s->lock);
	bytes_per_sec = config_number(&s->config, s->version ? &s->version->defaults : NULL,
				      CONFIG_NET_BPS);
	pthread_mutex_unlock(&s->lock);
	r = bytes_per_sec == s->slot_bps ? 0 : host.net->limit(&s->slot, bytes_per_sec, d, e);
	if (r == 0)
		s->slot_bps = bytes_per_sec;
	return r;
}

static int apply_ports(struct sbx *s, const struct deadline *d, struct err *e)
{
	AUTO_FREE struct forward *list = NULL;
	size_t count = 0;
	int r = ports_copy(s, &list, &count, e);

	/* Also one that fails may have left some. */
	if (r == 0 && (count > 0 || s->slot_ports)) {
		s->slot_ports = true;
		r = host.net->forward(&s->slot, list, count, d, e);
		s->slot_ports = r < 0 || count > 0;
	}
	return r;
}

/* The way to the agent is one of them, for the VMM. */
static int vm_forwards(struct sbx *s, struct vm_forward **ret, size_t *ret_count, struct err *e)
{
	AUTO_FREE struct forward *list = NULL;
	AUTO_FREE struct vm_forward *all = NULL;
	size_t count = 0;
	int r = ports_copy(s, &list, &count, e);

	if (r < 0)
		return r;
	all = calloc(count + 1, sizeof(*all));
	if (!all)
		return err_set(e, ENOMEM, "no memory");
	all[0] =
		(struct vm_forward){.host_port = s->slot.agent_port, .guest_port = SLOT_AGENT_PORT};
	if (addr_parse(s->slot.agent_addr, &all[0].host_addr) < 0)
		return err_set(e, EIO, "its network slot has no address");
	for (size_t i = 0; i < count; i++)
		all[i + 1] = (struct vm_forward){.host_addr = list[i].host_addr,
						 .host_port = list[i].host_port,
						 .guest_port = list[i].guest_port,
						 .is_udp = list[i].is_udp};
	*ret = steal_ptr(&all);
	*ret_count = count + 1;
	return 0;
}

int net_apply_vm(struct sbx *s, const struct deadline *d, struct err *e)
{
	AUTO_FREE struct vm_forward *list = NULL;
	size_t count = 0;
	int r;

	if (!host.net->is_user || !s->vm || (s->port_count == 0 && !s->slot_ports))
		return 0;
	r = vm_forwards(s, &list, &count, e);
	if (r < 0)
		return r;
	s->slot_ports = true; /* also one that fails may have left some */
	r = vm_driver_of(s->vm)->forward(s->vm, list, count, d, e);
	s->slot_ports = r < 0 || s->port_count > 0;
	return r;
}

int net_apply(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = host.net->egress ? egress_apply(s, d, e) : 0;

	if (r == 0)
		r = apply_limit(s, d, e);
	if (r == 0 && !host.net->is_user)
		r = apply_ports(s, d, e);
	return r < 0 ? r : net_apply_vm(s, d, e);
}

void net_adopt(struct sbx *s)
{
	s->slot_bps = UINT64_MAX;
	s->slot_ports = true;
}

void net_release(struct sbx *s)
{
	struct deadline d = deadline_in(RELEASE_MS, -1);
	struct err e = {0};

	if ((s->slot_ports || s->port_count > 0) && !host.net->is_user &&
	    host.net->forward(&s->slot, NULL, 0, &d, &e) < 0)
		log_info("%s, ignoring: its ports are free once its slot has gone", e.text);
	s->slot_bps = 0;
	s->slot_ports = false;
}

void egress_refresh(struct sbx *s)
{
	struct egress rules = EGRESS_DEFAULT;
	struct slot slot;
	bool known;

	pthread_mutex_lock(&s->lock);
	slot = s->shown;
	known = slot.host_ip[0] && slot.serial == s->egress_serial &&
		egress_copy(&s->egress, &rules) == 0;
	pthread_mutex_unlock(&s->lock);
	if (!known || !host.net->egress_count || host.net->egress_count(&slot, &rules, NULL) < 0) {
		egress_done(&rules);
		return;
	}
	pthread_mutex_lock(&s->lock);
	if (slot.serial == s->egress_serial && egress_same(&s->egress, &rules)) {
		struct egress old = s->egress;

		s->egress = rules;
		rules = old;
	}
	pthread_mutex_unlock(&s->lock);
	egress_done(&rules);
}

void egress_counted(struct sbx *s, struct egress *rules)
{
	pthread_mutex_lock(&s->lock);
	if (s->shown.host_ip[0] && s->shown.serial == s->egress_serial &&
	    egress_same(&s->egress, rules)) {
		rules->packets = s->egress.packets;
		rules->bytes = s->egress.bytes;
		for (size_t i = 0; i < rules->count; i++) {
			rules->rules[i].packets = s->egress.rules[i].packets;
			rules->rules[i].bytes = s->egress.rules[i].bytes;
		}
	}
	pthread_mutex_unlock(&s->lock);
}
