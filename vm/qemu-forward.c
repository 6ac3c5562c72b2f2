/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-forward.c - ports of the host that QEMU's user network leads to the guest
 *
 * How it works: QEMU has commands for them in its monitor for people alone, which say what went wrong as text or nothing at all. So what there
 * is is asked for each time, which also finds what an earlier daemon asked for; and whether a port can be had is tried here
 * first, as QEMU will, since only that tells why not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/qemu-private.h"

enum {
	FORWARDS_MAX = 1024, /* of one QEMU */
	UNDO_MS = 5000,
};

/* ---- the monitor ------------------------------------------------------------------------------------- */

static int monitor(struct vm *vm, const char *line, const struct deadline *d,
		   struct json_object **ret, struct err *e)
{
	struct json_object *args = json_object_new_object();

	if (!args || json_add_text(args, "command-line", line) < 0) {
		json_object_put(args);
		return err_set(e, ENOMEM, "no memory for a command to QEMU");
	}
	return qmp_call(&vm->qmp, "human-monitor-command", args, d, ret, e);
}

static const char *addr_text(uint32_t addr, char text[INET_ADDRSTRLEN])
{
	struct in_addr in = {.s_addr = htonl(addr)};

	text[0] = '\0';
	if (addr) /* QEMU takes none for all, and shows them as "*" */
		(void)inet_ntop(AF_INET, &in, text, INET_ADDRSTRLEN); /* has room */
	return text;
}

static int add(struct vm *vm, const struct vm_forward *f, const struct deadline *d, struct err *e)
{
	char line[96], addr[INET_ADDRSTRLEN];
	AUTO_JSON reply = NULL;
	const char *said;
	int r;

	(void)snprintf(line, sizeof(line), "hostfwd_add n0 %s:%s:%u-:%u", f->is_udp ? "udp" : "tcp",
		       addr_text(f->host_addr, addr), f->host_port, f->guest_port); /* fits */
	r = monitor(vm, line, d, &reply, e);
	if (r < 0)
		return r;
	said = json_text_at(reply, "return", "");
	return *said ? err_set(e, EIO, "QEMU does not forward port %u: %.*s", f->host_port,
			       (int)strcspn(said, "\r\n"), said)
		     : 0;
}

/* What it says then is not looked at: it is gone, or was before. */
static int drop(struct vm *vm, const struct vm_forward *f, const struct deadline *d, struct err *e)
{
	char line[96], addr[INET_ADDRSTRLEN];

	(void)snprintf(line, sizeof(line), "hostfwd_remove n0 %s:%s:%u", f->is_udp ? "udp" : "tcp",
		       addr_text(f->host_addr, addr), f->host_port); /* fits */
	return monitor(vm, line, d, NULL, e);
}

/* ---- what there is ----------------------------------------------------------------------------------- */

static bool parse_port(const char *text, uint16_t *ret)
{
	char *end = NULL;
	unsigned long n = strtoul(text, &end, 10);

	*ret = (uint16_t)n;
	return *end == '\0' && n > 0 && n <= UINT16_MAX;
}

/* "TCP[HOST_FORWARD] FD ADDRESS PORT ADDRESS PORT …" */
static bool parse_line(char *line, struct vm_forward *ret)
{
	char *words[6] = {NULL}, *cursor = NULL;
	struct in_addr addr = {0};
	int n = 0;

	for (char *w = strtok_r(line, " \t\r", &cursor); w && n < 6;
	     w = strtok_r(NULL, " \t\r", &cursor))
		words[n++] = w;
	if (n < 6 || (strcmp(words[0], "TCP[HOST_FORWARD]") != 0 &&
		      strcmp(words[0], "UDP[HOST_FORWARD]") != 0))
		return false;
	if (strcmp(words[2], "*") != 0 && inet_pton(AF_INET, words[2], &addr) != 1)
		return false;
	ret->host_addr = ntohl(addr.s_addr);
	ret->is_udp = words[0][0] == 'U';
	return parse_port(words[3], &ret->host_port) && parse_port(words[5], &ret->guest_port);
}

size_t qemu_forward_parse(const char *text, struct vm_forward *ret, size_t max)
{
	AUTO_FREE char *copy = strdup(text);
	char *cursor = copy, *line;
	size_t n = 0;

	while (n < max && (line = strsep(&cursor, "\n")))
		n += parse_line(line, &ret[n]);
	return n;
}

struct forwards {
	struct vm_forward list[FORWARDS_MAX];
	size_t count;
};

static int ask(struct vm *vm, const struct deadline *d, struct forwards *ret, struct err *e)
{
	AUTO_JSON reply = NULL;
	int r = monitor(vm, "info usernet", d, &reply, e);

	if (r == 0)
		ret->count = qemu_forward_parse(json_text_at(reply, "return", ""), ret->list,
						FORWARDS_MAX);
	return r;
}

/* ---- changing it ------------------------------------------------------------------------------------- */

static bool same_place(const struct vm_forward *a, const struct vm_forward *b)
{
	return a->is_udp == b->is_udp && a->host_port == b->host_port &&
	       a->host_addr == b->host_addr;
}

static bool clashes(const struct vm_forward *a, const struct vm_forward *b)
{
	return a->is_udp == b->is_udp && a->host_port == b->host_port &&
	       (a->host_addr == b->host_addr || a->host_addr == 0 || b->host_addr == 0);
}

static bool has(const struct vm_forward *list, size_t count, const struct vm_forward *f)
{
	for (size_t i = 0; i < count; i++)
		if (same_place(&list[i], f) && list[i].guest_port == f->guest_port)
			return true;
	return false;
}

/* As QEMU does it. */
static int try_bind(const struct vm_forward *f, struct err *e)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(f->host_port),
				 .sin_addr.s_addr = htonl(f->host_addr)};
	AUTO_FD fd = socket(AF_INET, (f->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	const char *kind = f->is_udp ? "UDP port" : "port";
	char addr[INET_ADDRSTRLEN];
	int on = 1;

	if (fd < 0 || (!f->is_udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0))
		return err_sys(e, errno, "cannot open a socket");
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 &&
	    (f->is_udp || listen(fd, 1) == 0))
		return 0;
	if (errno == EADDRINUSE)
		return err_set(e, EADDRINUSE, "%s %u of the host is in use by another program",
			       kind, f->host_port);
	if (errno == EACCES)
		return err_set(e, EACCES,
			       "%s %u of the host is for root alone, as all below "
			       "net.ipv4.ip_unprivileged_port_start are",
			       kind, f->host_port);
	return err_sys(e, errno, "cannot take %s %u of %s", kind, f->host_port,
		       addr_text(f->host_addr, addr));
}

/* Can those be had that are new, and not only lead elsewhere? */
static int try_new(const struct forwards *now, const struct vm_forward *list, size_t count,
		   struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		bool ours = false;

		for (size_t k = 0; k < now->count && !ours; k++)
			ours = clashes(&now->list[k], &list[i]);
		r = ours ? 0 : try_bind(&list[i], e);
	}
	return r;
}

/* One that is in the way of another goes before that comes. */
static int turn(struct vm *vm, const struct forwards *from, const struct vm_forward *to,
		size_t count, const struct deadline *d, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < from->count && r == 0; i++)
		if (!has(to, count, &from->list[i]))
			r = drop(vm, &from->list[i], d, e);
	for (size_t i = 0; i < count && r == 0; i++)
		if (!has(from->list, from->count, &to[i]))
			r = add(vm, &to[i], d, e);
	return r;
}

static void undo(struct vm *vm, const struct forwards *before)
{
	struct deadline d = deadline_in(UNDO_MS, -1);
	AUTO_FREE struct forwards *now = calloc(1, sizeof(*now));

	/* The first failure is the one to report. */
	if (now && ask(vm, &d, now, NULL) == 0)
		(void)turn(vm, now, before->list, before->count, &d, NULL);
}

static int change(struct vm *vm, const struct vm_forward *list, size_t count,
		  const struct deadline *d, struct err *e)
{
	AUTO_FREE struct forwards *now = calloc(1, sizeof(*now));
	int r;

	if (!now)
		return err_set(e, ENOMEM, "no memory");
	r = ask(vm, d, now, e);
	if (r == 0)
		r = try_new(now, list, count, e);
	if (r < 0)
		return r;
	r = turn(vm, now, list, count, d, e);
	if (r < 0)
		undo(vm, now);
	return r;
}

int qemu_forward(struct vm *vm, const struct vm_forward *list, size_t count,
		 const struct deadline *d, struct err *e)
{
	int r;

	(void)pthread_mutex_lock(&vm->lock); /* a plain mutex: cannot fail */
	r = change(vm, list, count, d, e);
	(void)pthread_mutex_unlock(&vm->lock);
	return r;
}
