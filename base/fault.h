/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/fault.h - named places where a test can make the daemon fail, die or hang
 *
 * Built in with -DSBXFS_FAULTS (make FAULTS=1), nothing otherwise. The file that $SBXFS_FAULT_FILE names
 * is read at every point: lines "NAME fail [ERRNO]", "NAME die", "NAME hang", each optionally followed by
 * "after=N" (the N-th time on). With $SBXFS_FAULT_LOG each point passed is appended there as a line.
 */
#ifndef SBXFS_BASE_FAULT_H
#define SBXFS_BASE_FAULT_H

#include "base/deadline.h"
#include "base/err.h"

#ifdef SBXFS_FAULTS
/**
 * fault_point() - Fail here if a test asks for it
 * @name: of the point, such as "disk-up"
 * @d:    a hang ends with it; NULL: a hang is for ever
 * Return: 0; the negative errno asked for, with @e filled.
 */
int fault_point(const char *name, const struct deadline *d, struct err *e);
#else
static inline int fault_point(const char *name, const struct deadline *d, struct err *e)
{
	(void)name;
	(void)d;
	(void)e;
	return 0;
}
#endif

#endif
