/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/limit.c - how many bytes a second go through a slot
 *
 * How it works: a link can only be told how fast it sends. So the tap is limited for what the guest receives, and the
 * namespace's end of the pair for what it sends, both inside the namespace, where nobody else's traffic passes.
 */
#include "net/limit.h"

#include <errno.h>
#include <net/if.h>

#include "base/fault.h"
#include "net/nl-tc.h"
#include "net/space.h"

static int limit_inside(void *arg, struct err *e)
{
	static const char *const links[] = {SPACE_TAP, SPACE_LINK};
	uint64_t bytes_per_sec = *(const uint64_t *)arg;
	struct tc *t = NULL;
	int rc = tc_open(&t, e);

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]) && rc == 0; i++) {
		unsigned index = if_nametoindex(links[i]);

		rc = index ? tc_limit(t, index, bytes_per_sec, e)
			   : err_sys(e, errno, "cannot look up the link %s", links[i]);
	}
	tc_close(t);
	return rc;
}

int limit_set(const struct slot *s, uint64_t bytes_per_sec, const struct deadline *d, struct err *e)
{
	int rc = fault_point("limit-set", d, e);

	if (rc < 0)
		return rc;
	return space_run(s->netns_fd, limit_inside, &bytes_per_sec, e);
}
