/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-net.c - the guest's network, without any program of the image
 *
 * How it works: one link, one static IPv4 address, one default route. IPv6 is off on the link before it
 * comes up: its autoconfiguration would send packets that nobody asked for, and no address is served there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/boot-parts.h"
#include "base/cleanup.h"

enum {
	LINK_WAIT_MS = 10000
}; /* a driver's probe takes milliseconds; ten seconds under emulation on a busy host */

static int link_ioctl(int sock, unsigned long request, struct ifreq *r, const char *what,
		      struct err *e)
{
	if (ioctl(sock, request, r) != 0)
		return err_sys(e, errno, "network link %s: cannot %s", r->ifr_name, what);
	return 0;
}

static void link_name(struct ifreq *r, const char *name)
{
	*r = (struct ifreq){0};
	(void)snprintf(r->ifr_name, sizeof(r->ifr_name), "%s", name);
}

static int link_up(int sock, const char *name, struct err *e)
{
	struct ifreq r;
	int err;

	link_name(&r, name);
	err = link_ioctl(sock, SIOCGIFFLAGS, &r, "read its flags", e);
	if (err != 0)
		return err;
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP);
	return link_ioctl(sock, SIOCSIFFLAGS, &r, "bring it up", e);
}

/* The first link that is not lo, by index. @arg: IF_NAMESIZE bytes for its name. */
static bool link_find(void *arg)
{
	char *name = arg;
	struct if_nameindex *all = if_nameindex();
	unsigned best = 0;

	if (!all)
		return false;
	for (const struct if_nameindex *i = all; i->if_index != 0; i++)
		if (strcmp(i->if_name, "lo") != 0 && (best == 0 || i->if_index < best)) {
			best = i->if_index;
			(void)snprintf(name, IF_NAMESIZE, "%s", i->if_name);
		}
	if_freenameindex(all);
	return best != 0;
}

static int ipv6_off(const char *name, struct err *e)
{
	char path[sizeof("/proc/sys/net/ipv6/conf//disable_ipv6") + IF_NAMESIZE];
	AUTO_FD fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) /* a kernel without IPv6 */
		return 0;
	if (fd < 0 || write(fd, "1", 1) != 1)
		return err_sys(e, errno, "cannot write %s", path);
	return 0;
}

static struct sockaddr inet_sockaddr(struct in_addr addr)
{
	const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = addr};
	struct sockaddr any = {0};

	_Static_assert(sizeof(in) == sizeof(any), "an IPv4 address fits an ifreq exactly");
	memcpy(&any, &in, sizeof(any));
	return any;
}

static int address_set(int sock, const char *name, const struct boot_args *a, struct err *e)
{
	const struct in_addr mask = {htonl(a->prefix ? UINT32_MAX << (32 - a->prefix) : 0)};
	struct ifreq r;
	int err;

	link_name(&r, name);
	r.ifr_addr = inet_sockaddr(a->ip);
	err = link_ioctl(sock, SIOCSIFADDR, &r, "set its address", e);
	if (err != 0)
		return err;
	link_name(&r, name);
	r.ifr_netmask = inet_sockaddr(mask);
	return link_ioctl(sock, SIOCSIFNETMASK, &r, "set its netmask", e);
}

static int route_set(int sock, const char *name, struct in_addr gw, struct err *e)
{
	char dev[IF_NAMESIZE];
	struct rtentry r = {.rt_flags = RTF_UP | RTF_GATEWAY};

	(void)snprintf(dev, sizeof(dev), "%s", name);
	r.rt_dst = inet_sockaddr((struct in_addr){INADDR_ANY});
	r.rt_genmask = inet_sockaddr((struct in_addr){INADDR_ANY});
	r.rt_gateway = inet_sockaddr(gw);
	r.rt_dev = dev;
	if (ioctl(sock, SIOCADDRT, &r) != 0 && errno != EEXIST)
		return err_sys(e, errno, "network link %s: cannot set the default route", name);
	return 0;
}

int boot_net_up(const struct boot_args *a, int uevents, struct err *e)
{
	AUTO_FD sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[IF_NAMESIZE] = "";
	int r;

	if (sock < 0)
		return err_sys(e, errno, "cannot make a socket");
	r = link_up(sock, "lo", e);
	if (r != 0 || !a->has_ip)
		return r;
	if (boot_uevents_wait(uevents, link_find, name, LINK_WAIT_MS) != 0)
		return err_set(e, ENODEV,
			       "no network card came up, and sbxfs.ip asks for one; "
			       "does the initramfs have its driver?");
	r = ipv6_off(name, e);
	if (r == 0)
		r = address_set(sock, name, a, e);
	if (r == 0)
		r = link_up(sock, name, e);
	if (r == 0 && a->has_gw)
		r = route_set(sock, name, a->gw, e);
	return r;
}
