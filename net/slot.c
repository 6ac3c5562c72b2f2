/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/slot.c - the list of network drivers; another one is a row here and a file */
#include "net/slot.h"

#include "net/driver.h"

const struct slot_driver *const slot_drivers[] = {
	&slot_netns,
	&slot_user,
	NULL,
};
