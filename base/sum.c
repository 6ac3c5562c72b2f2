/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/sum.c - FNV-1a */
#include "base/sum.h"

uint32_t sum_of(const void *data, size_t len)
{
	const unsigned char *byte = data;
	uint32_t sum = 2166136261u;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ byte[i]) * 16777619u;
	return sum;
}
