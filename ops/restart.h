/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/restart.h - whether and when a sandbox that ended by itself is started again: arithmetic only */
#ifndef SBXFS_OPS_RESTART_H
#define SBXFS_OPS_RESTART_H

#include <stdbool.h>
#include <stdint.h>

enum restart_when {
	RESTART_NO,
	RESTART_ON_FAILURE, /* after a crash, a failed restart */
	RESTART_ALWAYS,     /* also after the guest has shut itself down */
	RESTART_WHEN_COUNT
};

/* The settings restart, restart_max, restart_delay_ms, restart_delay_max_ms. */
struct restart_policy {
	enum restart_when when;
	uint64_t max; /* tries in a row; 0: any number */
	uint64_t delay_ms, delay_max_ms;
};

extern const char *const restart_words[RESTART_WHEN_COUNT]; /* "no", "on-failure", "always" */

/* Return: 0 and @ret; -EINVAL. */
int restart_when_parse(const char *word, enum restart_when *ret);

/**
 * restart_delay_ms() - How long to wait before it is started again
 * @crashed: it did not end because its guest wanted to
 * @tries:   restarts in a row so far, without a good run between them
 * @random:  any number, for the jitter: a fifth more or less, so that many that fell together do not rise together
 * Return: milliseconds; -1: it is not.
 */
int64_t restart_delay_ms(const struct restart_policy *p, bool crashed, uint64_t tries,
			 uint32_t random);

/* Was a run of this length a good one? Then the next restart counts as the first: it was longer than the longest delay. */
bool restart_is_good_run(const struct restart_policy *p, int64_t ran_ms);

#endif
