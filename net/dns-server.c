/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/dns-server.c - the host's own name servers, from its resolv.conf
 *
 * How it works: the file is looked at when a question comes, a second after it was looked at last, and read when it is
 * another one. It is not watched: programs replace it by all kinds of ways, through links too.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "net/dns-private.h"

enum {
	FILE_MAX = 65536, /* bytes that are looked at */
	LOOK_MS = 1000,
};

/* Address, perhaps with the link that it is good on behind '%'. */
static bool server_parse(char *word, uint16_t port, struct dns_server *ret)
{
	char *link = strchr(word, '%');

	*ret = (struct dns_server){.len = 0};
	if (inet_pton(AF_INET, word, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		ret->len = sizeof(ret->v4);
		return true;
	}
	if (link)
		*link++ = '\0';
	if (inet_pton(AF_INET6, word, &ret->v6.sin6_addr) != 1)
		return false;
	ret->v6.sin6_family = AF_INET6;
	ret->v6.sin6_port = htons(port);
	ret->v6.sin6_scope_id = link ? if_nametoindex(link) : 0;
	ret->len = sizeof(ret->v6);
	return true;
}

size_t dns_servers_parse(const char *text, uint16_t port, struct dns_server ret[DNS_SERVERS_MAX])
{
	static const char key[] = "nameserver";
	size_t count = 0;

	for (const char *line = text; line && count < DNS_SERVERS_MAX; line = strchr(line, '\n')) {
		char word[INET6_ADDRSTRLEN + IF_NAMESIZE];
		size_t len;

		line += *line == '\n';
		if (strncmp(line, key, sizeof(key) - 1) != 0)
			continue;
		line += sizeof(key) - 1;
		len = strspn(line, " \t");
		line += len;
		if (len == 0)
			continue;
		len = strcspn(line, " \t\r\n#;");
		if (len >= sizeof(word))
			continue;
		memcpy(word, line, len);
		word[len] = '\0';
		count += server_parse(word, port, &ret[count]);
	}
	return count;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* What was read last, of which path and when; guarded by the resolver's lock. */
static struct known {
	const char *path; /* NULL: nothing yet */
	int64_t looked_ms;
	struct stat st;
	size_t count;
	struct dns_server servers[DNS_SERVERS_MAX];
} known;

static void look(const char *path, int64_t now)
{
	AUTO_BUF b = BUF_INIT;
	struct stat st = {.st_dev = 0};

	(void)stat(path, &st); /* one that is not there is like an empty one */
	if (known.path == path && same_file(&st, &known.st)) {
		known.looked_ms = now;
		return;
	}
	known = (struct known){.path = path, .looked_ms = now, .st = st};
	(void)file_read(AT_FDCWD, path, FILE_MAX, &b, NULL); /* as above */
	known.count = dns_servers_parse(buf_text(&b), dns.options.port, known.servers);
}

size_t dns_servers(struct dns_server ret[DNS_SERVERS_MAX])
{
	int64_t now = clock_ms();

	if (known.path != dns.options.resolv_conf || now - known.looked_ms >= LOOK_MS)
		look(dns.options.resolv_conf, now);
	memcpy(ret, known.servers, sizeof(known.servers));
	return known.count;
}

void dns_servers_forget(void)
{
	known.path = NULL;
}
