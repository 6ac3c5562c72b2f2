// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/nolookup.c - no look-ups of names in this program
 *
 * libevent's helpers can look up hosts and services, and refer to libc's functions for that, which need
 * the name service modules of a system like the one that the program was linked on. The agent gives only
 * numeric addresses to libevent and runs in any image, so these stand in libc's place and find nothing.
 */
#include <netdb.h>
#include <stddef.h>

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) the headers' names are reserved ones */
int getaddrinfo(const char *restrict host, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
	(void)host;
	(void)service;
	(void)hints;
	(void)ret;
	return EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *list)
{
	(void)list; /* getaddrinfo() above makes none */
}

const char *gai_strerror(int code)
{
	(void)code;
	return "this program looks up no names";
}

struct servent *getservbyname(const char *name, const char *protocol)
{
	(void)name;
	(void)protocol;
	return NULL;
}

struct protoent *getprotobynumber(int number)
{
	(void)number;
	return NULL;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
