/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/recycle.c - a slot as good as new, for another guest
 *
 * How it works: the tap is removed and made anew. What a guest or its VMM can have left hangs on it: packets in its queue, filters,
 * offloads, a limit, counters. While there is none nothing passes the namespace, so that is when its connections are
 * forgotten, and none can come up in between. The host's connections of the same addresses follow, or answers to
 * the old guest would be let through to the new one. Index, serial and names stay: a journal claims a slot only
 * while its sandbox has a VM (ops/steps-network.c), so no two can claim this one.
 */
#include "net/recycle.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "net/drain.h"
#include "net/drop.h"
#include "net/egress-netns.h"
#include "net/nl.h"
#include "net/side.h"
#include "net/space.h"
#include "net/track.h"
#include "net/wire.h"

struct renewal {
	int tap_fd; /* the old one, then the new one */
	struct nlr *nl;
};

static int renew_inside(void *arg, struct err *e)
{
	struct renewal *r = arg;
	struct track *t = NULL;
	int rc = space_tap_remove(&r->tap_fd, e);

	if (rc == 0)
		rc = fault_point("slot-renew", NULL, e);
	if (rc == 0)
		rc = track_open(&t, e);
	if (rc == 0)
		rc = track_flush(t, e);
	track_close(t);
	if (rc == 0)
		rc = space_tap_open(&r->tap_fd, e);
	return rc < 0 ? rc : nlr_open(&r->nl, e);
}

/* The text too. */
static void describe(const struct net_side *h, struct slot *s)
{
	int netns_fd = s->netns_fd, tap_fd = s->tap_fd;

	wire_describe(h, s);
	s->netns_fd = netns_fd;
	s->tap_fd = tap_fd;
}

static int rewire(struct slot *s, struct nlr *in, struct track_ends *ret_ends,
		  const struct deadline *d, struct err *e)
{
	struct net_side *h = NULL;
	int rc = side_lock(d, &h, e);

	if (rc < 0)
		return rc;
	describe(h, s);
	*ret_ends = drop_ends(h, s->index);
	rc = s->index < h->pool.total ? wire_tap_up(h, s, in, e)
				      : err_set(e, ENODEV, "it is none of the block's");
	if (rc == 0)
		rc = side_admit(h, s->link, e);
	if (rc == 0)
		rc = egress_netns_reset(h, s, e);
	if (rc == 0)
		rc = fault_point("slot-renewed", NULL, e);
	if (rc == 0)
		rc = wire_check(h, s, in, e);
	side_unlock(h);
	return rc;
}

/* What settings asked for beside rules: ports, a limit on the link that stays. */
static int defaults(const struct slot_driver *driver, struct slot *s, const struct deadline *d,
		    struct err *e)
{
	int rc = 0;

	if (driver->forward)
		rc = driver->forward(s, NULL, 0, d, e);
	if (rc == 0 && driver->limit)
		rc = driver->limit(s, 0, d, e);
	return rc;
}

int recycle_slot(const struct slot_driver *driver, struct slot *s, const struct deadline *d,
		 struct err *e)
{
	struct renewal r = {.tap_fd = steal_fd(&s->tap_fd)};
	struct track_ends ends = {0};
	int rc;

	if (deadline_cancelled(d))
		rc = err_set(e, ECANCELED, "cancelled before network slot %u was made new",
			     s->index);
	else
		rc = space_run(s->netns_fd, renew_inside, &r, e);
	s->tap_fd = r.tap_fd;
	if (rc == 0)
		rc = rewire(s, r.nl, &ends, d, e);
	nlr_close(r.nl);
	if (rc == 0)
		rc = drain_undo(s, e);
	if (rc == 0)
		rc = defaults(driver, s, d, e);
	return rc < 0 ? rc : drop_forget(&ends, 1, e);
}
