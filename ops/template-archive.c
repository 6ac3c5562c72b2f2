/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/template-archive.c - what was downloaded as the parts of a version: from an archive, or from an image
 *
 * How it works: libarchive undoes gzip, zstd or xz, and reads tar; it knows no other format here. What the file is, its
 * first bytes tell once they are decompressed: an image of ext4 begins with zeroes, which libarchive would take for an
 * empty archive. The four names of a template are taken, at the top or below one directory, as regular files and once
 * each; anything else in an archive is passed over, and nothing is ever written under a name that an archive gives. The
 * parts are files without a name, with holes where there are zeroes.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "ops/host.h"
#include "ops/room.h"
#include "ops/template-private.h"

enum {
	HEADER_BYTES = 512,     /* of an entry, besides its content */
	READ_PIECE = 128 << 10, /* bytes */
	LOOK_EVERY = 4 << 20,   /* bytes between two looks at the room and at cancel_fd */
	HEAD_BYTES = 2048,      /* enough to tell what it is */
	TAR_MAGIC = 257,        /* "ustar", in the first header */
	EXT_MAGIC = 1080,       /* 0xef53, in the superblock */
	KERNEL_MAX = 512 << 20,
	INITRD_MAX = 1 << 30,
	CONF_MAX = 1 << 16,
};

#define ROOTFS_MAX ((int64_t)64 << 40) /* bytes: the largest disk_mb */

static const struct {
	const char *name;
	int64_t max; /* bytes */
} parts[TEMPLATE_PART_COUNT] = {
	[TEMPLATE_PART_ROOTFS] = {"rootfs.ext4", ROOTFS_MAX},
	[TEMPLATE_PART_KERNEL] = {"kernel", KERNEL_MAX},
	[TEMPLATE_PART_INITRD] = {"initrd", INITRD_MAX},
	[TEMPLATE_PART_CONF] = {"template.conf", CONF_MAX},
};

struct unpack {
	struct archive *archive;
	const struct deadline *d;
	struct template_parts *p;
	char prefix[256]; /* the directory that the parts lie in, with its '/'; "" the top */
	bool any;         /* a part was found, so the prefix is settled */
	int64_t seen;     /* bytes since the room and the cancel descriptor were looked at */
	struct err *e;
};

static int broken(const struct unpack *u)
{
	const char *why = archive_error_string(u->archive);

	return err_set(u->e, EBADMSG, "what was downloaded cannot be unpacked: %s",
		       why ? why : "it is damaged");
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* Now and then: has it been cancelled, and is there still room? */
static int look(struct unpack *u, size_t len)
{
	u->seen -= (int64_t)len;
	if (u->seen > 0)
		return 0;
	u->seen = LOOK_EVERY;
	if (deadline_cancelled(u->d))
		return err_set(u->e, ECANCELED, "the unpacking was cancelled");
	return room_check(LOOK_EVERY, u->e);
}

static int too_long(const struct unpack *u, int part)
{
	return err_set(u->e, EBADMSG, "%s is longer than the %lld MiB it may have",
		       parts[part].name, (long long)(parts[part].max >> 20));
}

/* The entry's content into @fd. @size: what its header says; -1 nothing. */
static int copy_content(struct unpack *u, int part, int fd, int64_t size)
{
	const void *data = NULL;
	size_t len = 0;
	la_int64_t at = 0;
	int64_t end = 0;
	int r = 0;

	while (r == 0) {
		int got = archive_read_data_block(u->archive, &data, &len, &at);

		if (got == ARCHIVE_EOF)
			break;
		if (got != ARCHIVE_OK)
			return broken(u);
		if (at < 0 || at > parts[part].max || (int64_t)len > parts[part].max - at)
			return too_long(u, part);
		r = look(u, len);
		end = at + (int64_t)len > end ? at + (int64_t)len : end;
		if (r == 0) {
			r = file_write_sparse(fd, data, len, at);
			if (r < 0)
				r = err_sys(u->e, -r, "cannot write %s", parts[part].name);
		}
	}
	if (r == 0 && ftruncate(fd, size > end ? size : end) < 0)
		r = err_sys(u->e, errno, "cannot write %s", parts[part].name);
	return r;
}

static int take_part(struct unpack *u, int part, int64_t size)
{
	AUTO_FD fd = -1;
	int r;

	if (size > parts[part].max)
		return too_long(u, part);
	fd = openat(host.templates_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(u->e, errno, "cannot make a file for %s", parts[part].name);
	r = copy_content(u, part, fd, size);
	if (r < 0)
		return r;
	u->p->fd[part] = steal_fd(&fd);
	u->p->ours[part] = true;
	return 0;
}

/* ---- archives ---------------------------------------------------------------------------------- */

/* The part that @path names, -1 for none; @ret_prefix its directory's length in @path with the '/'. */
static int part_of(const char *path, size_t *ret_prefix)
{
	const char *slash = strchr(path, '/'), *name = slash ? slash + 1 : path;

	*ret_prefix = (size_t)(name - path);
	for (int i = 0; i < TEMPLATE_PART_COUNT; i++)
		if (strcmp(name, parts[i].name) == 0)
			return i;
	return -1;
}

/* Does a path leave the place that it is unpacked in? Such an archive was made to harm. */
static bool leads_out(const char *path)
{
	const char *p = path;

	if (*p == '/')
		return true;
	while (p) {
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
			return true;
		p = strchr(p, '/');
		p = p ? p + 1 : NULL;
	}
	return false;
}

static int take_entry(struct unpack *u, struct archive_entry *entry)
{
	const char *path = archive_entry_pathname(entry);
	size_t prefix;
	int part;

	if (!path)
		return 0;
	if (leads_out(path))
		return err_set(u->e, EBADMSG, "the archive names %.100s, outside of itself", path);
	while (strncmp(path, "./", 2) == 0)
		path += 2;
	part = part_of(path, &prefix);
	if (part < 0)
		return 0;
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
		return err_set(u->e, EBADMSG, "%.100s in the archive is not a regular file", path);
	if (prefix >= sizeof(u->prefix) ||
	    (u->any && (strlen(u->prefix) != prefix || memcmp(u->prefix, path, prefix) != 0)))
		return err_set(u->e, EBADMSG, "%.100s in the archive does not lie with the others",
			       path);
	if (u->p->fd[part] >= 0)
		return err_set(u->e, EBADMSG, "%.100s is in the archive more than once", path);
	memcpy(u->prefix, path, prefix);
	u->prefix[prefix] = '\0';
	u->any = true;
	return take_part(u, part,
			 archive_entry_size_is_set(entry) ? archive_entry_size(entry) : -1);
}

static int take_archive(struct unpack *u)
{
	struct archive_entry *entry;
	int r = 0, got = ARCHIVE_OK;

	while (r == 0 && (got = archive_read_next_header(u->archive, &entry)) != ARCHIVE_EOF) {
		/* A warning is about names in other character sets, which are none of ours. */
		if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
			return broken(u);
		r = look(u, HEADER_BYTES);
		if (r == 0)
			r = take_entry(u, entry);
	}
	for (int i = 0; i < TEMPLATE_PART_COUNT && r == 0; i++)
		if (u->p->fd[i] < 0)
			r = err_set(
				u->e, EBADMSG,
				"the archive holds no %s: it is not of what sbx-mktemplate writes",
				parts[i].name);
	return r;
}

static int take_image(struct unpack *u)
{
	struct archive_entry *entry;

	if (archive_read_next_header(u->archive, &entry) != ARCHIVE_OK)
		return broken(u);
	return take_part(u, TEMPLATE_PART_ROOTFS, -1);
}

/* ---- what it is -------------------------------------------------------------------------------- */

/* Open @fd from its beginning, as @format says. The archive stays open until open_again() or unpack_done(). */
static int open_again(struct unpack *u, int fd, int (*format)(struct archive *))
{
	struct archive *a = archive_read_new();

	(void)archive_read_free(u->archive); /* takes NULL */
	u->archive = a;
	if (!a)
		return err_set(u->e, ENOMEM, "no memory");
	if (archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
	    archive_read_support_filter_xz(a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(a) != ARCHIVE_OK || format(a) != ARCHIVE_OK)
		return err_set(u->e, ENOTSUP, "this libarchive lacks gzip, xz, zstd or tar");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(u->e, errno, "cannot read what was downloaded");
	return archive_read_open_fd(a, fd, READ_PIECE) == ARCHIVE_OK ? 0 : broken(u);
}

enum content { CONTENT_TAR, CONTENT_IMAGE, CONTENT_OTHER };

static int look_inside(struct unpack *u, int fd, enum content *ret)
{
	unsigned char head[HEAD_BYTES] = {0};
	struct archive_entry *entry;
	la_ssize_t n;
	int r = open_again(u, fd, archive_read_support_format_raw);

	if (r < 0)
		return r;
	if (archive_read_next_header(u->archive, &entry) != ARCHIVE_OK)
		return broken(u);
	n = archive_read_data(u->archive, head, sizeof(head));
	if (n < 0)
		return broken(u);
	if (memcmp(head + TAR_MAGIC, "ustar", 5) == 0)
		*ret = CONTENT_TAR;
	else if (head[EXT_MAGIC] == 0x53 && head[EXT_MAGIC + 1] == 0xef)
		*ret = CONTENT_IMAGE;
	else
		*ret = CONTENT_OTHER;
	return 0;
}

int template_unpack(int fd, struct template_parts *p, const struct deadline *d, struct err *e)
{
	struct unpack u = {.d = d, .p = p, .e = e};
	enum content content = CONTENT_OTHER;
	int r = look_inside(&u, fd, &content);

	if (r == 0 && content == CONTENT_OTHER)
		r = err_set(e, EBADMSG,
			    "what was downloaded is neither a tar archive nor an ext4 image");
	else if (r == 0)
		r = open_again(&u, fd,
			       content == CONTENT_TAR ? archive_read_support_format_tar
						      : archive_read_support_format_raw);
	if (r == 0)
		r = content == CONTENT_TAR ? take_archive(&u) : take_image(&u);
	(void)archive_read_free(u.archive);
	return r;
}
