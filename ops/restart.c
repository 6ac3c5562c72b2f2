// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/restart.c - whether and when a sandbox that ended by itself is started again */
#include "ops/restart.h"

#include <errno.h>
#include <string.h>

enum {
	JITTER_SHARE = 5, /* a fifth of the delay */
};

const char *const restart_words[RESTART_WHEN_COUNT] = {
	[RESTART_NO] = "no", [RESTART_ON_FAILURE] = "on-failure", [RESTART_ALWAYS] = "always"};

int restart_when_parse(const char *word, enum restart_when *ret)
{
	for (int i = 0; i < RESTART_WHEN_COUNT; i++) {
		if (strcmp(restart_words[i], word) == 0) {
			*ret = (enum restart_when)i;
			return 0;
		}
	}
	return -EINVAL;
}

int64_t restart_delay_ms(const struct restart_policy *p, bool crashed, uint64_t tries,
			 uint32_t random)
{
	uint64_t delay = p->delay_ms, jitter;

	if (p->when == RESTART_NO || (p->when == RESTART_ON_FAILURE && !crashed))
		return -1;
	if (p->max && tries >= p->max)
		return -1;
	while (tries-- > 0 && delay < p->delay_max_ms)
		delay = delay ? delay * 2 : 1;
	if (delay > p->delay_max_ms)
		delay = p->delay_max_ms;
	jitter = delay / JITTER_SHARE;
	return (int64_t)(delay - jitter + random % (2 * jitter + 1));
}

bool restart_is_good_run(const struct restart_policy *p, int64_t ran_ms)
{
	return ran_ms > 0 && (uint64_t)ran_ms > p->delay_max_ms;
}
