/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/sum.h - a short sum over bytes: for hash tables, and to tell a torn line from a whole one
 *
 * It is no defence against anybody: see base/digest.h for that. It is written to disk, so it never changes.
 */
#ifndef SBXFS_BASE_SUM_H
#define SBXFS_BASE_SUM_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 32 bits. */
uint32_t sum_of(const void *data, size_t len);

#endif
