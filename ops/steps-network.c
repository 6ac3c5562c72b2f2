/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/steps-network.c - the step network: a slot, and what the settings say about it
 *
 * How it works: slots are made, and go, behind the steps (slots.h), so this step waits only when none is ready. Its journal needs no line of its
 * own: the walk writes one before the next step, and what a crash leaves until then bears the name of a slot that
 * no journal knows, so it is swept. For the same reason a journal at this step's level claims none: its slot may be another's by now.
 */
#include <errno.h>

#include "ops/host.h"
#include "ops/net.h"
#include "ops/sampler.h"
#include "ops/slots.h"
#include "ops/steps-private.h"

void step_show_slot(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->shown = s->slot;
	s->shown.netns_fd = -1;
	s->shown.tap_fd = -1;
	pthread_mutex_unlock(&s->lock);
}

int step_apply_network(struct sbx *s, const struct deadline *d, struct err *e)
{
	/* A hidden one runs no guest of anybody's; whoever takes it over has settings. */
	return s->hidden ? 0 : net_apply(s, d, e);
}

int network_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = slots_get(d, &s->slot, e);

	if (r < 0) {
		slots_none(&s->slot);
		return r;
	}
	step_show_slot(s);
	sampler_add(s, false);
	return step_apply_network(s, d, e);
}

int network_down(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r;

	(void)d;
	if (s->slot.index == UINT32_MAX)
		return 0;
	r = step_check_driver(host.net, host.net_why, e);
	if (r < 0)
		return r;
	sampler_remove(s);
	net_release(s);
	slots_release(&s->slot);
	step_show_slot(s);
	return 0;
}

int network_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	if (s->slot.index == UINT32_MAX || !host.net->alive(&s->slot))
		return err_set(e, ENODEV, "its network slot is not there any more");
	step_show_slot(s);
	net_adopt(s);
	sampler_add(s, true);
	return step_apply_network(s, d, e);
}
