/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent/boot-etc.c - host name, /etc/hosts, /etc/resolv.conf and /etc/machine-id
 *
 * How it works: runs after the move into the root file system, so that a link in the image, such as
 * /etc/resolv.conf into /run, leads nowhere else. A file is replaced by rename, which takes the place of a
 * link instead of writing through it, and only when its text changes: a boot writes nothing it need not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot-parts.h"
#include "agent/boot.h"
#include "base/buf.h"
#include "base/cleanup.h"

static const char HOSTS_MARK[] = "# sbxfs"; /* ends the line of /etc/hosts that is ours */

enum { ETC_FILE_MAX = 1 << 20 }; /* a larger /etc/hosts is left alone */

/* Return: 0; -ENOENT; -EFBIG; another negative errno. */
static int etc_read(int dir, const char *name, struct buf *b)
{
	AUTO_FD fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char piece[4096];

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n < 0)
			return -errno;
		if (n == 0)
			return buf_error(b);
		if (b->len + (size_t)n > ETC_FILE_MAX)
			return -EFBIG;
		buf_add(b, piece, (size_t)n);
	}
}

static int write_new(int dir, const char *name, const struct buf *text)
{
	AUTO_FD fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	if (write(fd, text->data, text->len) != (ssize_t)text->len)
		return errno ? -errno : -ENOSPC;
	return 0;
}

static int etc_replace(int dir, const char *name, const struct buf *text)
{
	char fresh[64];
	int r;

	if (buf_error(text) != 0)
		return -ENOMEM;
	(void)snprintf(fresh, sizeof(fresh), ".%s.sbxfs", name);
	(void)unlinkat(dir, fresh, 0); /* of a boot that was cut short */
	errno = 0;
	r = write_new(dir, fresh, text);
	if (r == 0 && renameat(dir, fresh, dir, name) != 0)
		r = -errno;
	if (r != 0)
		(void)unlinkat(dir, fresh, 0);
	return r;
}

static void etc_set(int dir, const char *name, const struct buf *text)
{
	AUTO_BUF now = BUF_INIT;
	int r = etc_read(dir, name, &now);

	if (r == 0 && now.len == text->len && memcmp(buf_text(&now), text->data, text->len) == 0)
		return;
	r = etc_replace(dir, name, text);
	if (r != 0)
		boot_say("cannot write /etc/%s: %s, ignoring", name, strerrordesc_np(-r));
}

/* The image's own lines stay; the one that ends in our mark is replaced. */
static void hosts_set(int dir, const char *host)
{
	AUTO_BUF old = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	int r = etc_read(dir, "hosts", &old);

	if (r != 0 && r != -ENOENT && r != -ELOOP)
		return;
	if (r != 0)
		buf_adds(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
	for (const char *line = buf_text(&old); *line != '\0';) {
		size_t len = strcspn(line, "\n");
		const size_t mark = sizeof(HOSTS_MARK) - 1;

		if (len < mark || memcmp(line + len - mark, HOSTS_MARK, mark) != 0) {
			buf_add(&text, line, len);
			buf_addc(&text, '\n');
		}
		line += len + (line[len] == '\n');
	}
	buf_addf(&text, "127.0.1.1\t%s\t%s\n", host, HOSTS_MARK);
	etc_set(dir, "hosts", &text);
}

static void host_set(int dir, const char *host)
{
	AUTO_BUF text = BUF_INIT;

	if (sethostname(host, strlen(host)) != 0)
		boot_say("cannot set the host name to '%s': %s, ignoring", host,
			 strerrordesc_np(errno));
	buf_addf(&text, "%s\n", host);
	etc_set(dir, "hostname", &text);
	hosts_set(dir, host);
}

void boot_etc_write(const struct boot_args *a)
{
	char dns[INET_ADDRSTRLEN];
	AUTO_FD dir = -1;

	(void)mkdir("/etc", 0755); /* there already, or the open says why not */
	dir = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		boot_say("cannot open /etc of the image: %s, ignoring", strerrordesc_np(errno));
		return;
	}
	if (a->host[0] != '\0')
		host_set(dir, a->host);
	if (a->has_dns && inet_ntop(AF_INET, &a->dns, dns, sizeof(dns))) {
		AUTO_BUF text = BUF_INIT;

		buf_addf(&text, "nameserver %s\n", dns);
		etc_set(dir, "resolv.conf", &text);
	}
}

/* Put @id into the file, if there is one of its own to be replaced or @make says so. */
static void machine_id_set(const char *path, const char *id, bool make)
{
	AUTO_FD dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_BUF text = BUF_INIT;
	struct stat st;
	int r;

	if (dir < 0 || (!make && (fstatat(dir, "machine-id", &st, AT_SYMLINK_NOFOLLOW) != 0 ||
				  !S_ISREG(st.st_mode))))
		return;
	buf_addf(&text, "%s\n", id);
	r = etc_replace(dir, "machine-id", &text);
	if (r != 0 && r != -EROFS)
		boot_say("cannot write %s/machine-id: %s, ignoring", path, strerrordesc_np(-r));
}

void boot_etc_machine_id(const char *id)
{
	machine_id_set("/etc", id, true);
	machine_id_set("/var/lib/dbus", id, false);
}
